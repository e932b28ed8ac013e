//! What a container has changed of its image's files: the upper directory of its overlay, compared
//! with the layers below.

use std::{
    ffi::OsStr,
    io::Write,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fgetxattr, fstat, openat, openat2,
        statat,
    },
    io::Errno,
};

use super::{Error, Tried};
use crate::inherit;

/// The mark of a directory that hides all below it in the layers.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Most directories in each other: the kernel's longest path has no more.
const MAX_DEPTH: usize = 2048;

/// To look at something, which must not be a link.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// To read a directory.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Writes a line for each change, parents first. The layers are given from the base up.
pub(super) fn write(
    upper: &OwnedFd,
    layers: &[OwnedFd],
    out: &mut impl Write,
) -> Result<(), Error> {
    let upper = openat(upper, c".", DIRECTORY, Mode::empty()).tried("open", &"the changes")?;
    directory(&upper, &PathBuf::new(), layers, 0, out)
}

/// Goes through a directory of what was changed. The container changes it meanwhile: what is a directory
/// now may be a link in a moment, and is opened as a directory or not at all.
fn directory(
    upper: &OwnedFd,
    inner: &Path,
    below: &[OwnedFd],
    depth: usize,
    out: &mut dyn Write,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(upper).tried("read", &inner.display())? {
        let name = entry
            .tried("read", &inner.display())?
            .file_name()
            .to_owned();
        if *name != *c"." && *name != *c".." {
            names.push(name);
        }
    }
    names.sort();
    for name in names {
        let path = inner.join(OsStr::from_bytes(name.to_bytes()));
        let Ok(state) = statat(upper, &name, AtFlags::SYMLINK_NOFOLLOW) else {
            // Removed just now.
            continue;
        };
        let kind = FileType::from_raw_mode(state.st_mode);
        let gone = kind == FileType::CharacterDevice && state.st_rdev == 0;
        let change = match (gone, exists(&path, below)?) {
            (true, _) => b'D',
            (false, true) => b'C',
            (false, false) => b'A',
        };
        let opened = match kind {
            FileType::Directory => openat(upper, &name, DIRECTORY, Mode::empty()).ok(),
            _ => None,
        };
        let Some(opened) = opened else {
            line(out, change, path.as_os_str())?;
            continue;
        };
        // One that was made with the container says nothing unless something in it has changed.
        if fgetxattr(&opened, inherit::MARK, &mut [0; 8]).is_ok() {
            let mut inside = Vec::new();
            directory(&opened, &path, below, depth + 1, &mut inside)?;
            if !inside.is_empty() {
                line(out, change, path.as_os_str())?;
                out.write_all(&inside)?;
            }
            continue;
        }
        line(out, change, path.as_os_str())?;
        directory(&opened, &path, below, depth + 1, out)?;
    }
    Ok(())
}

/// A line; a name with a line break in it would be two, so that it is written without.
fn line(out: &mut dyn Write, kind: u8, path: &OsStr) -> Result<(), Error> {
    out.write_all(&[kind, b' ', b'/'])?;
    let plain: Vec<u8> = path
        .as_bytes()
        .iter()
        .map(|byte| if *byte == b'\n' { b'?' } else { *byte })
        .collect();
    out.write_all(&plain)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Whether the layers, from the base up, show something at a path.
fn exists(path: &Path, below: &[OwnedFd]) -> Result<bool, Error> {
    for layer in below.iter().rev() {
        if let Some(there) = look(layer, path)? {
            return Ok(there);
        }
    }
    Ok(false)
}

/// What one layer says of a path: there, not there whatever is below, or nothing.
fn look(layer: &OwnedFd, path: &Path) -> Result<Option<bool>, Error> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut partial = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        partial.push(part);
        let found = match openat2(layer, &partial, HANDLE, Mode::empty(), resolve) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            // Something that is no directory hides what is below it.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Some(false)),
            Err(errno) => return Err(errno).tried("look at", &path.display()),
        };
        let state = fstat(&found).tried("look at", &path.display())?;
        let kind = FileType::from_raw_mode(state.st_mode);
        if kind == FileType::CharacterDevice && state.st_rdev == 0 {
            return Ok(Some(false));
        }
        if parts.peek().is_none() {
            return Ok(Some(true));
        }
        if kind != FileType::Directory {
            return Ok(Some(false));
        }
        if is_opaque(layer, &partial) {
            return Ok(Some(exists_in(layer, path)));
        }
    }
    Ok(None)
}

fn exists_in(layer: &OwnedFd, path: &Path) -> bool {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let found = openat2(layer, path, HANDLE, Mode::empty(), resolve).and_then(fstat);
    found.is_ok_and(|state| {
        FileType::from_raw_mode(state.st_mode) != FileType::CharacterDevice || state.st_rdev != 0
    })
}

fn is_opaque(layer: &OwnedFd, path: &Path) -> bool {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut value = [0; 1];
    openat2(layer, path, flags, Mode::empty(), resolve)
        .and_then(|directory| fgetxattr(&directory, OPAQUE, &mut value))
        .is_ok_and(|length| length == 1 && value == *b"y")
}
