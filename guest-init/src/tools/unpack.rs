//! Unpacks a tar archive into a directory. Each path is opened by the kernel's own rules ([`Root`]), and
//! what is made is given away by its descriptor: another file that takes its place gets nothing.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use contracts::guest::tar::{self, BLOCK, Decoder, Entry, Kind, Step};
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown,
        fstat, futimens, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
        utimensat,
    },
    io::Errno,
};

use super::{
    Error, Tried, attributes,
    inside::{HANDLE, Root, kind_of},
};

/// To change what a directory holds, and itself.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Reads the archive to its end.
pub(super) fn read(directory: &str, follow: bool, mut input: impl Read) -> Result<(), Error> {
    let root = Root::open().tried("open", &"/")?;
    let directory = Path::new(directory);
    match root.at(directory, HANDLE | OFlags::DIRECTORY) {
        Err(Errno::NOTDIR) => {
            return Err(Error(format!("{} is not a directory", directory.display())));
        }
        found => drop(found.tried("find", &directory.display())?),
    }
    let mut unpacker = Unpacker {
        root,
        directory: directory.to_owned(),
        follow,
        first: None,
        open: Vec::new(),
    };
    let mut decoder = Decoder::default();
    let mut block = [0; BLOCK];
    loop {
        match input.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            result => result?,
        }
        match decoder
            .block(&block)
            .map_err(|error| Error(error.to_string()))?
        {
            Step::End => break,
            Step::Extension(size) => {
                let length = usize::try_from(size).unwrap_or(0);
                let mut content = vec![0; length + tar::padding(size)];
                input.read_exact(&mut content)?;
                let content = content.get(..length).unwrap_or_default();
                decoder
                    .extension(content)
                    .map_err(|error| Error(error.to_string()))?;
            }
            Step::Entry(entry) => {
                let mut content = (&mut input).take(entry.size);
                unpacker.place(&entry, &mut content)?;
                io::copy(&mut content, &mut io::sink())?;
                let padding = tar::padding(entry.size) as u64;
                io::copy(&mut (&mut input).take(padding), &mut io::sink())?;
            }
        }
    }
    unpacker.leave(|_| false);
    // What follows the end belongs to it.
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

struct Unpacker {
    root: Root,
    directory: PathBuf,
    follow: bool,
    /// The first component of the first path, and the place that it stands for.
    first: Option<(OsString, PathBuf)>,
    /// The directories of the archive on the way to the entry. Their modes and times are set when the
    /// archive leaves them: what is put into them would change these, or be forbidden.
    open: Vec<Level>,
}

struct Level {
    path: PathBuf,
    directory: OwnedFd,
    mode: u32,
    mtime: u64,
}

impl Unpacker {
    /// A path of the archive, in the container; `None` for the directory itself.
    fn inner(&mut self, path: &[u8]) -> Result<Option<PathBuf>, Error> {
        let path = Path::new(OsStr::from_bytes(path));
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => parts.push(name),
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    let words = format!("the archive has an entry {}", path.display());
                    return Err(Error(words));
                }
            }
        }
        let Some((name, rest)) = parts.split_first() else {
            return Ok(None);
        };
        let plain = self.directory.join(name);
        if self.first.is_none() {
            let place = match self.follow {
                true => self.root.lead(&plain).tried("find", &plain.display())?,
                false => plain.clone(),
            };
            self.first = Some(((*name).to_owned(), place));
        }
        let place = match &self.first {
            Some((first, place)) if first == name => place.clone(),
            _ => plain,
        };
        Ok(Some(
            rest.iter().fold(place, |place, part| place.join(part)),
        ))
    }

    /// Opens a directory, made with its parents when missing.
    fn parent(&self, path: &Path) -> Result<OwnedFd, Errno> {
        match self.root.at(path, DIRECTORY) {
            Err(Errno::NOENT) => {
                let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(Errno::NOENT);
                };
                match mkdirat(self.parent(above)?, name, Mode::from_raw_mode(0o755)) {
                    // A link that leads nowhere stays what it is.
                    Ok(()) | Err(Errno::EXIST) => self.root.at(path, DIRECTORY),
                    Err(errno) => Err(errno),
                }
            }
            found => found,
        }
    }

    /// Leaves the directories of the archive that are not to be kept open.
    fn leave(&mut self, keep: impl Fn(&Path) -> bool) {
        while let Some(level) = self.open.pop_if(|level| !keep(&level.path)) {
            let _ = fchmod(&level.directory, Mode::from_raw_mode(level.mode));
            let _ = futimens(&level.directory, &times(level.mtime));
        }
    }

    fn place(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), Error> {
        let Some(path) = self.inner(&entry.path)? else {
            return Ok(());
        };
        self.leave(|open| path.starts_with(open));
        let parent = path.parent().unwrap_or(Path::new("/"));
        let parent = self.parent(parent).tried("make", &parent.display())?;
        let name = path.file_name().unwrap_or_default();
        if entry.kind == Kind::Directory {
            let made = self.make_directory(&parent, &path, entry);
            let made = made.tried("make", &path.display())?;
            self.open.push(Level {
                path,
                directory: made,
                mode: entry.mode,
                mtime: entry.mtime,
            });
            return Ok(());
        }
        if !clear(&parent, name, entry, &path)? {
            return Ok(());
        }
        if entry.kind == Kind::HardLink {
            let Some(first) = self.inner(&entry.link)? else {
                return Err(Errno::ISDIR).tried("link", &path.display());
            };
            let above = first.parent().unwrap_or(Path::new("/"));
            return self
                .root
                .at(above, HANDLE | OFlags::DIRECTORY)
                .and_then(|above| {
                    let first = first.file_name().unwrap_or_default();
                    linkat(above, first, &parent, name, AtFlags::empty())
                })
                .tried("link", &path.display());
        }
        make(&parent, name, entry, content).tried("make", &path.display())
    }

    /// A directory that is there is taken, also one that a link leads to.
    fn make_directory(
        &self,
        parent: &OwnedFd,
        path: &Path,
        entry: &Entry,
    ) -> Result<OwnedFd, Errno> {
        let name = path.file_name().unwrap_or_default();
        let directory = match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => openat(parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?,
            Err(Errno::EXIST) => self.root.at(path, DIRECTORY)?,
            Err(errno) => return Err(errno),
        };
        fchown(&directory, owner(entry).0, owner(entry).1)?;
        attributes::write(&directory, entry)?;
        Ok(directory)
    }
}

/// Removes what an entry takes the place of: a file or a link. False when what is there is as the entry
/// says, and stays.
fn clear(parent: &OwnedFd, name: &OsStr, entry: &Entry, path: &Path) -> Result<bool, Error> {
    let there = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(true),
        there => there.tried("look at", &path.display())?,
    };
    let number = makedev(entry.device.0, entry.device.1);
    match (kind_of(&there), entry.kind) {
        (FileType::RegularFile | FileType::Symlink, _) => {
            let removed = unlinkat(parent, name, AtFlags::empty());
            removed.tried("replace", &path.display()).map(|()| true)
        }
        (FileType::Fifo, Kind::Fifo) => Ok(false),
        (FileType::CharacterDevice, Kind::Character) | (FileType::BlockDevice, Kind::Block)
            if there.st_rdev == number =>
        {
            Ok(false)
        }
        (FileType::Directory, _) => Err(Error(format!(
            "cannot overwrite directory {} with a file",
            path.display()
        ))),
        _ => Err(Error(format!(
            "cannot overwrite {}, which is a device, pipe or socket",
            path.display()
        ))),
    }
}

/// Makes what is no directory and no hard link, where nothing is.
fn make(
    parent: &OwnedFd,
    name: &OsStr,
    entry: &Entry,
    content: &mut impl Read,
) -> Result<(), io::Error> {
    let (uid, gid) = owner(entry);
    let mode = Mode::from_raw_mode(entry.mode);
    let kind = match entry.kind {
        Kind::File => {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(content, &mut file)?;
            // The owner first: giving a file away takes its set-user bit and its capabilities.
            fchown(&file, uid, gid)?;
            fchmod(&file, mode)?;
            attributes::write(file.as_fd(), entry)?;
            let _ = futimens(&file, &times(entry.mtime));
            return Ok(());
        }
        Kind::Symlink => {
            symlinkat(OsStr::from_bytes(&entry.link), parent, name)?;
            FileType::Symlink
        }
        Kind::Character | Kind::Block | Kind::Fifo => {
            let kind = match entry.kind {
                Kind::Character => FileType::CharacterDevice,
                Kind::Block => FileType::BlockDevice,
                _ => FileType::Fifo,
            };
            let device = makedev(entry.device.0, entry.device.1);
            mknodat(parent, name, kind, mode, device)?;
            kind
        }
        Kind::Directory | Kind::HardLink => return Ok(()),
    };
    let made = openat(parent, name, HANDLE | OFlags::NOFOLLOW, Mode::empty())?;
    // Another file that has taken its place is not given away.
    if kind_of(&fstat(&made)?) == kind {
        chownat(&made, "", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    if kind == FileType::Symlink {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let _ = utimensat(parent, name, &times(entry.mtime), flags);
    }
    Ok(())
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    (Some(uid), Some(gid))
}

fn times(seconds: u64) -> Timestamps {
    let time = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
