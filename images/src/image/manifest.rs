//! Index and manifest (image specification, "OCI Image Index", "OCI Image Manifest"; docker's
//! "manifest list" and "image manifest, schema 2" have the same fields).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    DocumentKind, ImageError, LayerKind, MAX_INDEX_ENTRIES, MAX_LAYERS, MediaType, Platform,
    check_count, check_document_size,
};
use crate::digest::Digest;

/// Annotation with the tag, or the whole name, of an image in a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the whole name of an image, as containerd and docker write it.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Annotation by which buildkit marks what only describes another image.
const DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The only version of the format that is understood.
const SCHEMA_VERSION: u64 = 2;

/// Points to a blob by its digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// What it runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes of whoever wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    /// Value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether it says something about another image instead of being one.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotation(DOCKER_REFERENCE_TYPE).is_some()
    }

    /// Whether it points to a manifest or to an index.
    ///
    /// # Errors
    /// [`ImageError::MediaType`] when to neither.
    pub fn document_kind(&self) -> Result<DocumentKind, ImageError> {
        match MediaType::parse(&self.media_type) {
            Some(MediaType::Document(kind)) => Ok(kind),
            _ => Err(self.unknown("manifest")),
        }
    }

    /// Compression of the layer that it points to.
    ///
    /// # Errors
    /// [`ImageError::MediaType`] when it is no layer.
    pub fn layer_kind(&self) -> Result<LayerKind, ImageError> {
        match MediaType::parse(&self.media_type) {
            Some(MediaType::Layer(kind)) => Ok(kind),
            _ => Err(self.unknown("layer")),
        }
    }

    fn unknown(&self, role: &'static str) -> ImageError {
        ImageError::MediaType {
            role,
            digest: self.digest.clone(),
            media_type: self.media_type.clone(),
        }
    }
}

/// A list of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// Its own media type, where it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// Parses and checks an index; `name` says in errors which.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        const KIND: &str = "index";
        let index: Self = parse(KIND, name, bytes)?;
        check_version(KIND, name, index.schema_version)?;
        check_own_type(
            name,
            index.media_type.as_deref(),
            MediaType::Document(DocumentKind::Index),
        )?;
        check_count(
            KIND,
            &name,
            "manifests",
            index.manifests.len(),
            MAX_INDEX_ENTRIES,
        )?;
        Ok(index)
    }
}

/// Configuration and layers of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// Its own media type, where it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn parse(digest: &Digest, bytes: &[u8]) -> Result<Self, ImageError> {
        const KIND: &str = "manifest";
        let name = digest.to_string();
        let manifest: Self = parse(KIND, &name, bytes)?;
        check_version(KIND, &name, manifest.schema_version)?;
        let wanted = MediaType::Document(DocumentKind::Manifest);
        check_own_type(&name, manifest.media_type.as_deref(), wanted)?;
        check_count(KIND, &name, "layers", manifest.layers.len(), MAX_LAYERS)?;
        if MediaType::parse(&manifest.config.media_type) != Some(MediaType::Config) {
            let media_type = manifest.config.media_type;
            return Err(ImageError::NotAnImage {
                digest: digest.clone(),
                media_type,
            });
        }
        for layer in &manifest.layers {
            layer.layer_kind()?;
        }
        Ok(manifest)
    }
}

pub(super) fn parse<'de, T: Deserialize<'de>>(
    kind: &'static str,
    name: &str,
    bytes: &'de [u8],
) -> Result<T, ImageError> {
    check_document_size(kind, &name, bytes.len() as u64)?;
    serde_json::from_slice(bytes).map_err(|source| ImageError::Parse {
        kind,
        digest: name.to_owned(),
        source,
    })
}

fn check_version(kind: &'static str, name: &str, version: u64) -> Result<(), ImageError> {
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    Err(ImageError::SchemaVersion {
        kind,
        digest: name.to_owned(),
        version,
    })
}

/// A document that says its own type must say the one it is read as (the specification's guard
/// against one blob that is both manifest and index).
fn check_own_type(name: &str, own: Option<&str>, wanted: MediaType) -> Result<(), ImageError> {
    match own {
        Some(own) if !own.is_empty() && MediaType::parse(own) != Some(wanted) => {
            Err(ImageError::MediaTypeDiffers {
                digest: name.to_owned(),
                announced: format!("{wanted:?}"),
                actual: own.to_owned(),
            })
        }
        _ => Ok(()),
    }
}
