//! Finding and making the places on which something is mounted, inside the container's root.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdir, mknodat, open, openat2, readlink},
    io::Errno,
};

use crate::failure::{Failure, Stage};

/// Most symbolic links that are followed by hand, as the kernel does.
const MAX_LINKS: usize = 40;

const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens a path below a descriptor, of which no component may be a symbolic link.
pub(super) fn inside(base: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(base, path, HANDLE, Mode::empty(), resolve)
}

/// Opens a directory of the root, made when missing. A symbolic link in its place is refused: the
/// mount would appear elsewhere, and what must lie on top of it would not.
pub(super) fn real_directory(path: &str) -> Result<OwnedFd, Failure> {
    let flags = HANDLE | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            make_directory(path)?;
            open(path, flags, Mode::empty())
        }
        other => other,
    }
    .stage(|| format!("open {path}, which must be a directory,"))
}

/// Opens a directory, made with its parents when missing; true when it was made.
pub(super) fn directory(path: &str) -> Result<(OwnedFd, bool), Failure> {
    let flags = HANDLE | OFlags::DIRECTORY;
    let (opened, made) = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            make_directories(&resolved(path))?;
            (open(path, flags, Mode::empty()), true)
        }
        other => (other, false),
    };
    opened
        .map(|place| (place, made))
        .stage(|| format!("open directory {path}"))
}

/// Opens a file, made with its parents when missing.
pub(super) fn file(path: &str) -> Result<OwnedFd, Failure> {
    match open(path, HANDLE, Mode::empty()) {
        Err(Errno::NOENT) => {
            let target = resolved(path);
            if let Some((parent, _)) = target.rsplit_once('/') {
                make_directories(parent)?;
            }
            let mode = Mode::from_raw_mode(0o644);
            mknodat(CWD, &*target, FileType::RegularFile, mode, 0)
                .stage(|| format!("make {target}"))?;
            open(path, HANDLE, Mode::empty())
        }
        other => other,
    }
    .stage(|| format!("open {path}"))
}

/// Makes a directory and its parents, as `mkdir -p`.
fn make_directories(path: &str) -> Result<(), Failure> {
    for (end, _) in path.match_indices('/').skip(1) {
        make_directory(path.get(..end).unwrap_or_default())?;
    }
    make_directory(path)
}

fn make_directory(path: &str) -> Result<(), Failure> {
    match mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) if path.is_empty() => Ok(()),
        Err(errno) => Err(errno).stage(|| format!("make directory {path}")),
    }
}

/// Where a path leads whose last component may be a symbolic link to nothing, such as a
/// `/etc/resolv.conf` that points into `/run`.
fn resolved(path: &str) -> String {
    let mut path = path.trim_end_matches('/').to_string();
    for _ in 0..MAX_LINKS {
        let Ok(target) = readlink(&*path, Vec::new()) else {
            break;
        };
        let target = target.to_string_lossy();
        path = match (target.starts_with('/'), path.rsplit_once('/')) {
            (false, Some((parent, _))) => format!("{parent}/{target}"),
            _ => target.into_owned(),
        };
    }
    path
}

/// Makes a directory and its parents, as `mkdir -p`, where symbolic links lead on the way: one that
/// leads nowhere gets its target, as docker does for a working directory. The root of the container is
/// this process's.
pub(crate) fn make_where_links_lead(path: &str) -> Result<(), Failure> {
    let parts = |path: &OsStr| -> Vec<OsString> {
        let parts = path.as_bytes().split(|byte| *byte == b'/').rev();
        parts
            .map(|part| OsStr::from_bytes(part).to_owned())
            .collect()
    };
    let mut left = parts(OsStr::new(path));
    // Free of links, so that its parent is the directory above it.
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_bytes() {
            b"" | b"." => continue,
            b".." => {
                at.pop();
                continue;
            }
            _ => {}
        }
        let next = at.join(&part);
        match readlink(&next, Vec::new()) {
            Ok(_) if links == MAX_LINKS => {
                return Err(Errno::LOOP).stage(|| format!("make directory {path}"));
            }
            Ok(target) => {
                links += 1;
                let target = OsStr::from_bytes(target.as_bytes());
                if target.as_bytes().starts_with(b"/") {
                    at = PathBuf::from("/");
                }
                left.extend(parts(target));
            }
            // It is there, and no link.
            Err(Errno::INVAL) => at = next,
            Err(Errno::NOENT) => {
                match mkdir(&next, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => {
                        return Err(errno).stage(|| format!("make directory {}", next.display()));
                    }
                }
                at = next;
            }
            Err(errno) => return Err(errno).stage(|| format!("make directory {}", next.display())),
        }
    }
    Ok(())
}
