//! Downloads that may be broken off: the bytes of a layer as they come, kept until the layer is
//! made, so that the next pull goes on where this one ended. The lock on the file is also what
//! keeps two processes from pulling one layer at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use super::{Store, StoreError, file_name, io_error};
use crate::digest::Digest;
use crate::source::{Source, SourceError, SourceLayer};

/// Between two looks whether another process is done with a layer.
const WAIT: Duration = Duration::from_millis(50);
/// Age from which a download that nobody goes on with is removed by the next pull.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A download that is ours.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    /// Takes the download of a layer; `waiting` is asked again and again while another process
    /// has it.
    pub(super) fn lock(
        store: &Store,
        digest: &Digest,
        mut waiting: impl FnMut() -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let path = store.partial().join(file_name(digest));
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(io_error("create", &path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(Self { file, path }),
                // It was removed between opening and locking.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    waiting()?;
                    thread::sleep(WAIT);
                }
                Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
            }
        }
    }

    /// Bytes that are here.
    pub(super) fn len(&self) -> Result<u64, StoreError> {
        let metadata = self.file.metadata().map_err(io_error("read", &self.path))?;
        Ok(metadata.len())
    }

    /// Forgets the bytes.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(io_error("write", &self.path))
    }

    /// Removes the file, before another process may take it.
    pub(super) fn remove(self) {
        // What cannot be removed now is removed when it is old.
        drop(fs::remove_file(&self.path));
    }

    /// The layer from its beginning: what is here, and the rest from the source.
    pub(super) fn reader<'a>(
        &'a self,
        source: &'a dyn Source,
        layer: &'a SourceLayer,
    ) -> Result<Reader<'a>, StoreError> {
        let here = self.len()?;
        let mut reader = Reader {
            partial: self,
            source,
            layer,
            here,
            at: 0,
            remote: None,
            keeps: true,
        };
        if layer.size.is_none_or(|size| here > size) {
            self.clear()?;
            reader.here = 0;
        }
        // What the registry refuses is refused before anything is read.
        if layer.size != Some(reader.here) {
            reader.remote = Some(source.open_layer_from(layer, reader.here)?);
        }
        Ok(reader)
    }
}

/// Whether the file is the one that has this name.
fn is_at(file: &File, path: &Path) -> bool {
    let same = || Some(file.metadata().ok()?.ino() == fs::metadata(path).ok()?.ino());
    same().unwrap_or(false)
}

/// See [`Partial::reader`].
pub(super) struct Reader<'a> {
    partial: &'a Partial,
    source: &'a dyn Source,
    layer: &'a SourceLayer,
    /// Bytes that were in the file.
    here: u64,
    at: u64,
    remote: Option<Box<dyn Read + Send + 'a>>,
    /// Whether what comes is written to the file.
    keeps: bool,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = &self.partial.file;
        if self.at < self.here {
            let left = usize::try_from(self.here - self.at).unwrap_or(usize::MAX);
            let room = left.min(buffer.len());
            let count = file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.at)?;
            self.at += count as u64;
            return Ok(count);
        }
        if Some(self.at) == self.layer.size {
            return Ok(0);
        }
        let remote = match &mut self.remote {
            Some(remote) => remote,
            None => {
                let open = self.source.open_layer_from(self.layer, self.at);
                self.remote
                    .insert(open.map_err(|error: SourceError| io::Error::other(error))?)
            }
        };
        let count = remote.read(buffer)?;
        let new = buffer.get(..count).unwrap_or_default();
        if self.keeps && file.write_all_at(new, self.at).is_err() {
            // On a full disk the layer itself needs the space more.
            self.keeps = false;
            drop(file.set_len(0));
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Store {
    /// Removes the download of a layer that is there, unless someone has it under way.
    pub(super) fn remove_partial_of(&self, digest: &Digest) {
        let path = self.partial().join(file_name(digest));
        // What cannot be removed now is removed when it is old.
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
            && is_at(&file, &path)
        {
            drop(fs::remove_file(&path));
        }
    }

    /// Removes downloads that nobody has under way: all, or those that are old. Returns the number
    /// of their bytes.
    pub(super) fn remove_partials(&self, all: bool) -> Result<u64, StoreError> {
        let directory = self.partial();
        let mut bytes = 0;
        for entry in fs::read_dir(&directory).map_err(io_error("read", &directory))? {
            let path = entry.map_err(io_error("read", &directory))?.path();
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            let age = metadata
                .modified()
                .ok()
                .and_then(|time| SystemTime::now().duration_since(time).ok());
            let is_old = age.is_some_and(|age| age > MAX_AGE);
            if (all || is_old) && file.try_lock().is_ok() && is_at(&file, &path) {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                bytes += metadata.len();
            }
        }
        Ok(bytes)
    }
}
