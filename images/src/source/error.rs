//! What can be wrong with a source.

use std::io;

use super::MAX_IMAGES;
use super::registry::RegistryError;
use crate::image::ImageError;
use crate::layer::LayerError;
use crate::reference::ReferenceError;

/// Why images cannot be taken from a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source itself cannot be opened.
    #[error("cannot open {origin}")]
    Open {
        /// Path, or what stands for it.
        origin: String,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read {name} of {origin}")]
    Read {
        /// The source.
        origin: String,
        /// The file in it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The input could not be kept in a temporary file.
    #[error("cannot keep {origin} in a temporary file in {scratch}; is the disk full?")]
    Spool {
        /// The source.
        origin: String,
        /// Directory of temporary files.
        scratch: String,
        /// Why.
        source: io::Error,
    },
    /// Not any known kind of source.
    #[error(
        "{origin} is {found}, not an image: give an OCI image layout (directory or tar), an \
         archive of `docker save`, or a root file system (directory or tar)"
    )]
    Unrecognised {
        /// The source.
        origin: String,
        /// What it looks like.
        found: String,
    },
    /// It is no archive that can be read.
    #[error("{origin} is no archive that can be read; download or save it again")]
    Archive {
        /// The source.
        origin: String,
        /// Why not.
        source: Box<LayerError>,
    },
    /// The archive is larger than accepted.
    #[error("{origin} unpacks to more than {limit} bytes, the most that is accepted")]
    TooLarge {
        /// The source.
        origin: String,
        /// The limit.
        limit: u64,
    },
    /// An entry's name leads out of the archive.
    #[error("entry {name:?} of {origin} leads out of the archive; it is refused")]
    Escape {
        /// The source.
        origin: String,
        /// The entry's name.
        name: String,
    },
    /// Too many entries for an archive of images.
    #[error("{origin} has more than {limit} entries, the most that an image archive may have")]
    TooManyEntries {
        /// The source.
        origin: String,
        /// The limit.
        limit: usize,
    },
    /// Two entries have the same name.
    #[error("{origin} has more than one entry {name:?}, so that what it means is unclear")]
    Duplicate {
        /// The source.
        origin: String,
        /// The name.
        name: String,
    },
    /// A file is missing.
    #[error("{origin} has no {name:?}, though the image needs it; it is incomplete")]
    Missing {
        /// The source.
        origin: String,
        /// Name of the file.
        name: String,
    },
    /// A file is no regular file.
    #[error("{name:?} of {origin} is not a regular file")]
    NotAFile {
        /// The source.
        origin: String,
        /// Name of the file.
        name: String,
    },
    /// Links that lead nowhere.
    #[error("link {name:?} of {origin} leads in a circle or out of the archive")]
    Link {
        /// The source.
        origin: String,
        /// Name of the link.
        name: String,
    },
    /// A blob has another size than announced.
    #[error("{name} of {origin} has {actual} bytes where {announced} are announced")]
    Size {
        /// The source.
        origin: String,
        /// The blob.
        name: String,
        /// Size that the manifest announces.
        announced: u64,
        /// Size that it has.
        actual: u64,
    },
    /// A blob has another digest than its name.
    #[error("{name} of {origin} is damaged: its digest is {actual}, announced is {announced}")]
    Digest {
        /// The source.
        origin: String,
        /// The blob.
        name: String,
        /// Digest that is announced.
        announced: String,
        /// Digest of its bytes.
        actual: String,
    },
    /// A document is not acceptable.
    #[error("{origin} cannot be used")]
    Image {
        /// The source.
        origin: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// `manifest.json` of a docker archive is malformed.
    #[error("manifest.json of {origin} is malformed")]
    DockerManifest {
        /// The source.
        origin: String,
        /// Why.
        source: serde_json::Error,
    },
    /// More images than accepted.
    #[error("{origin} lists {count} images; at most {MAX_IMAGES} are accepted")]
    TooManyImages {
        /// The source.
        origin: String,
        /// How many.
        count: usize,
    },
    /// No image at all.
    #[error("{origin} holds no image")]
    Empty {
        /// The source.
        origin: String,
    },
    /// Two images have the same name.
    #[error("{origin} gives the name {name} to two different images")]
    NameTwice {
        /// The source.
        origin: String,
        /// The name.
        name: String,
    },
    /// A name in the source is malformed.
    #[error("{origin} names an image {name:?}")]
    Name {
        /// The source.
        origin: String,
        /// The name.
        name: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A layout of a version that is not known.
    #[error("{origin} has image layout version {version:?}; only 1.0.0 is known")]
    LayoutVersion {
        /// The source.
        origin: String,
        /// The version.
        version: String,
    },
    /// A registry does not give it.
    #[error(transparent)]
    Registry(Box<RegistryError>),
}

impl From<RegistryError> for SourceError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}
