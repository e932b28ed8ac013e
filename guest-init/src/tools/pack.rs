//! Makes a tar archive of a file or directory.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions},
    io::{Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use coracle_protocol::tar::{self, Entry, Kind};
use rustix::fs::{FileType, OFlags, major, minor};

use super::{BUFFER, Error, Tried};

/// Most directories in each other: the kernel's longest path has no more.
const MAX_DEPTH: usize = 2048;

/// Tells what is at a path, itself or where a link leads.
pub(super) fn look(path: &str, out: &mut impl Write) -> Result<(), Error> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let word = match FileType::from_raw_mode(metadata.mode()) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink if fs::metadata(path).is_ok_and(|target| target.is_dir()) => "directory",
        FileType::Symlink => "link",
        _ => "other",
    };
    Ok(writeln!(out, "{word}")?)
}

/// Writes the archive; its first entry has the path's last component as its name.
pub(super) fn write(path: &str, follow: bool, out: &mut impl Write) -> Result<(), Error> {
    let path = Path::new(path);
    let name = path.file_name().unwrap_or(OsStr::new("."));
    let mut packer = Packer {
        out,
        seen: HashMap::new(),
        buffer: vec![0; BUFFER],
    };
    let metadata = match follow {
        true => fs::metadata(path),
        false => fs::symlink_metadata(path),
    };
    let metadata = metadata.tried("find", &path.display())?;
    packer.entry(path, name.as_bytes(), &metadata, 0)?;
    out.write_all(&tar::END)?;
    Ok(())
}

struct Packer<'a, W> {
    out: &'a mut W,
    /// Files with several names, by what identifies them.
    seen: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<'_, W> {
    fn entry(
        &mut self,
        path: &Path,
        name: &[u8],
        metadata: &Metadata,
        depth: usize,
    ) -> Result<(), Error> {
        let mut entry = Entry {
            path: name.to_vec(),
            kind: Kind::File,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: 0,
            mtime: u64::try_from(metadata.mtime()).unwrap_or(0),
            link: Vec::new(),
            device: (0, 0),
        };
        match FileType::from_raw_mode(metadata.mode()) {
            FileType::RegularFile => return self.file(path, entry, metadata),
            FileType::Directory => {
                entry.kind = Kind::Directory;
                entry.path.push(b'/');
                self.out.write_all(&tar::encode(&entry))?;
                return self.directory(path, name, depth);
            }
            FileType::Symlink => {
                entry.kind = Kind::Symlink;
                let target = fs::read_link(path).tried("read", &path.display())?;
                entry.link = target.as_os_str().as_bytes().to_vec();
            }
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                entry.kind = match kind {
                    FileType::CharacterDevice => Kind::Character,
                    _ => Kind::Block,
                };
                entry.device = (major(metadata.rdev()), minor(metadata.rdev()));
            }
            FileType::Fifo => entry.kind = Kind::Fifo,
            // A socket means nothing without its process.
            _ => return Ok(()),
        }
        self.out.write_all(&tar::encode(&entry))?;
        Ok(())
    }

    fn directory(&mut self, path: &Path, name: &[u8], depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error(format!("{} is too deep", path.display())));
        }
        let entries = fs::read_dir(path).tried("read", &path.display())?;
        for entry in entries {
            let entry = entry.tried("read", &path.display())?;
            let inner = path.join(entry.file_name());
            // Removed just now.
            let Ok(metadata) = fs::symlink_metadata(&inner) else {
                continue;
            };
            let name = [name, b"/", entry.file_name().as_bytes()].concat();
            self.entry(&inner, &name, &metadata, depth + 1)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, mut entry: Entry, metadata: &Metadata) -> Result<(), Error> {
        if metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            if let Some(first) = self.seen.get(&key) {
                entry.kind = Kind::HardLink;
                entry.link.clone_from(first);
                self.out.write_all(&tar::encode(&entry))?;
                return Ok(());
            }
            self.seen.insert(key, entry.path.clone());
        }
        // A pipe or device that took its place meanwhile must not be waited for.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .tried("open", &path.display())?;
        entry.size = metadata.len();
        self.out.write_all(&tar::encode(&entry))?;
        self.content(file, entry.size)
    }

    /// As many bytes as the header says: a file that shrinks meanwhile is filled up with zeros.
    fn content(&mut self, mut file: File, size: u64) -> Result<(), Error> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let Some(room) = self.buffer.get_mut(..most) else {
                break;
            };
            let length = match file.read(room) {
                Ok(0) => {
                    room.fill(0);
                    most
                }
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.out.write_all(room.get(..length).unwrap_or_default())?;
            left -= length as u64;
        }
        let zeros = [0; tar::BLOCK];
        self.out
            .write_all(zeros.get(..tar::padding(size)).unwrap_or_default())?;
        Ok(())
    }
}
