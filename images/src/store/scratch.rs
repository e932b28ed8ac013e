//! Directories for what is being made, each locked by the process that makes it, so that what a
//! killed process left is recognised and removed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{StoreError, open_lock};

/// A directory in the store's `tmp` that vanishes with this value.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one, and removes those that dead processes left. `lock` is the file that keeps two
    /// processes from doing so at once: a directory must not be seen between its making and its
    /// locking.
    pub(super) fn new(directory: &Path, lock: &Path) -> Result<Self, StoreError> {
        let _guard = open_lock(lock)?;
        remove_unlocked(directory)?;
        let failed = |source| StoreError::Io {
            action: "create",
            path: directory.to_owned(),
            source,
        };
        let path = tempfile::Builder::new()
            .prefix("load-")
            .tempdir_in(directory)
            .map_err(failed)?
            .keep();
        let lock = File::open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is a leftover for the next load.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Removes what dead processes left. `lock` as for [`Scratch::new`].
pub(super) fn remove_leftovers(directory: &Path, lock: &Path) -> Result<(), StoreError> {
    let _guard = open_lock(lock)?;
    remove_unlocked(directory)
}

fn remove_unlocked(directory: &Path) -> Result<(), StoreError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io {
            action,
            path,
            source,
        }
    };
    for entry in fs::read_dir(directory).map_err(failed("read", directory))? {
        let path = entry.map_err(failed("read", directory))?.path();
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(StoreError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::Io {
                    action: "lock",
                    path,
                    source,
                });
            }
        }
        let removed = match lock.metadata() {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        removed.map_err(failed("remove", &path))?;
    }
    Ok(())
}
