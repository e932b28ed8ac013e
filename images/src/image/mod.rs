//! What an image is made of: index, manifest and configuration, in OCI's and in docker's dialect.
//!
//! Everything here comes from a registry or an archive and is hostile until parsed: sizes are
//! bounded before parsing, counts after it, and a media type that is not known is refused by name.

pub mod config;
pub mod manifest;
mod media_type;
mod platform;

pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{Descriptor, Index, Manifest};
pub use media_type::{DocumentKind, LayerKind, MediaType};
pub use platform::{Platform, PlatformError};

use crate::digest::Digest;

/// Largest manifest, index or configuration in bytes: what registries accept, and far above what
/// builders make (distribution specification, "Pushing manifests"; keeps memory bounded).
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// Most layers of an image: overlayfs and docker's own limit (127 and one writable) leave room
/// below it, and each layer is a partition of the guest's disk.
pub const MAX_LAYERS: usize = 127;
/// Most entries of an index: one for each platform and attestation of a few images.
pub const MAX_INDEX_ENTRIES: usize = 1024;
/// Most indexes between the first one and a manifest; a cycle ends here.
pub const MAX_INDEX_DEPTH: usize = 3;
/// Most entries of a configuration's history (one for each layer and each empty step).
pub const MAX_HISTORY: usize = 4096;

/// Why a document of an image is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not the JSON that its kind asks for.
    #[error("{kind} {digest} is malformed")]
    Parse {
        /// Which document: `manifest`, `index`, `configuration`.
        kind: &'static str,
        /// Its digest, or its name in the archive.
        digest: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Larger than [`MAX_DOCUMENT`].
    #[error("{kind} {digest} has {size} bytes; at most {MAX_DOCUMENT} are accepted")]
    TooLarge {
        /// Which document.
        kind: &'static str,
        /// Its digest.
        digest: String,
        /// Its size.
        size: u64,
    },
    /// `schemaVersion` is not 2.
    #[error(
        "{kind} {digest} has schema version {version}; only version 2 is supported, so the image \
         must be saved or pushed again by a current tool"
    )]
    SchemaVersion {
        /// Which document.
        kind: &'static str,
        /// Its digest.
        digest: String,
        /// The version.
        version: u64,
    },
    /// A media type that is not known.
    #[error("media type {media_type:?} of {role} {digest} is not supported")]
    MediaType {
        /// `manifest`, `configuration` or `layer`.
        role: &'static str,
        /// Digest of what has it.
        digest: Digest,
        /// The media type.
        media_type: String,
    },
    /// The document says another media type than its descriptor.
    #[error("{digest} is announced as {announced:?} but says that it is {actual:?}")]
    MediaTypeDiffers {
        /// Digest of the document.
        digest: String,
        /// What the descriptor says.
        announced: String,
        /// What the document says.
        actual: String,
    },
    /// Too many of something.
    #[error("{kind} {digest} lists {count} {what}; at most {limit} are accepted")]
    TooMany {
        /// Which document.
        kind: &'static str,
        /// Its digest.
        digest: String,
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Indexes within indexes, or a cycle of them.
    #[error("index {digest} lies more than {MAX_INDEX_DEPTH} indexes deep, or contains itself")]
    TooDeep {
        /// The innermost index.
        digest: Digest,
    },
    /// Layers and diff IDs do not pair up.
    #[error(
        "the image has {layers} layers but its configuration {digest} names {diff_ids} diff IDs; \
         it is damaged, save or pull it again"
    )]
    LayerCount {
        /// Number of layers in the manifest.
        layers: usize,
        /// Number of diff IDs in the configuration.
        diff_ids: usize,
        /// Digest of the configuration.
        digest: String,
    },
    /// The only image is for another platform than the one that was asked for, or this machine's.
    #[error("the image is for {found}, not for {wanted}{hint}")]
    WrongPlatform {
        /// What it is for.
        found: String,
        /// What is needed.
        wanted: Platform,
        /// What to do about it.
        hint: &'static str,
    },
    /// None of several images is for the platform that was asked for, or this machine's.
    #[error("the image is for {found}, not for {wanted}{hint}")]
    NoPlatform {
        /// What there is, separated by commas.
        found: String,
        /// What is needed.
        wanted: Platform,
        /// What to do about it.
        hint: &'static str,
    },
    /// An index without images.
    #[error("index {digest} names no image")]
    EmptyIndex {
        /// The index.
        digest: String,
    },
    /// An artifact that is not a container image (a Helm chart, a signature, an attestation).
    #[error("{digest} is not a container image: its configuration has media type {media_type:?}")]
    NotAnImage {
        /// Digest of the manifest.
        digest: Digest,
        /// Media type of the configuration.
        media_type: String,
    },
    /// A path in the configuration that cannot be one.
    #[error("{field} {value:?} in configuration {digest} is not usable: {reason}")]
    ConfigField {
        /// Digest of the configuration.
        digest: String,
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Refuses a document that is too large before anything is read into memory.
///
/// # Errors
/// [`ImageError::TooLarge`].
pub fn check_document_size(
    kind: &'static str,
    digest: &dyn std::fmt::Display,
    size: u64,
) -> Result<(), ImageError> {
    if size > MAX_DOCUMENT {
        return Err(ImageError::TooLarge {
            kind,
            digest: digest.to_string(),
            size,
        });
    }
    Ok(())
}

fn check_count(
    kind: &'static str,
    digest: &dyn std::fmt::Display,
    what: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), ImageError> {
    if count > limit {
        return Err(ImageError::TooMany {
            kind,
            digest: digest.to_string(),
            what,
            count,
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
