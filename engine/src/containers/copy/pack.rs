//! Makes a tar archive of a file or directory of this machine.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use contracts::guest::tar::{self, Entry, Kind};

use super::attributes;

/// Writes entries for a path and all below it, under a name; without a name, for what is below it.
pub(super) fn write(
    path: &Path,
    metadata: &Metadata,
    name: Option<&OsStr>,
    archive: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut packer = Packer { archive, out };
    match name {
        Some(name) => packer.entry(path, name.as_bytes(), metadata),
        None => packer.directory(path, b"."),
    }
}

struct Packer<'a> {
    /// Owners stay what they are; all is root's otherwise, as docker does it.
    archive: bool,
    out: &'a mut dyn Write,
}

impl Packer<'_> {
    fn entry(&mut self, path: &Path, name: &[u8], metadata: &Metadata) -> io::Result<()> {
        let own = |id: u32| if self.archive { id } else { 0 };
        let mut entry = Entry {
            path: name.to_vec(),
            kind: Kind::File,
            mode: metadata.mode() & if self.archive { 0o7777 } else { 0o1777 },
            uid: own(metadata.uid()),
            gid: own(metadata.gid()),
            size: 0,
            mtime: u64::try_from(metadata.mtime()).unwrap_or(0),
            link: Vec::new(),
            device: (0, 0),
            attributes: Vec::new(),
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            entry.kind = Kind::Directory;
            if let Ok(directory) = File::open(path) {
                attributes::read(&directory, &mut entry);
            }
            self.out.write_all(&tar::encode(&entry))?;
            return self.directory(path, name);
        }
        if kind.is_symlink() {
            entry.kind = Kind::Symlink;
            entry.link = fs::read_link(path)?.as_os_str().as_bytes().to_vec();
        } else if kind.is_fifo() {
            entry.kind = Kind::Fifo;
        } else if kind.is_file() {
            entry.size = metadata.len();
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)
                .map_err(|error| named(path, &error))?;
            attributes::read(&file, &mut entry);
            self.out.write_all(&tar::encode(&entry))?;
            return self.content(file, entry.size);
        } else {
            // Sockets and devices stay where they are.
            return Ok(());
        }
        self.out.write_all(&tar::encode(&entry))
    }

    fn directory(&mut self, path: &Path, name: &[u8]) -> io::Result<()> {
        for entry in fs::read_dir(path).map_err(|error| named(path, &error))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = [name, b"/", entry.file_name().as_bytes()].concat();
            self.entry(&entry.path(), &name, &metadata)?;
        }
        Ok(())
    }

    /// As many bytes as the header says: a file that shrinks meanwhile is filled up with zeros.
    fn content(&mut self, file: File, size: u64) -> io::Result<()> {
        let copied = io::copy(&mut file.take(size), &mut self.out)?;
        let missing = (size - copied) + tar::padding(size) as u64;
        io::copy(&mut io::repeat(0).take(missing), &mut self.out).map(drop)
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
