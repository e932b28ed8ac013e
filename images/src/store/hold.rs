//! Layers in use: whoever needs a layer to stay has its file open with a shared lock (flock), and
//! whoever removes layers takes an exclusive one first. The kernel lets go of the locks of a
//! process that dies.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::record::Image;
use super::{Store, StoreError, io_error};
use crate::digest::Digest;

/// A layer that stays in the store as long as this value lives.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

impl Held {
    /// Holds a layer that is being made and is not in its place yet.
    pub(super) fn new(file: File, path: &Path) -> Result<Self, StoreError> {
        file.lock_shared().map_err(io_error("lock", path))?;
        Ok(Self { _file: file })
    }
}

/// What came of taking a layer for removal.
pub(super) enum Taken {
    /// It is nobody else's, as long as the file is open.
    Ours(File),
    /// Someone uses it.
    Held,
    /// It is not there.
    Gone,
}

/// Takes a layer for removal.
pub(super) fn take(path: &Path) -> Result<Taken, StoreError> {
    let Some(file) = open(path)? else {
        return Ok(Taken::Gone);
    };
    match file.try_lock() {
        Ok(()) => Ok(Taken::Ours(file)),
        Err(TryLockError::WouldBlock) => Ok(Taken::Held),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
    }
}

fn open(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

impl Store {
    /// Keeps the layers of an image in the store as long as the result lives.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when one of them has just been removed.
    pub fn hold(&self, image: &Image) -> Result<Vec<Held>, StoreError> {
        let hold =
            |path: &Path| hold_file(path)?.ok_or_else(|| StoreError::Missing(path.to_owned()));
        image.layers.iter().map(|layer| hold(&layer.path)).collect()
    }

    /// Keeps a layer in the store; `None` when it is not there.
    pub(super) fn hold_layer(&self, digest: &Digest) -> Result<Option<Held>, StoreError> {
        hold_file(&self.layer_path(digest))
    }
}

fn hold_file(path: &Path) -> Result<Option<Held>, StoreError> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let held = Held::new(file, path)?;
    // Between opening and locking it may have been removed.
    let links = held
        ._file
        .metadata()
        .map_err(io_error("read", path))?
        .nlink();
    Ok((links > 0).then_some(held))
}
