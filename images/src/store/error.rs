//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::layer::LayerError;
use crate::reference::ReferenceError;
use crate::source::SourceError;
use crate::source::registry::Shared;

/// Why something could not be done with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of the store cannot be read, written, renamed or removed.
    #[error("cannot {action} {} in the image store", path.display())]
    Io {
        /// What was tried: `create`, `read`, `write`, `rename`, `remove`, `lock`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The disk is full.
    #[error(
        "no space left on the disk of the image store {} ({free} MiB free{needed}); remove images \
         with `coracle rmi` or `coracle prune`, or free space in another way",
        root.display()
    )]
    NoSpace {
        /// Root of the store.
        root: PathBuf,
        /// MiB still free, 0 when that is not known.
        free: u64,
        /// How much would do, or nothing.
        needed: String,
        /// Where it happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The path is no directory.
    #[error("the image store {} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Written by another version of the program.
    #[error(
        "{} has format {found}, this program knows format {known}; use the program that wrote it, \
         or remove the store and load the images again",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that is known.
        known: u32,
    },
    /// A file of the store is not what was written.
    #[error("{} in the image store is damaged; {advice} and load it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What to remove.
        advice: &'static str,
        /// How.
        source: serde_json::Error,
    },
    /// A file of the store is gone.
    #[error(
        "{} is missing in the image store; pull or load the image again",
        .0.display()
    )]
    Missing(PathBuf),
    /// No such image.
    #[error(
        "there is no image {name:?} here{similar}; `coracle images` shows what there is, \
         `coracle pull` and `coracle load -i FILE` add to it"
    )]
    NotFound {
        /// What was asked for.
        name: String,
        /// Other names of the same repository, or nothing.
        similar: String,
    },
    /// An ID that several images begin with.
    #[error("image ID {prefix} is the beginning of {count} images; give more digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Number of images.
        count: usize,
    },
    /// Neither a name nor an ID.
    #[error("{name:?} names no image")]
    Name {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// The new name of a tag has a digest.
    #[error("{0} has a digest, which cannot be given to an image; take a name and a tag")]
    DigestAsTag(String),
    /// The new name would be read as a digest.
    #[error("{0} would be read as a digest and not as a name; take another one")]
    AlgorithmAsName(String),
    /// One name for several images.
    #[error("{origin} holds {count} images, which cannot all be named {name}; load it without")]
    OneNameForMany {
        /// The source.
        origin: String,
        /// Number of images.
        count: usize,
        /// The name.
        name: String,
    },
    /// The image has several names.
    #[error(
        "image {id} has the names {names}; remove these one by one, or all with `coracle rmi \
         --force`"
    )]
    ManyNames {
        /// Short ID.
        id: String,
        /// Its names.
        names: String,
    },
    /// The source is not acceptable.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A layer is not acceptable.
    #[error("{name} of {origin} cannot be used as a layer")]
    Layer {
        /// The source.
        origin: String,
        /// The layer's file in it.
        name: String,
        /// Why.
        source: Box<LayerError>,
    },
    /// The archive of a layer cannot be made again.
    #[error(
        "layer {0} cannot be saved: its archive is not kept and cannot be put together again; pull \
         or load its image once more after `coracle rmi`"
    )]
    NotSavable(Digest),
    /// What was put together is not the layer.
    #[error(
        "layer {expected} is damaged in the store: what was saved of it has the digest {actual}; \
         `coracle image verify` finds what else is"
    )]
    SavedDamaged {
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The saved image cannot be written.
    #[error("cannot write the saved image")]
    Save {
        /// Why not.
        source: io::Error,
    },
    /// Another process keeps removing the layers that this one needs.
    #[error("layer {0} was removed again and again by another process; try again")]
    Contended(Digest),
    /// Whoever asked for it does not want it any more.
    #[error("canceled: nobody waits for it any more")]
    Canceled,
    /// Another layer of the same load failed first.
    #[error("loading was given up")]
    GivenUp,
}

impl StoreError {
    /// Whether a pull failed for a reason that may pass, so that what came is worth keeping.
    pub(super) fn is_transient(&self) -> bool {
        if matches!(self, Self::Canceled) {
            return true;
        }
        self.any_cause(|error| {
            // The readers of layers hand their errors on in those of input and output.
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(|error| error.get_ref());
            let shared = inner.and_then(|inner| inner.downcast_ref::<Shared>());
            let source = inner
                .and_then(|inner| inner.downcast_ref())
                .or_else(|| error.downcast_ref::<SourceError>());
            match (shared, source) {
                (Some(Shared(error)), _) => error.is_transient(),
                (None, Some(SourceError::Registry(error))) => error.is_transient(),
                _ => false,
            }
        })
    }

    /// Whether a file of the store is not there any more.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Missing(_) => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether the disk or the user's quota is full, anywhere down the chain of causes.
    pub(super) fn is_out_of_space(&self) -> bool {
        self.any_cause(|error| {
            error.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
            })
        })
    }

    /// Whether something is so of this error or anything down the chain of its causes.
    fn any_cause(&self, is_so: impl Fn(&(dyn std::error::Error + 'static)) -> bool) -> bool {
        // What is transparent stands for its cause, which it would otherwise hide.
        let mut cause: Option<&(dyn std::error::Error + 'static)> = match self {
            Self::Source(source) => Some(source),
            other => Some(other),
        };
        while let Some(error) = cause {
            if is_so(error) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}
