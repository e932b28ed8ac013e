//! Writes a directory as a tar archive: sorted, beneath one directory, no link followed.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

/// Most directories within each other: as many as a path of `PATH_MAX` bytes can name.
const MAX_DEPTH: usize = 2048;
/// Largest list of extended attributes, and largest value (xattr(7), "Filesystem differences").
const MAX_XATTR: usize = 64 << 10;
/// Prefix of an extended attribute in a pax header, as GNU tar and libarchive write it.
const PAX_XATTR: &str = "SCHILY.xattr.";

struct Walk<W: Write> {
    archive: Builder<W>,
    device: u64,
    seen: HashMap<u64, PathBuf>,
}

/// Writes everything beneath `root` that lies on the same file system.
pub(super) fn write_tar(root: &OwnedFd, output: impl Write) -> io::Result<()> {
    let stat = rustix::fs::fstat(root)?;
    let mut walk = Walk {
        archive: Builder::new(output),
        device: stat.st_dev,
        seen: HashMap::new(),
    };
    walk.archive.mode(tar::HeaderMode::Complete);
    let mut header = header_of(&stat, EntryType::Directory);
    walk.archive.append_data(&mut header, "./", io::empty())?;
    walk.directory(root.as_fd(), Path::new(""), 0)?;
    walk.archive.into_inner()?.flush()
}

impl<W: Write> Walk<W> {
    fn directory(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!(
                "{} lies too deep",
                path.display()
            )));
        }
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(directory).map_err(|error| at(path, error.into()))? {
            let name = entry
                .map_err(|error| at(path, error.into()))?
                .file_name()
                .to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            self.entry(directory, &name, &path, depth)
                .map_err(|error| at(&path, error))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CString,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 && stat.st_dev == self.device {
            if let Some(first) = self.seen.get(&stat.st_ino) {
                let mut header = header_of(&stat, EntryType::Link);
                header.set_size(0);
                return self.archive.append_link(&mut header, path, first);
            }
            self.seen.insert(stat.st_ino, path.to_owned());
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                self.xattrs(&child)?;
                let mut header = header_of(&stat, EntryType::Directory);
                self.archive.append_data(&mut header, path, io::empty())?;
                // What is mounted there (/proc, /dev, a network share) is not part of it.
                if stat.st_dev == self.device {
                    self.directory(child.as_fd(), path, depth + 1)?;
                }
                Ok(())
            }
            FileType::RegularFile => self.file(directory, name, path),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                let mut header = header_of(&stat, EntryType::Symlink);
                header.set_size(0);
                self.archive
                    .append_link(&mut header, path, OsStr::from_bytes(target.to_bytes()))
            }
            FileType::CharacterDevice => self.device(&stat, EntryType::Char, path),
            FileType::BlockDevice => self.device(&stat, EntryType::Block, path),
            FileType::Fifo => {
                let mut header = header_of(&stat, EntryType::Fifo);
                header.set_size(0);
                self.archive.append_data(&mut header, path, io::empty())
            }
            // A socket lives only as long as its server; tar has no form for it.
            _ => Ok(()),
        }
    }

    fn file(&mut self, directory: BorrowedFd<'_>, name: &CString, path: &Path) -> io::Result<()> {
        // Not blocking, in case that a FIFO took the file's place since.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it changed its kind while it was read"));
        }
        self.xattrs(&file)?;
        let mut header = header_of(&stat, EntryType::Regular);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        header.set_size(size);
        self.archive
            .append_data(&mut header, path, Exactly { file, left: size })
    }

    fn device(&mut self, stat: &Stat, kind: EntryType, path: &Path) -> io::Result<()> {
        let mut header = header_of(stat, kind);
        header.set_size(0);
        header.set_device_major(rustix::fs::major(stat.st_rdev))?;
        header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
        self.archive.append_data(&mut header, path, io::empty())
    }

    /// File capabilities and the user's own attributes, in a pax header before the entry.
    fn xattrs(&mut self, file: impl AsFd) -> io::Result<()> {
        let file = file.as_fd();
        let mut names = vec![0; MAX_XATTR];
        let length = match rustix::fs::flistxattr(file, &mut names[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::NOTSUP) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for name in names[..length].split(|byte| *byte == 0) {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            if name != "security.capability" && !name.starts_with("user.") {
                continue;
            }
            let mut value = vec![0; MAX_XATTR];
            let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
            value.truncate(length);
            found.push((format!("{PAX_XATTR}{name}"), value));
        }
        if found.is_empty() {
            return Ok(());
        }
        found.sort();
        let pairs = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.archive.append_pax_extensions(pairs)
    }
}

/// A file's bytes, as many as its header says; an error when there are fewer.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read(&mut buffer[..room])?;
        if count == 0 && room > 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn header_of(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

fn at(path: &Path, error: io::Error) -> io::Error {
    // The innermost path is the one to name.
    if error.get_ref().is_some_and(|inner| inner.is::<AtPath>()) {
        return error;
    }
    let path = path.to_owned();
    io::Error::new(
        error.kind(),
        AtPath {
            path,
            source: error,
        },
    )
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read {} (as this user)", path.display())]
struct AtPath {
    path: PathBuf,
    source: io::Error,
}
