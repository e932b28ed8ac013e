//! Makes a tar archive of a file or directory.

use std::{
    collections::{HashMap, hash_map},
    ffi::{CStr, OsStr},
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use contracts::guest::tar::{self, Entry, Kind};
use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat,
    },
    io::Errno,
};

use super::{
    BUFFER, Error, Tried, attributes,
    inside::{self, HANDLE, Root, kind_of},
};

/// Most directories in each other: the kernel's longest path has no more.
const MAX_DEPTH: usize = 2048;

/// How often a name is looked at again behind which something else appears each time.
const ATTEMPTS: usize = 8;

/// Tells what is at a path, itself or where a link leads.
pub(super) fn look(path: &str, out: &mut impl Write) -> Result<(), Error> {
    let root = Root::open().tried("open", &"/")?;
    let path = Path::new(path);
    let kind = |flags| -> Option<FileType> {
        let found = root.at(path, HANDLE | flags).ok()?;
        fstat(&found).ok().map(|state| kind_of(&state))
    };
    let mut found = kind(OFlags::NOFOLLOW);
    if found == Some(FileType::Symlink) {
        write!(out, "link ")?;
        found = kind(OFlags::empty());
    }
    let word = match found {
        Some(FileType::RegularFile) => "file",
        Some(FileType::Directory) => "directory",
        Some(_) => "other",
        None => "",
    };
    Ok(writeln!(out, "{word}")?)
}

/// Writes the archive; its first entry has the path's last component as its name.
pub(super) fn write(path: &str, follow: bool, out: &mut impl Write) -> Result<(), Error> {
    let root = Root::open().tried("open", &"/")?;
    let path = Path::new(path);
    let name = path.file_name().unwrap_or(OsStr::new("."));
    let place = match follow {
        true => root.lead(path).tried("find", &path.display())?,
        false => path.to_owned(),
    };
    let mut packer = Packer {
        out,
        seen: HashMap::new(),
        buffer: vec![0; BUFFER],
    };
    // The root, and what ends with `..`, are directories that have no name in another one.
    let (parent, last) = match (place.parent(), place.file_name()) {
        (Some(parent), Some(last)) => (parent, last),
        _ => (place.as_path(), OsStr::new(".")),
    };
    let parent = root
        .at(parent, HANDLE | OFlags::DIRECTORY)
        .tried("find", &path.display())?;
    let last = std::ffi::CString::new(last.as_bytes()).map_err(std::io::Error::other)?;
    if !packer.entry((&parent, &last), name.as_bytes(), 0)? {
        return Err(Errno::NOENT).tried("find", &path.display());
    }
    out.write_all(&tar::END)?;
    Ok(())
}

struct Packer<'a, W> {
    out: &'a mut W,
    /// Files with several names, by what identifies them: the first of the names, and how many have not
    /// been met.
    seen: HashMap<(u64, u64), (Vec<u8>, u64)>,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<'_, W> {
    /// Writes what has a name in a directory; false when it is not there.
    fn entry(
        &mut self,
        (directory, last): (&OwnedFd, &CStr),
        name: &[u8],
        depth: usize,
    ) -> Result<bool, Error> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        for _ in 0..ATTEMPTS {
            let state = match statat(directory, last, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(false),
                state => state.tried("look at", &shown())?,
            };
            let opened = match kind_of(&state) {
                FileType::RegularFile => inside::file(directory, last),
                FileType::Directory => {
                    let flags =
                        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    match openat(directory, last, flags, Mode::empty()) {
                        Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
                        opened => opened
                            .and_then(|opened| fstat(&opened).map(|state| Some((opened, state)))),
                    }
                }
                _ => {
                    self.other((directory, last), name, &state)?;
                    return Ok(true);
                }
            };
            match opened {
                // Something else has taken its place meanwhile.
                Ok(None) => {}
                Err(Errno::NOENT) => return Ok(false),
                Ok(Some((opened, state))) => {
                    match kind_of(&state) {
                        FileType::Directory => self.directory(opened, name, &state, depth)?,
                        _ => self.file(opened, name, &state)?,
                    }
                    return Ok(true);
                }
                Err(errno) => return Err(errno).tried("open", &shown()),
            }
        }
        Err(Error(format!("{} is exchanged all the time", shown())))
    }

    /// Links, pipes and devices.
    fn other(
        &mut self,
        (directory, last): (&OwnedFd, &CStr),
        name: &[u8],
        state: &Stat,
    ) -> Result<(), Error> {
        let mut entry = entry_of(name, state);
        match kind_of(state) {
            FileType::Symlink => {
                entry.kind = Kind::Symlink;
                let target = readlinkat(directory, last, Vec::new());
                let target = target.tried("read", &String::from_utf8_lossy(name))?;
                entry.link = target.into_bytes();
            }
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                entry.kind = match kind {
                    FileType::CharacterDevice => Kind::Character,
                    _ => Kind::Block,
                };
                entry.device = (major(state.st_rdev), minor(state.st_rdev));
            }
            FileType::Fifo => entry.kind = Kind::Fifo,
            // A socket means nothing without its process.
            _ => return Ok(()),
        }
        Ok(self.out.write_all(&tar::encode(&entry))?)
    }

    fn directory(
        &mut self,
        directory: OwnedFd,
        name: &[u8],
        state: &Stat,
        depth: usize,
    ) -> Result<(), Error> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if depth > MAX_DEPTH {
            return Err(Error(format!("{} is too deep", shown())));
        }
        let mut entry = entry_of(name, state);
        entry.kind = Kind::Directory;
        entry.path.push(b'/');
        attributes::read(&directory, &mut entry);
        self.out.write_all(&tar::encode(&entry))?;
        for found in Dir::read_from(&directory).tried("read", &shown())? {
            let found = found.tried("read", &shown())?;
            let last = found.file_name();
            if last != c"." && last != c".." {
                let name = [name, b"/", last.to_bytes()].concat();
                // What was removed just now is not there.
                let _ = self.entry((&directory, last), &name, depth + 1)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, file: OwnedFd, name: &[u8], state: &Stat) -> Result<(), Error> {
        let mut entry = entry_of(name, state);
        if state.st_nlink > 1 {
            match self.seen.entry((state.st_dev, state.st_ino)) {
                hash_map::Entry::Occupied(mut first) => {
                    entry.kind = Kind::HardLink;
                    entry.link.clone_from(&first.get().0);
                    self.out.write_all(&tar::encode(&entry))?;
                    // Forgotten with its last name, so that few are held at a time.
                    first.get_mut().1 -= 1;
                    if first.get().1 == 0 {
                        first.remove();
                    }
                    return Ok(());
                }
                hash_map::Entry::Vacant(place) => {
                    place.insert((entry.path.clone(), state.st_nlink - 1));
                }
            }
        }
        attributes::read(file.as_fd(), &mut entry);
        entry.size = u64::try_from(state.st_size).unwrap_or(0);
        self.out.write_all(&tar::encode(&entry))?;
        self.content(File::from(file), entry.size)
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

/// The entry of a file without content.
fn entry_of(name: &[u8], state: &Stat) -> Entry {
    Entry {
        path: name.to_vec(),
        kind: Kind::File,
        mode: state.st_mode & 0o7777,
        uid: state.st_uid,
        gid: state.st_gid,
        size: 0,
        mtime: u64::try_from(state.st_mtime).unwrap_or(0),
        link: Vec::new(),
        device: (0, 0),
        attributes: Vec::new(),
    }
}
