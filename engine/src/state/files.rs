//! Files of the state: replaced as a whole, and locked.
//!
//! A directory of things has a file `lock`, held while one of them is made, named or removed. Each of
//! them is a directory with a file `lock`, held by the process that looks after it for as long as that
//! lives, and a file `edit`, held by a command that starts or removes it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, openat},
    io::Errno,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{NotFound, create_directory, private};
use crate::{Error, ErrorKind};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Makes a thing whole under a hidden name, from which it is renamed to its own; gives the path. The
/// lock of all is held.
///
/// # Errors
/// As `mkdir(2)`, `open(2)` and `write(2)`.
pub(super) fn prepare<C: Serialize, S: Serialize>(
    root: &Path,
    id: &str,
    config: &C,
    state: &S,
) -> Result<PathBuf> {
    let new = root.join(format!(".new-{id}"));
    create_directory(&new)?;
    write(&new.join("config.json"), config)?;
    write(&new.join("state.json"), state)?;
    for name in ["lock", "edit"] {
        let path = new.join(name);
        private::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    Ok(new)
}

/// Gives a directory another name.
///
/// # Errors
/// As `rename(2)`.
pub(super) fn publish(new: &Path, directory: &Path) -> Result<()> {
    fs::rename(new, directory).with_context(|| format!("cannot create {}", directory.display()))
}

/// Gives a thing that is to be deleted a hidden name; gives the path. One that is gone is passed over.
/// The lock of all is held.
///
/// # Errors
/// As `rename(2)`.
pub(super) fn put_away(root: &Path, id: &str, directory: &Path) -> Result<PathBuf> {
    let away = root.join(format!(".removed-{id}"));
    match fs::rename(directory, &away) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => result.with_context(|| format!("cannot remove {}", directory.display()))?,
    }
    Ok(away)
}

/// Deletes what commands that died have left under hidden names; the lock of all is held.
pub(super) fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The names in a directory; none where it is missing.
///
/// # Errors
/// When it cannot be read.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", directory.display()))?,
    };
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect())
}

/// A record that another release has written, which this one cannot read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} was written by a {} release of Coracle: its records have version {version}, and this release knows {known}; \
     use that release for it",
    path.display(),
    if version > known { "later" } else { "much earlier" }
)]
pub struct OtherVersion {
    /// The record.
    pub path: PathBuf,
    /// Its version.
    pub version: u32,
    /// The version that this release reads.
    pub known: u32,
}

/// What every version of a record has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a record, whose version is checked first: one of another may have another form.
///
/// # Errors
/// [`OtherVersion`], or when the file is missing or holds something else.
pub(super) fn read_record<T: DeserializeOwned>(
    path: &Path,
    known: u32,
    version: impl FnOnce(&T) -> u32,
) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = serde_json::from_slice::<T>(&bytes);
    let found = match &read {
        Ok(record) => version(record),
        Err(_) => serde_json::from_slice::<Versioned>(&bytes).map_or(known, |found| found.version),
    };
    if found != known {
        return Err(OtherVersion {
            path: path.to_owned(),
            version: found,
            known,
        }
        .into());
    }
    read.with_context(|| format!("cannot parse {}", path.display()))
}

/// Whether a record could not be read since it is not there, or not any more. A lock beside the directories of hosts is a
/// file, in which there is none.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    let is_missing = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        error.is_some_and(|error| missing.contains(&error.kind()))
    };
    error.is::<NotFound>() || error.chain().any(is_missing)
}

/// What is said of a thing whose directory went away while it was read or locked: nobody wants to hear of a path.
pub(super) fn or_gone<T>(
    result: Result<T>,
    directory: &Path,
    kind: &'static str,
    name: &str,
) -> Result<T> {
    result.map_err(|error| {
        // One that is there and lacks a file is damaged.
        if !is_gone(&error) || directory.is_dir() {
            return error;
        }
        let gone = NotFound {
            kind,
            name: name.into(),
            hint: "it was removed meanwhile".into(),
        };
        gone.into()
    })
}

/// What became of the thing in a directory. One whose keeper died is put right first, by `repair`; when that is
/// written down, `repaired` is called, by one of all processes that find it.
///
/// # Errors
/// When its file cannot be read: it was removed meanwhile.
pub(super) fn current<S: Serialize + DeserializeOwned>(
    directory: &Path,
    is_live: impl Fn(&S) -> bool,
    repair: impl FnOnce(&mut S),
    repaired: impl FnOnce(),
) -> Result<S> {
    let path = directory.join("state.json");
    let state = read(&path)?;
    if !is_live(&state) {
        return Ok(state);
    }
    let Some(_lock) = try_lock(&directory.join("lock"))? else {
        return Ok(state);
    };
    // Nobody is there now; it may have ended well since it was read.
    let mut state = read(&path)?;
    if is_live(&state) {
        repair(&mut state);
        write(&path, &state)?;
        repaired();
    }
    Ok(state)
}

/// The lock of those who start, rename or remove a thing, waited for.
///
/// # Errors
/// When it was removed meanwhile, which `what` says by name.
pub(super) fn edit(directory: &Path, what: impl FnOnce() -> String) -> Result<Lock> {
    let held = lock(&directory.join("edit"))?;
    if directory.is_dir() {
        Ok(held)
    } else {
        let words = format!("{} was removed meanwhile", what());
        Err(Error::new(ErrorKind::NotFound, words).into())
    }
}

/// The lock of all things in a directory, waited for.
///
/// # Errors
/// When it cannot be made.
pub(super) fn lock_all(directory: &Path) -> Result<Lock> {
    let path = directory.join("lock");
    let file = private::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    hold(file, &path)
}

/// A lock that exists, waited for.
///
/// # Errors
/// When its file is gone.
pub(super) fn lock(path: &Path) -> Result<Lock> {
    hold(open(path)?, path)
}

fn hold(file: File, path: &Path) -> Result<Lock> {
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(Lock { _file: file })
}

/// A lock that exists; `None` while someone holds it.
///
/// # Errors
/// When its file is gone.
pub(super) fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Not created: a lock in a directory that was moved away would lock nothing.
fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// Reads JSON.
///
/// # Errors
/// When the file is missing or holds something else.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot parse {}", path.display()))
}

/// Many small files below one directory, read with as few system calls as it takes.
pub(super) struct Reader {
    directory: OwnedFd,
    buffer: Vec<u8>,
}

/// Room for a usual file; a larger one takes another turn.
const ROOM: usize = 16 << 10;

impl Reader {
    /// For files below this directory.
    ///
    /// # Errors
    /// As `open(2)`.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            directory: rustix::fs::open(directory, flags, Mode::empty())?,
            buffer: vec![0; ROOM],
        })
    }

    /// Reads JSON; `None` when the file is missing or holds something else.
    pub(super) fn read<T: DeserializeOwned>(&mut self, path: &str) -> Option<T> {
        let file = self.open(path, OFlags::RDONLY)?;
        let mut length = 0;
        loop {
            let room = self.buffer.get_mut(length..)?;
            let whole = room.len();
            let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *room)).ok()?;
            length += read;
            // A regular file gives less than is asked for at its end only.
            if read < whole {
                return serde_json::from_slice(self.buffer.get(..length)?).ok();
            }
            self.buffer.resize(2 * length, 0);
        }
    }

    /// Whether someone holds a lock; `None` when its file is missing.
    pub(super) fn is_locked(&self, path: &str) -> Option<bool> {
        let file = self.open(path, OFlags::WRONLY)?;
        let locked = flock(&file, FlockOperation::NonBlockingLockShared);
        Some(locked == Err(Errno::WOULDBLOCK))
    }

    fn open(&self, path: &str, flags: OFlags) -> Option<OwnedFd> {
        openat(
            &self.directory,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok()
    }
}

/// Replaces a file as a whole: readers see the old one or the new one, and so does the next boot.
///
/// # Errors
/// As `write(2)` and `rename(2)`.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let bytes = serde_json::to_vec(value).context("cannot write JSON")?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written = private::create(&new)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| fs::rename(&new, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Record {
        version: u32,
        name: String,
    }

    fn read_text(text: &str) -> Result<Record> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, text).unwrap();
        read_record(&path, 1, |record: &Record| record.version)
    }

    #[test]
    fn record_of_another_version_is_told_apart_from_a_damaged_one() {
        for (text, other) in [
            (r#"{"version": 2, "name": "a"}"#, Some(2)),
            // Of another form, too.
            (r#"{"version": 3, "name": {"first": "a"}}"#, Some(3)),
            (r#"{"version": 1, "title": "a"}"#, None),
            (r#"{"version": "#, None),
            ("", None),
        ] {
            let error = read_text(text).unwrap_err();
            let found = error.downcast_ref::<OtherVersion>();
            assert_eq!(found.map(|found| found.version), other, "{text}");
            assert!(!is_gone(&error));
        }
        let record = read_text(r#"{"version": 1, "name": "a", "later": true}"#);
        assert_eq!(record.unwrap().name, "a");
    }

    #[test]
    fn record_that_is_missing_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let error = read_record(&path, 1, |record: &Record| record.version).unwrap_err();
        assert!(is_gone(&error));
    }
}
