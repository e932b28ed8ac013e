//! Where images come from: one module for each kind of source.
//!
//! A source hands out documents (already verified against their digests) and readers of layers,
//! whose bytes whoever reads them verifies with `verify::Verifying`. No path of this machine is
//! ever made from a name in an archive, and files of a layout directory are opened beneath it.

mod detect;
mod docker_archive;
mod error;
mod files;
mod oci_layout;
pub mod registry;
mod rootfs;
pub(crate) mod spool;
mod verify;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use detect::{open_path, open_stream};
pub use error::SourceError;
pub(crate) use verify::Verifying;

use crate::digest::Digest;
use crate::image::{
    Descriptor, ImageConfig, ImageError, LayerKind, MAX_INDEX_ENTRIES, Manifest, Platform,
};
use crate::reference::Reference;

/// Most images of one source, the same as of an index.
pub const MAX_IMAGES: usize = MAX_INDEX_ENTRIES;

/// Something that holds images.
pub trait Source: Send + Sync {
    /// What it is, for people: `OCI layout busybox.tar`.
    fn origin(&self) -> &str;

    /// The images in it that run on `platform`, with their documents verified and checked.
    ///
    /// # Errors
    /// [`SourceError`]; an image for another platform is one.
    fn images(&self, platform: &Platform) -> Result<Vec<SourceImage>, SourceError>;

    /// The bytes of a layer, as they are in the source. Not verified.
    ///
    /// # Errors
    /// [`SourceError`] when it is missing or has another size than was said.
    fn open_layer(&self, layer: &SourceLayer) -> Result<Box<dyn Read + Send + '_>, SourceError>;

    /// The bytes of a layer from some place on, of a source that is far away.
    ///
    /// # Errors
    /// Those of [`Self::open_layer`].
    fn open_layer_from(
        &self,
        layer: &SourceLayer,
        start: u64,
    ) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        let mut reader = self.open_layer(layer)?;
        let skipped = std::io::copy(&mut reader.by_ref().take(start), &mut std::io::sink());
        skipped.map_err(|source| SourceError::Read {
            origin: self.origin().to_owned(),
            name: layer.name.clone(),
            source,
        })?;
        Ok(reader)
    }

    /// What came of a layer was damaged: whether it can now be had from somewhere else.
    fn distrust(&self, _layer: &SourceLayer) -> bool {
        false
    }

    /// Something of the images cannot be had: whether [`Self::images`] now asks somewhere else.
    fn distrust_all(&self) -> bool {
        false
    }
}

/// One image of a source.
#[derive(Debug, Clone)]
pub struct SourceImage {
    /// Its names, each with a tag; empty when the source tells none.
    pub names: Vec<Reference>,
    /// The name with the digest by which its registry knows it: of its manifest, or of the index
    /// that lists it.
    pub repository_digest: Option<Reference>,
    /// Its manifest; archives of `docker save` have none.
    pub manifest: Option<Document>,
    /// Its configuration; `None` for a bare root file system.
    pub config: Option<Configuration>,
    /// Its layers, lowest first.
    pub layers: Vec<SourceLayer>,
    /// For a bare root file system: when it was made, RFC 3339.
    pub created: Option<String>,
}

/// A verified document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Digest of its bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A verified configuration.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The document.
    pub document: Document,
    /// What it says.
    pub parsed: ImageConfig,
}

/// A layer as a source knows it.
#[derive(Debug, Clone)]
pub struct SourceLayer {
    /// Name of its file in the source.
    pub name: String,
    /// Digest of the bytes as they are in the source, where one is known.
    pub digest: Option<Digest>,
    /// Number of those bytes; `None` for a directory, whose archive is made while it is read.
    pub size: Option<u64>,
    /// Compression that the manifest announces; `None` to look at the first bytes.
    pub kind: Option<LayerKind>,
    /// Digest of the uncompressed layer; `None` for a bare root file system.
    pub diff_id: Option<Digest>,
}

/// What to open as a source.
#[derive(Debug)]
pub enum Input<'a> {
    /// A file or directory.
    Path(&'a Path),
    /// An open file, pipe or socket, such as standard input.
    Stream(File),
}

/// Finds out by its content what an input is. `scratch` is a directory for temporary files
/// without names, which a compressed archive or a stream is unpacked into.
///
/// # Errors
/// [`SourceError`], among them [`SourceError::Unrecognised`].
pub fn open(input: Input<'_>, scratch: &Path) -> Result<Box<dyn Source>, SourceError> {
    match input {
        Input::Path(path) => open_path(path, scratch),
        Input::Stream(file) => open_stream(file, scratch),
    }
}

/// Layers of a manifest with the diff IDs of its configuration; `name` says what a layer's file is
/// called in the source.
pub(crate) fn pair_layers(
    manifest: &Manifest,
    config: &ImageConfig,
    config_name: &str,
    name: impl Fn(&Digest) -> String,
) -> Result<Vec<SourceLayer>, ImageError> {
    let diff_ids = &config.rootfs.diff_ids;
    if manifest.layers.len() != diff_ids.len() {
        return Err(ImageError::LayerCount {
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
            digest: config_name.to_owned(),
        });
    }
    let pair = |(layer, diff_id): (&Descriptor, &Digest)| {
        Ok(SourceLayer {
            name: name(&layer.digest),
            digest: Some(layer.digest.clone()),
            size: Some(layer.size),
            kind: Some(layer.layer_kind()?),
            diff_id: Some(diff_id.clone()),
        })
    };
    manifest.layers.iter().zip(diff_ids).map(pair).collect()
}
