//! Unpacks a guest's tar archive on this machine. The guest is hostile: each entry is placed below
//! the target directory by the kernel's own rule, no symbolic link on the way is followed, and no
//! device is made.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, fchown},
        },
    },
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use contracts::guest::tar::{self, BLOCK, Decoder, Entry, Kind, Step};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, linkat, mkdirat, mknodat, open, openat,
        openat2, statat, symlinkat, unlinkat,
    },
    io::Errno,
};

use super::{Target, attributes};

/// Reads an archive and puts its entries under the target's name.
pub(super) fn read(mut input: impl Read, target: &Target, archive: bool) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = &target.directory;
    let root = open(directory, flags, Mode::empty())
        .with_context(|| format!("cannot open directory {}", directory.display()))?;
    let mut unpacker = Unpacker {
        root,
        name: target.name.clone(),
        archive,
        open: Vec::new(),
    };
    let mut decoder = Decoder::default();
    let mut block = [0; BLOCK];
    loop {
        match input.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            result => result.context("cannot read the guest's archive")?,
        }
        match decoder.block(&block)? {
            Step::End => break,
            Step::Extension(size) => {
                let length = usize::try_from(size)?;
                let mut content = vec![0; length + tar::padding(size)];
                input.read_exact(&mut content)?;
                decoder.extension(content.get(..length).unwrap_or_default())?;
            }
            Step::Entry(entry) => {
                let mut content = (&mut input).take(entry.size);
                unpacker
                    .place(&entry, &mut content)
                    .with_context(|| format!("cannot copy {}", shown(&entry.path)))?;
                let rest = content.limit() + tar::padding(entry.size) as u64;
                io::copy(&mut (&mut input).take(rest), &mut io::sink())?;
            }
        }
    }
    unpacker.leave(|_| false);
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

/// A path of a guest's without what a terminal would obey.
fn shown(path: &[u8]) -> String {
    coracle_platform::clean::line(&String::from_utf8_lossy(path)).into_owned()
}

struct Unpacker {
    root: OwnedFd,
    /// What the first component of each path becomes; nothing, where there is none.
    name: Option<OsString>,
    archive: bool,
    /// The directories of the archive on the way to the entry, and so as few as a path has. Their modes
    /// and times are set when the archive leaves them: what is put into them would change these, or be
    /// forbidden.
    open: Vec<Level>,
}

struct Level {
    path: PathBuf,
    directory: OwnedFd,
    mode: u32,
    mtime: u64,
}

impl Unpacker {
    /// Where a path of the archive goes, below the root; `None` for the root itself.
    fn inner(&self, path: &[u8]) -> Result<Option<PathBuf>> {
        let mut parts = Vec::new();
        // The first component is what the archive is of, also where that is a dot.
        for (index, component) in Path::new(OsStr::from_bytes(path)).components().enumerate() {
            match component {
                Component::Normal(_) if index == 0 => {}
                Component::Normal(part) => parts.push(part),
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    bail!("it leads out of its directory")
                }
            }
        }
        let inner: PathBuf = self.name.as_deref().into_iter().chain(parts).collect();
        Ok((!inner.as_os_str().is_empty()).then_some(inner))
    }

    /// Opens the directory that a path is in, made when missing.
    fn parent(&self, path: &Path) -> Result<OwnedFd> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let Some(parent) = parent else {
            return self.directory(Path::new("."));
        };
        match self.directory(parent) {
            Err(error) if error.downcast_ref() == Some(&Errno::NOENT) => {
                let above = self.parent(parent)?;
                let name = parent.file_name().unwrap_or_default();
                mkdirat(&above, name, Mode::from_raw_mode(0o755))?;
                self.directory(parent)
            }
            found => found,
        }
    }

    fn directory(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.root, path, flags, Mode::empty(), resolve)?)
    }

    fn place(&mut self, entry: &Entry, content: &mut impl Read) -> Result<()> {
        let Some(path) = self.inner(&entry.path)? else {
            return Ok(());
        };
        self.leave(|open| path.starts_with(open));
        let parent = self.parent(&path)?;
        let name = path.file_name().unwrap_or_default();
        let mode = entry.mode & if self.archive { 0o7777 } else { 0o1777 };
        if entry.kind == Kind::Directory {
            match mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let made = self.directory(&path)?;
            self.give(&made, entry)?;
            attributes::write(&made, entry, false)?;
            self.open.push(Level {
                path,
                directory: made,
                mode,
                mtime: entry.mtime,
            });
            return Ok(());
        }
        let there = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Some(FileType::from_raw_mode(there.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        match there {
            None => {}
            Some(FileType::RegularFile | FileType::Symlink) => {
                unlinkat(&parent, name, AtFlags::empty())?;
            }
            Some(FileType::Directory) => bail!("a directory is in its place"),
            Some(FileType::Fifo) if entry.kind == Kind::Fifo => return Ok(()),
            Some(_) => bail!("a device, pipe or socket is in its place, which is not replaced"),
        }
        match entry.kind {
            Kind::File => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let made = openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
                let mut file = File::from(made);
                let length = io::copy(content, &mut file)?;
                if length != entry.size {
                    bail!("the archive ends in it");
                }
                self.give(&file, entry)?;
                file.set_permissions(Permissions::from_mode(mode))?;
                let trusted = self.archive && rustix::process::geteuid().is_root();
                attributes::write(&file, entry, trusted)?;
                let _ = file.set_modified(time(entry.mtime));
            }
            Kind::Symlink => symlinkat(OsStr::from_bytes(&entry.link), &parent, name)?,
            Kind::HardLink => {
                let Some(first) = self.inner(&entry.link)? else {
                    bail!("it is a link to a directory");
                };
                let first_parent = self.parent(&first)?;
                let first_name = first.file_name().unwrap_or_default();
                let kind = statat(&first_parent, first_name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
                    bail!("it is a link to something that is no file");
                }
                linkat(&first_parent, first_name, &parent, name, AtFlags::empty())?;
            }
            Kind::Fifo => {
                mknodat(
                    &parent,
                    name,
                    FileType::Fifo,
                    Mode::from_raw_mode(mode & 0o777),
                    0,
                )?;
            }
            Kind::Character | Kind::Block => {
                log::warn!("{} is a device and was not copied", shown(&entry.path));
            }
            Kind::Directory => {}
        }
        Ok(())
    }

    /// Gives a file to its owner, where that is asked for and allowed.
    fn give(&self, file: impl AsFd, entry: &Entry) -> Result<()> {
        if self.archive && rustix::process::geteuid().is_root() {
            fchown(file, Some(entry.uid), Some(entry.gid))?;
        }
        Ok(())
    }

    /// Leaves the directories of the archive that are not to be kept open.
    fn leave(&mut self, keep: impl Fn(&Path) -> bool) {
        while let Some(level) = self.open.pop_if(|level| !keep(&level.path)) {
            let directory = File::from(level.directory);
            let _ = directory.set_permissions(Permissions::from_mode(level.mode));
            let _ = directory.set_modified(time(level.mtime));
        }
    }
}

fn time(seconds: u64) -> SystemTime {
    // Who packed the archive may have written any number.
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn time_that_there_is_not_ends_nobody() {
        assert_eq!(time(u64::MAX), SystemTime::UNIX_EPOCH);
        assert_eq!(time(7), SystemTime::UNIX_EPOCH + Duration::from_secs(7));
    }

    fn entry(path: &str, kind: Kind, link: &str, size: u64) -> Vec<u8> {
        tar::encode(&Entry {
            path: path.into(),
            kind,
            mode: 0o4755,
            uid: 0,
            gid: 0,
            size,
            mtime: 1_000_000_000,
            link: link.into(),
            device: (1, 3),
            attributes: vec![],
        })
    }

    fn file(path: &str, content: &str) -> Vec<u8> {
        let size = content.len() as u64;
        let mut bytes = entry(path, Kind::File, "", size);
        bytes.extend_from_slice(content.as_bytes());
        bytes.resize(bytes.len() + tar::padding(size), 0);
        bytes
    }

    fn unpack(directory: &Path, name: Option<&str>, archive: &[Vec<u8>]) -> Result<()> {
        let target = Target {
            directory: directory.into(),
            name: name.map(Into::into),
        };
        read(&archive.concat()[..], &target, false)
    }

    #[test]
    fn tree_is_placed_under_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let archive = [
            entry("a", Kind::Directory, "", 0),
            file("a/f", "text"),
            entry("a/l", Kind::Symlink, "f", 0),
            entry("a/h", Kind::HardLink, "a/f", 0),
        ];
        unpack(directory.path(), Some("b"), &archive).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(
            (read("b/f"), read("b/l"), read("b/h")),
            ("text".into(), "text".into(), "text".into())
        );
        let mode = fs::metadata(directory.path().join("b/f"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755, "the set-user bit is not taken over");
    }

    #[test]
    fn entry_never_leaves_the_target_through_a_link_of_the_archive() {
        let outside = tempfile::tempdir().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let link = outside.path().to_str().unwrap();
        let archive = [
            entry("a", Kind::Directory, "", 0),
            entry("a/out", Kind::Symlink, link, 0),
            file("a/out/evil", "x"),
        ];
        assert!(unpack(directory.path(), Some("a"), &archive).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn file_replaces_a_link_and_not_what_it_leads_to() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("f")).unwrap();
        unpack(directory.path(), Some("f"), &[file("x", "new")]).unwrap();
        assert_eq!(fs::read_to_string(outside.path()).unwrap(), "");
        assert_eq!(
            fs::read_to_string(directory.path().join("f")).unwrap(),
            "new"
        );
    }

    #[test]
    fn pipe_is_not_replaced_and_attributes_are_taken_without_capabilities() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(unpack(directory.path(), Some("pipe"), &[file("x", "new")]).is_err());
        assert!(!fs::metadata(&pipe).unwrap().is_file());
        let mut entry = Entry {
            path: b"a".to_vec(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: vec![],
            device: (0, 0),
            attributes: vec![],
        };
        tar::keep(&mut entry, b"user.colour", b"green");
        tar::keep(&mut entry, tar::CAPABILITY.as_bytes(), &[0; 20]);
        unpack(directory.path(), Some("a"), &[tar::encode(&entry)]).unwrap();
        let mut names = [0; 256];
        let path = directory.path().join("a");
        let length = rustix::fs::listxattr(&path, &mut names).unwrap_or(0);
        let names = String::from_utf8_lossy(&names[..length]).into_owned();
        // Some file systems have none.
        assert!(["", "user.colour\0"].contains(&&*names), "{names}");
    }

    #[test]
    fn directories_get_their_modes_when_the_archive_leaves_them() {
        let directory = tempfile::tempdir().unwrap();
        let archive = [
            entry("a", Kind::Directory, "", 0),
            entry("a/b", Kind::Directory, "", 0),
            file("a/b/f", "text"),
            entry("a/c", Kind::Directory, "", 0),
        ];
        unpack(directory.path(), Some("a"), &archive).unwrap();
        for path in ["a", "a/b", "a/c"] {
            let there = fs::metadata(directory.path().join(path)).unwrap();
            assert_eq!(there.permissions().mode() & 0o7777, 0o755, "{path}");
            assert_eq!(there.modified().unwrap(), time(1_000_000_000), "{path}");
        }
    }

    #[test]
    fn contents_of_a_root_keep_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let archive = [
            entry("./", Kind::Directory, "", 0),
            entry("./etc", Kind::Directory, "", 0),
            file("./etc/passwd", "text"),
        ];
        unpack(directory.path(), None, &archive).unwrap();
        let text = fs::read_to_string(directory.path().join("etc/passwd")).unwrap();
        assert_eq!(text, "text");
    }

    #[test]
    fn paths_upwards_are_refused_and_devices_are_not_made() {
        let directory = tempfile::tempdir().unwrap();
        assert!(unpack(directory.path(), Some("a"), &[file("a/../../evil", "x")]).is_err());
        unpack(
            directory.path(),
            Some("a"),
            &[entry("a", Kind::Character, "", 0)],
        )
        .unwrap();
        assert!(!directory.path().join("a").exists());
    }
}
