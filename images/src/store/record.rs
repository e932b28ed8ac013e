//! What is known of one image, ready for running it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StoreError, index::parse};
use crate::digest::Digest;
use crate::image::{ContainerConfig, Platform};
use crate::reference::Reference;
use crate::verity;

/// What to do about a damaged file of one image.
pub(super) const REMOVE_IMAGE: &str = "remove the image with `coracle rmi`";

/// The file of one image: what running it needs, so that nothing else is read then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) manifest: Option<Digest>,
    pub(super) platform: Platform,
    pub(super) created: String,
    pub(super) config: ContainerConfig,
    pub(super) layers: Vec<RecordedLayer>,
}

/// A layer of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedLayer {
    pub(super) diff_id: Digest,
    /// Bytes of its file in the store.
    pub(super) size: u64,
    /// As [`Noted`] has it. Unknown of what an earlier version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) root: Option<Digest>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<u64>,
    /// What it is on the layers below, where that is something else, with its chain ID for a diff ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) joined: Option<Box<RecordedLayer>>,
}

impl RecordedLayer {
    pub(super) fn new(diff_id: Digest, size: u64, noted: Option<Noted>) -> Self {
        let (root, data) = noted.map_or((None, None), |noted| (Some(noted.root), noted.data));
        Self {
            diff_id,
            size,
            root,
            data,
            joined: None,
        }
    }

    /// What a container gets.
    pub(super) fn used(&self) -> &Self {
        self.joined.as_deref().unwrap_or(self)
    }

    /// It, and what it is on the layers below.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.joined.as_deref())
    }

    pub(super) fn noted(&self) -> Option<Noted> {
        Some(Noted {
            root: self.root.clone()?,
            data: self.data,
        })
    }
}

/// What is noted of a layer's file when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    /// Root of the tree of hashes over its data, as dm-verity makes it.
    pub(super) root: Digest,
    /// Bytes of its data, behind which the tree stands. An earlier version kept no tree.
    pub(super) data: Option<u64>,
}

impl fmt::Display for Noted {
    /// As it stands beside the layer.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.root)?;
        match self.data {
            Some(data) => write!(formatter, " {data}"),
            None => Ok(()),
        }
    }
}

impl Noted {
    /// The inverse of its text; `None` of anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        Some(Self {
            root: words.next()?.parse().ok()?,
            data: words.next().map(str::parse).transpose().ok()?,
        })
    }
}

impl Record {
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = fs::read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing(path.to_owned()),
            _ => StoreError::Io {
                action: "read",
                path: path.to_owned(),
                source,
            },
        })?;
        parse(path, &bytes, REMOVE_IMAGE)
    }

    pub(super) fn size(&self) -> u64 {
        self.files().map(|layer| layer.size).sum()
    }

    /// All files of its layers.
    pub(super) fn files(&self) -> impl Iterator<Item = &RecordedLayer> {
        self.layers.iter().flat_map(RecordedLayer::all)
    }
}

/// An image that can be run.
///
/// Its layers' files may be opened as long as the image is in the store; whoever has opened them
/// keeps them after it is removed, since removal only unlinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of its configuration.
    pub id: Digest,
    /// The name it was asked for by, or its first; `None` for an image without names.
    pub reference: Option<Reference>,
    /// Digest of its manifest, where it came with one.
    pub manifest: Option<Digest>,
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, RFC 3339; empty when unknown.
    pub created: String,
    /// How to run it.
    pub config: ContainerConfig,
    /// Its layers, lowest first.
    pub layers: Vec<LayerFile>,
}

/// The file of a layer: an EROFS image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Path of the file.
    pub path: PathBuf,
    /// Size of the file in bytes.
    pub size: u64,
    /// By what a guest can check each block of it; `None` of what an earlier version made.
    pub verity: Option<Verity>,
}

/// A layer's tree of hashes: dm-verity, version 1, SHA-256, blocks of 4 KiB, no salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verity {
    /// Root of the tree.
    pub root: Digest,
    /// Blocks of data in the file; the tree follows in the next one.
    pub blocks: u64,
}

impl Noted {
    pub(super) fn verity(self) -> Option<Verity> {
        Some(Verity {
            root: self.root,
            blocks: verity::blocks(self.data?),
        })
    }
}
