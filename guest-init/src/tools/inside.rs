//! Paths of a container, opened by the kernel's own rules: whatever the container does with its links
//! meanwhile, they lead nowhere else, no link of procfs is followed, and what was opened is looked at.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat, openat2, readlinkat},
    io::Errno,
};

/// Most symbolic links that are followed by hand, as the kernel does.
const MAX_LINKS: usize = 40;

/// To look at something, or to enter it.
pub(super) const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The container's root, which is this process's.
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open() -> Result<Self, Errno> {
        open("/", HANDLE.union(OFlags::DIRECTORY), Mode::empty()).map(Self)
    }

    /// Opens a path; symbolic links on the way lead where they lead for the container.
    pub(super) fn at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.0, path, flags, Mode::empty(), resolve)
    }

    /// A path whose last component is no symbolic link: where the given one leads, which may be nothing.
    pub(super) fn lead(&self, path: &Path) -> Result<PathBuf, Errno> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let found = match self.at(&path, HANDLE | OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(path),
                found => found?,
            };
            if kind_of(&fstat(&found)?) != FileType::Symlink {
                return Ok(path);
            }
            let target = readlinkat(&found, "", Vec::new())?;
            // What is absolute replaces all.
            let parent = path.parent().unwrap_or(Path::new("/"));
            path = parent.join(OsStr::from_bytes(target.as_bytes()));
        }
        Err(Errno::LOOP)
    }
}

/// What something is.
pub(super) fn kind_of(state: &Stat) -> FileType {
    FileType::from_raw_mode(state.st_mode)
}

/// Opens a regular file in a directory for reading, and tells of it; `None` when something else has
/// taken its place. Neither a pipe nor a device can hold this up, and its control group keeps it from
/// devices that the container may not use.
pub(super) fn file(
    directory: impl AsFd,
    name: impl rustix::path::Arg,
) -> Result<Option<(OwnedFd, Stat)>, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        file => file?,
    };
    let state = fstat(&file)?;
    Ok((kind_of(&state) == FileType::RegularFile).then_some((file, state)))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, mknodat};

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_as_one() {
        let directory = std::env::temp_dir().join(format!("coracle-inside-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = |name: &str| directory.join(name);
        std::fs::write(path("file"), "content").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let opened = open(&directory, HANDLE, Mode::empty()).unwrap();
        assert!(file(&opened, "file").unwrap().is_some());
        for name in ["link", "fifo", "socket"] {
            assert!(file(&opened, name).unwrap().is_none(), "{name}");
        }
        assert_eq!(file(&opened, "absent").err(), Some(Errno::NOENT));
        let devices = open("/dev", HANDLE, Mode::empty()).unwrap();
        assert!(file(devices, "null").unwrap().is_none());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
