//! Removal, as `docker rmi` does it: names first, and the image with its last name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::index::Index;
use super::record::Record;
use super::scratch;
use super::{LAYER_FILE, Store, StoreError, file_name, find, hold, io_error, not_found, short_id};
use crate::digest::Digest;
use crate::reference::Reference;

/// What a removal took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, as docker prints them.
    pub untagged: Vec<String>,
    /// The image's ID, when it is gone, and then the diff IDs of the layers that went with it.
    pub deleted: Vec<Digest>,
}

impl Store {
    /// Removes a name, or with its last name the image, or by an ID the image with its names.
    /// Layers that no other image uses go with it.
    ///
    /// Containers that run keep what they use: the monitor has opened the layers' files when it
    /// starts, and removal only unlinks them.
    ///
    /// # Errors
    /// [`StoreError::ManyNames`] for an ID of an image with several names unless `force` is
    /// given, those of [`Self::resolve`], and those of writing the store.
    pub fn remove(&self, name: &str, force: bool) -> Result<Removed, StoreError> {
        let _guard = self.lock()?;
        let mut index = self.read_index()?;
        let (id, reference) = find(&index, name)?;
        let mut removed = Removed::default();
        let Some(entry) = index.images.get_mut(&id) else {
            return Err(not_found(&index, name, reference));
        };
        let gone: Vec<String> = match &reference {
            Some(reference) if reference.digest().is_none() => vec![reference.to_string()],
            Some(_) | None => {
                if entry.names.len() > 1 && !force {
                    let names: Vec<String> =
                        entry.names.iter().map(|name| familiar(name)).collect();
                    let (id, names) = (short_id(&id), names.join(", "));
                    return Err(StoreError::ManyNames { id, names });
                }
                entry.names.clone()
            }
        };
        entry.names.retain(|name| !gone.contains(name));
        removed
            .untagged
            .extend(gone.iter().map(|name| familiar(name)));
        if entry.names.is_empty() {
            removed
                .untagged
                .extend(entry.digests.iter().map(|name| familiar(name)));
            index.images.remove(&id);
            removed.deleted.push(id);
        } else {
            let left: BTreeSet<String> = entry.names.iter().map(|name| repository(name)).collect();
            entry
                .digests
                .retain(|digest| left.contains(&repository(digest)));
        }
        removed.deleted.extend(self.write_and_sweep(&index)?);
        scratch::remove_leftovers(&self.tmp(), &self.root.join("tmp.lock"))?;
        Ok(removed)
    }

    /// Replaces the list of images, then removes what it does not refer to; returns the diff IDs of
    /// the layers. On a disk without space for the new list the files go first: an image that was
    /// to be removed may then be listed without its files if we die in between.
    pub(super) fn write_and_sweep(&self, index: &Index) -> Result<Vec<Digest>, StoreError> {
        match self.write_index(index) {
            Ok(()) => self.sweep(index),
            Err(error) if error.is_out_of_space() => {
                let gone = self.sweep(index)?;
                self.write_index(index)
                    .map_err(|error| self.explain(error, None))?;
                Ok(gone)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what no image of the list refers to; returns the diff IDs of the layers. Only under
    /// the lock, since a load moves its layers into place before it changes the list.
    pub(super) fn sweep(&self, index: &Index) -> Result<Vec<Digest>, StoreError> {
        let mut records: BTreeSet<OsString> = BTreeSet::new();
        let mut blobs: BTreeSet<OsString> = BTreeSet::new();
        let mut layers: BTreeSet<OsString> = BTreeSet::new();
        for id in index.images.keys() {
            records.insert(format!("{}.json", file_name(id)).into());
            blobs.insert(id.hex().into());
            let record = match Record::read(&self.record_path(id)) {
                Ok(record) => record,
                // An image that cannot be read can still be removed; what it used is not known
                // until then.
                Err(StoreError::Missing(_) | StoreError::Damaged { .. }) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            blobs.extend(record.manifest.iter().map(|digest| digest.hex().into()));
            layers.extend(record.files().map(|layer| file_name(&layer.diff_id).into()));
        }
        remove_others(&self.images(), &records)?;
        remove_others(&self.blobs(), &blobs)?;
        let gone = remove_unheld(&self.layers(), &layers)?;
        let digest = |name: OsString| name.to_str()?.replacen('-', ":", 1).parse().ok();
        Ok(gone.into_iter().filter_map(digest).collect())
    }
}

fn repository(name: &str) -> String {
    name.parse::<Reference>()
        .map_or_else(|_| name.to_owned(), |reference| reference.name())
}

pub(super) fn familiar(name: &str) -> String {
    name.parse::<Reference>()
        .map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// Removes all layers that are neither to be kept nor held by anyone; returns their names, sorted.
fn remove_unheld(directory: &Path, keep: &BTreeSet<OsString>) -> Result<Vec<OsString>, StoreError> {
    let mut gone = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error("read", directory))? {
        let entry = entry.map_err(io_error("read", directory))?;
        let (name, path) = (entry.file_name(), entry.path());
        if keep.contains(&name) {
            continue;
        }
        // The lock is ours until the layer is gone.
        let _lock = match hold::take(&path.join(LAYER_FILE))? {
            hold::Taken::Held => continue,
            hold::Taken::Ours(lock) => Some(lock),
            hold::Taken::Gone => None,
        };
        remove(&entry)?;
        gone.push(name);
    }
    gone.sort();
    Ok(gone)
}

/// Removes from a directory all that is not to be kept; returns its names, sorted.
fn remove_others(directory: &Path, keep: &BTreeSet<OsString>) -> Result<Vec<OsString>, StoreError> {
    let mut gone = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error("read", directory))? {
        let entry = entry.map_err(io_error("read", directory))?;
        let name = entry.file_name();
        if keep.contains(&name) {
            continue;
        }
        remove(&entry)?;
        gone.push(name);
    }
    gone.sort();
    Ok(gone)
}

/// Removes a file, or a directory with all that is in it.
fn remove(entry: &fs::DirEntry) -> Result<(), StoreError> {
    let path = entry.path();
    let is_directory = entry.file_type().map_err(io_error("read", &path))?.is_dir();
    let removed = if is_directory {
        fs::remove_dir_all(&path)
    } else {
        fs::remove_file(&path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &path)(error))
        }
        _ => Ok(()),
    }
}
