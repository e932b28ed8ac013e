//! What `inspect` and `history` show.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::record::{REMOVE_IMAGE, Record};
use super::{Store, StoreError, find};
use crate::digest::Digest;
use crate::image::{Descriptor, ImageConfig, Manifest, Platform};
use crate::reference::Reference;

/// A step in the making of an image, the newest first in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's ID for the newest step; the others are not images here.
    pub id: Option<Digest>,
    /// When, RFC 3339; empty when unknown.
    pub created: String,
    /// By which command.
    pub created_by: String,
    /// Comment.
    pub comment: String,
    /// Bytes on the disk of the layer that it made, 0 for none.
    pub size: u64,
}

/// All that is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Digest of its configuration.
    pub id: Digest,
    /// Its names with tags.
    pub names: Vec<Reference>,
    /// Its names with the manifest's digest.
    pub digests: Vec<Reference>,
    /// Digest of its manifest; nothing for an archive without one.
    pub manifest: Option<Digest>,
    /// Its configuration.
    pub config: ImageConfig,
    /// When it was made, RFC 3339; empty when unknown.
    pub created: String,
    /// What it runs on.
    pub platform: Platform,
    /// Bytes of its layers on the disk, those that it shares included.
    pub size: u64,
    /// Its layers, from the base up.
    pub layers: Vec<InspectedLayer>,
    /// When it came into the store.
    pub stored: Option<SystemTime>,
}

/// A layer of an image, from the manifest to what is mounted, each link by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedLayer {
    /// Of the blob in the manifest.
    pub blob: Option<Digest>,
    /// Of what it unpacks to.
    pub diff_id: Digest,
    /// Where it was joined with the layers below it: of all of them.
    pub chain_id: Option<Digest>,
    /// Root of the tree of hashes over its file.
    pub root_hash: Option<Digest>,
    /// Where that tree begins in the file, in bytes; unknown of what an earlier version wrote.
    pub hash_offset: Option<u64>,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of its file.
    pub size: u64,
}

impl Store {
    /// All that is known of an image.
    ///
    /// # Errors
    /// Those of [`Self::resolve`].
    pub fn inspect(&self, name: &str) -> Result<Inspected, StoreError> {
        let index = self.read_index()?;
        let (id, _) = find(&index, name)?;
        let entry = index.images.get(&id).cloned().unwrap_or_default();
        let (record, config) = self.documents(&id)?;
        let parsed = |names: &[String]| -> Vec<Reference> {
            names.iter().filter_map(|name| name.parse().ok()).collect()
        };
        let stored = fs::metadata(self.record_path(&id)).and_then(|metadata| metadata.modified());
        let blobs = self.layer_blobs(&record);
        let layers = record.layers.iter().enumerate().map(|(number, layer)| {
            let used = layer.used();
            InspectedLayer {
                blob: blobs.get(number).map(|blob| blob.digest.clone()),
                diff_id: layer.diff_id.clone(),
                chain_id: layer.joined.as_ref().map(|joined| joined.diff_id.clone()),
                root_hash: used.root.clone(),
                hash_offset: used.data,
                path: self.layer_path(&used.diff_id),
                size: used.size,
            }
        });
        Ok(Inspected {
            names: parsed(&entry.names),
            digests: parsed(&entry.digests),
            config,
            size: record.size(),
            layers: layers.collect(),
            stored: stored.ok(),
            id,
            manifest: record.manifest,
            created: record.created,
            platform: record.platform,
        })
    }

    /// How an image came about, the newest step first.
    ///
    /// # Errors
    /// Those of [`Self::resolve`].
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>, StoreError> {
        let (id, _) = find(&self.read_index()?, name)?;
        let (record, config) = self.documents(&id)?;
        let mut layers = record.layers.iter();
        let mut entries: Vec<HistoryEntry> = config
            .history
            .into_iter()
            .map(|step| HistoryEntry {
                id: None,
                size: if step.empty_layer {
                    0
                } else {
                    layers.next().map_or(0, |layer| layer.size)
                },
                created: step.created.unwrap_or_default(),
                created_by: step.created_by.unwrap_or_default(),
                comment: step.comment.unwrap_or_default(),
            })
            .collect();
        // Layers of which the history does not tell are shown all the same.
        entries.extend(layers.map(|layer| HistoryEntry {
            id: None,
            created: String::new(),
            created_by: String::new(),
            comment: String::new(),
            size: layer.size,
        }));
        entries.reverse();
        if let Some(newest) = entries.first_mut() {
            newest.id = Some(id);
        }
        Ok(entries)
    }

    /// Layers as the image's manifest lists them; none where there is no manifest.
    pub(super) fn layer_blobs(&self, record: &Record) -> Vec<Descriptor> {
        let read = || {
            let digest = record.manifest.as_ref()?;
            let bytes = fs::read(self.blob_path(digest)).ok()?;
            Some(Manifest::parse(digest, &bytes).ok()?.layers)
        };
        read().unwrap_or_default()
    }

    fn documents(&self, id: &Digest) -> Result<(Record, ImageConfig), StoreError> {
        let record = Record::read(&self.record_path(id))?;
        let path = self.blob_path(id);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(path.clone()),
            _ => StoreError::Io {
                action: "read",
                path: path.clone(),
                source,
            },
        })?;
        let config = serde_json::from_slice(&bytes).map_err(|source| StoreError::Damaged {
            path,
            advice: REMOVE_IMAGE,
            source,
        })?;
        Ok((record, config))
    }
}
