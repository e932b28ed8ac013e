//! What `inspect` and `history` show, in docker's shape.

use std::fs;
use std::io;

use serde_json::{Value, json};

use super::record::{REMOVE_IMAGE, Record};
use super::{Store, StoreError, find};
use crate::digest::Digest;
use crate::image::{Descriptor, ImageConfig, Manifest};
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

impl Store {
    /// All that is known of an image, with the keys and the shape of `docker inspect`.
    ///
    /// # Errors
    /// Those of [`Self::resolve`].
    pub fn inspect(&self, name: &str) -> Result<Value, StoreError> {
        let index = self.read_index()?;
        let (id, _) = find(&index, name)?;
        let entry = index.images.get(&id).cloned().unwrap_or_default();
        let (record, config) = self.documents(&id)?;
        let familiar = |names: &[String]| -> Vec<String> {
            names
                .iter()
                .filter_map(|name| Some(name.parse::<Reference>().ok()?.familiar()))
                .collect()
        };
        let loaded = fs::metadata(self.record_path(&id)).and_then(|metadata| metadata.modified());
        // From the manifest to what is mounted, each link by its digest.
        let blobs = self.layer_blobs(&record);
        let layer_paths: Vec<Value> = record
            .layers
            .iter()
            .enumerate()
            .map(|(number, layer)| {
                json!({
                    "Digest": blobs.get(number).map(|blob| blob.digest.to_string()),
                    "DiffId": layer.diff_id.to_string(),
                    "ChainId": layer.joined.as_ref().map(|joined| joined.diff_id.to_string()),
                    "RootHash": layer.used().root.as_ref().map(ToString::to_string),
                    "HashOffset": layer.used().data,
                    "Path": self.layer_path(&layer.used().diff_id),
                    "Size": layer.used().size,
                })
            })
            .collect();
        Ok(json!({
            "Id": id.to_string(),
            "RepoTags": familiar(&entry.names),
            "RepoDigests": familiar(&entry.digests),
            "Manifest": record.manifest.as_ref().map(ToString::to_string),
            "Comment": config.comment.unwrap_or_default(),
            "Created": record.created,
            "DockerVersion": config.docker_version.unwrap_or_default(),
            "Author": config.author.unwrap_or_default(),
            "Architecture": record.platform.architecture,
            "Variant": record.platform.variant.clone().unwrap_or_default(),
            "Os": record.platform.os,
            "Size": record.size(),
            "Config": config.config,
            "RootFS": {
                "Type": "layers",
                "Layers": config.rootfs.diff_ids.iter().map(ToString::to_string)
                    .collect::<Vec<_>>(),
            },
            "GraphDriver": { "Name": "erofs", "Data": { "Layers": layer_paths } },
            "Metadata": {
                "LastTagTime": loaded.map_or_else(|_| String::new(), crate::time::rfc3339),
            },
        }))
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
