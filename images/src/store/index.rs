//! The list of images: one small JSON file, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::digest::Digest;

/// Format of the store's JSON files.
pub(super) const FORMAT: u32 = 1;

/// All images of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) format: u32,
    /// By ID.
    pub(super) images: BTreeMap<Digest, Entry>,
}

/// What the list knows of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Whole names with tags.
    pub(super) names: Vec<String>,
    /// Whole names with the manifest's digest.
    pub(super) digests: Vec<String>,
    /// When it was made, RFC 3339; empty when unknown.
    pub(super) created: String,
    /// Bytes of its layers on the disk.
    pub(super) size: u64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            format: FORMAT,
            images: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Reads the list; a store without one is empty.
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        match fs::read(path) {
            Ok(bytes) => parse(path, &bytes, "remove the whole store"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(StoreError::Io {
                action: "read",
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// ID of the image with this whole name.
    pub(super) fn by_name(&self, name: &str) -> Option<&Digest> {
        self.images
            .iter()
            .find(|(_, entry)| {
                entry
                    .names
                    .iter()
                    .chain(&entry.digests)
                    .any(|own| own == name)
            })
            .map(|(id, _)| id)
    }

    /// IDs of the images that this name belongs to, after which it belongs to none.
    pub(super) fn take_name(&mut self, name: &str) -> Option<Digest> {
        let mut owner = None;
        for (id, entry) in &mut self.images {
            let before = entry.names.len();
            entry.names.retain(|own| own != name);
            if entry.names.len() < before {
                owner = Some(id.clone());
            }
        }
        owner
    }
}

/// Parses one of the store's JSON files, of the known format only. `advice` says what to remove when
/// it is damaged.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(
    path: &Path,
    bytes: &[u8],
    advice: &'static str,
) -> Result<T, StoreError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |source| StoreError::Damaged {
        path: path.to_owned(),
        advice,
        source,
    };
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        // The format is only looked at where it can be the reason, to read a good file once.
        Err(error) => {
            let found = serde_json::from_slice::<Format>(bytes)
                .map_err(damaged)?
                .format;
            if found == FORMAT {
                return Err(damaged(error));
            }
            Err(StoreError::Format {
                path: path.to_owned(),
                found,
                known: FORMAT,
            })
        }
    }
}

/// Replaces a file by one with these bytes, so that a reader, or a machine that loses power, sees
/// either. Only under the store's lock: the new file's name is always the same.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io {
            action,
            path,
            source,
        }
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("create", &new))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written
        .map_err(failed("write", &new))
        .inspect_err(|_| drop(fs::remove_file(&new)))?;
    fs::rename(&new, path).map_err(failed("rename", &new))?;
    sync_directory_of(path)
}

/// Makes a rename in a file's directory last.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), StoreError> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| StoreError::Io {
            action: "write",
            path: directory.to_owned(),
            source,
        })
}
