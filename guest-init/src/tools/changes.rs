//! What a container has changed of its image's files: the upper directory of its overlay, compared
//! with the layers below.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fgetxattr, fstat, open, openat2},
    io::Errno,
};

use super::{Error, Tried};
use crate::inherit;

/// The mark of a directory that hides all below it in the layers.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Most directories in each other: the kernel's longest path has no more.
const MAX_DEPTH: usize = 2048;

/// Writes a line for each change, parents first.
pub(super) fn write(upper: &Path, layers: &[PathBuf], out: &mut impl Write) -> Result<(), Error> {
    let below: Vec<OwnedFd> = layers
        .iter()
        .rev()
        .map(|layer| open(layer, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()))
        .collect::<Result<_, _>>()
        .tried("open", &"the layers")?;
    directory(upper, &PathBuf::new(), &below, 0, out)
}

fn directory(
    upper: &Path,
    inner: &Path,
    below: &[OwnedFd],
    depth: usize,
    out: &mut dyn Write,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let path = upper.join(inner);
    let entries = fs::read_dir(&path).tried("read", &path.display())?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let inner = inner.join(&name);
        let Ok(metadata) = fs::symlink_metadata(upper.join(&inner)) else {
            // Removed just now.
            continue;
        };
        let gone = FileType::from_raw_mode(metadata.mode()) == FileType::CharacterDevice
            && metadata.rdev() == 0;
        let kind = match (gone, exists(&inner, below)?) {
            (true, _) => b'D',
            (false, true) => b'C',
            (false, false) => b'A',
        };
        // One that was made with the container says nothing unless something in it has changed.
        if metadata.is_dir() && inherit::has(&upper.join(&inner), inherit::MARK) {
            let mut inside = Vec::new();
            directory(upper, &inner, below, depth + 1, &mut inside)?;
            if !inside.is_empty() {
                line(out, kind, inner.as_os_str())?;
                out.write_all(&inside)?;
            }
            continue;
        }
        line(out, kind, inner.as_os_str())?;
        if metadata.is_dir() {
            directory(upper, &inner, below, depth + 1, out)?;
        }
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

/// Whether the layers, the top one first, show something at a path.
fn exists(path: &Path, below: &[OwnedFd]) -> Result<bool, Error> {
    for layer in below {
        if let Some(there) = look(layer, path)? {
            return Ok(there);
        }
    }
    Ok(false)
}

/// What one layer says of a path: there, not there whatever is below, or nothing.
fn look(layer: &OwnedFd, path: &Path) -> Result<Option<bool>, Error> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut partial = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        partial.push(part);
        let found = match openat2(layer, &partial, flags, Mode::empty(), resolve) {
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
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat2(layer, path, flags, Mode::empty(), resolve).and_then(fstat);
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
