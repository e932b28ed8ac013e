//! Unpacks a tar archive into a directory. The process is inside the container's file system, so
//! that a path in the archive leads nowhere else, whatever links are in its way.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown, symlink},
    },
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use coracle_protocol::tar::{self, BLOCK, Decoder, Entry, Kind, Step};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{Error, Tried};

/// Reads the archive to its end.
pub(super) fn read(directory: &str, mut input: impl Read) -> Result<(), Error> {
    let directory = Path::new(directory);
    if !fs::metadata(directory)
        .tried("find", &directory.display())?
        .is_dir()
    {
        return Err(Error(format!("{} is not a directory", directory.display())));
    }
    let mut decoder = Decoder::default();
    let mut block = [0; BLOCK];
    // Set last: what is put into a directory changes its time, and its mode may forbid it.
    let mut directories = Vec::new();
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
                let path = directory.join(inner(&entry.path)?);
                let mut content = (&mut input).take(entry.size);
                place(directory, &path, &entry, &mut content)?;
                if entry.kind == Kind::Directory {
                    directories.push((path, entry.mode, entry.mtime));
                }
                io::copy(&mut content, &mut io::sink())?;
                let padding = tar::padding(entry.size) as u64;
                io::copy(&mut (&mut input).take(padding), &mut io::sink())?;
            }
        }
    }
    for (path, mode, mtime) in directories.into_iter().rev() {
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .tried("set the permissions of", &path.display())?;
        if let Ok(opened) = File::open(&path) {
            let _ = opened.set_modified(time(mtime));
        }
    }
    // What follows the end belongs to it.
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

/// A path of an archive below the directory.
fn inner(path: &[u8]) -> Result<PathBuf, Error> {
    let path = Path::new(OsStr::from_bytes(path));
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inner.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let words = format!("the archive has an entry {}", path.display());
                return Err(Error(words));
            }
        }
    }
    Ok(inner)
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn place(
    directory: &Path,
    path: &Path,
    entry: &Entry,
    content: &mut impl Read,
) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).tried("make", &parent.display())?;
    }
    let existing = fs::symlink_metadata(path).ok();
    if entry.kind == Kind::Directory {
        if !fs::metadata(path).is_ok_and(|there| there.is_dir()) {
            if existing.is_some() {
                fs::remove_file(path).tried("replace", &path.display())?;
            }
            let made = DirBuilder::new().mode(0o700).create(path);
            made.tried("make", &path.display())?;
        }
        return lchown(path, Some(entry.uid), Some(entry.gid)).tried("give away", &path.display());
    }
    match existing {
        Some(there) if there.is_dir() => {
            return Err(Error(format!(
                "cannot replace directory {} by something else",
                path.display()
            )));
        }
        Some(_) => fs::remove_file(path).tried("replace", &path.display())?,
        None => {}
    }
    let node = |kind| {
        let device = makedev(entry.device.0, entry.device.1);
        mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device).tried("make", &path.display())
    };
    match entry.kind {
        Kind::File => {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .tried("make", &path.display())?;
            io::copy(content, &mut file).tried("write", &path.display())?;
            let _ = file.set_modified(time(entry.mtime));
        }
        Kind::Symlink => {
            symlink(OsStr::from_bytes(&entry.link), path).tried("make", &path.display())?;
        }
        Kind::HardLink => {
            let first = directory.join(inner(&entry.link)?);
            return fs::hard_link(first, path).tried("link", &path.display());
        }
        Kind::Character => node(FileType::CharacterDevice)?,
        Kind::Block => node(FileType::BlockDevice)?,
        Kind::Fifo => node(FileType::Fifo)?,
        Kind::Directory => {}
    }
    // The owner first: giving a file away takes its set-user bit.
    lchown(path, Some(entry.uid), Some(entry.gid)).tried("give away", &path.display())?;
    if entry.kind != Kind::Symlink {
        fs::set_permissions(path, Permissions::from_mode(entry.mode))
            .tried("set the permissions of", &path.display())?;
    }
    Ok(())
}
