//! Why a layer is refused.

use std::io;

use super::Compression;
use super::decompress::{self, Grown};
use super::limits::{MAX_LINKS, MAX_NAME, MAX_PATH};
use crate::digest::Digest;
use crate::erofs::file_type;

/// Why a layer could not be made into a file system.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The input fails, or is damaged or cut off in its compression.
    #[error("cannot read the layer ({compression}) beyond byte {offset} of its tar archive")]
    Read {
        /// How it is compressed.
        compression: Compression,
        /// Uncompressed bytes before the failure.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The file system image cannot be written.
    #[error("cannot write the file system of the layer")]
    Write(#[source] io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread for the layer")]
    Thread(#[source] io::Error),
    /// The content is not what the image's configuration says.
    #[error("the layer is damaged: the digest of its tar archive is {actual}, not {expected}")]
    DiffId {
        /// The diff ID that is announced.
        expected: Digest,
        /// That of the content.
        actual: Digest,
    },
    /// The archive ends within an entry.
    #[error("the tar archive is cut off at byte {offset}, in {what}")]
    Truncated {
        /// Where.
        offset: u64,
        /// In what.
        what: String,
    },
    /// A header is not one.
    #[error("the tar archive has no valid header at byte {offset}: {reason}")]
    Header {
        /// Where.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// More follows the end of the archive.
    #[error(
        "the tar archive ends at byte {offset} but is followed by other data; make the \
         image again"
    )]
    Trailing {
        /// Where it ends.
        offset: u64,
    },
    /// A name that could lead out of the tree, or is none.
    #[error(
        "the layer names a file {path:?}: {reason} (a path has at most {MAX_PATH} bytes, a name \
         {MAX_NAME})"
    )]
    Name {
        /// The name.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry below something that is no directory.
    #[error("the layer places {path:?} below {parent:?}, which is a {kind}")]
    Through {
        /// The entry.
        path: String,
        /// What it is placed below.
        parent: String,
        /// Its kind.
        kind: &'static str,
    },
    /// Symbolic links that lead nowhere.
    #[error(
        "the layer places something below {path:?}, which leads in a circle, or through more than \
         {MAX_LINKS} symbolic links"
    )]
    Circle {
        /// What it is placed below.
        path: String,
    },
    /// A layer below cannot be read.
    #[error("cannot read the layers below")]
    Below(#[source] io::Error),
    /// A hard link to nothing.
    #[error("the layer makes {path:?} a hard link to {target:?}, which is {reason}")]
    HardLink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry that cannot be in a file system.
    #[error("entry {path:?} of the layer cannot be stored: {reason}")]
    Entry {
        /// Its path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than a layer may ask for.
    #[error("the archive has {what}, more than {limit}: refused as a bomb")]
    Limit {
        /// What there is too much of.
        what: String,
        /// How many are allowed.
        limit: u64,
    },
}

impl LayerError {
    /// Whether the same entry may be good upon other layers.
    pub(super) fn depends_on_below(&self) -> bool {
        matches!(
            self,
            Self::Through { .. } | Self::Circle { .. } | Self::HardLink { .. }
        )
    }

    /// What a failure to read the archive is.
    pub(super) fn reading(compression: Compression, offset: u64, source: io::Error) -> Self {
        match source.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Grown { from }) => Self::Limit {
                what: format!("more bytes than {from} compressed ones may become"),
                limit: decompress::limit(*from),
            },
            None => Self::Read {
                compression,
                offset,
                source,
            },
        }
    }
}

/// A kind of file, for messages.
pub(super) fn kind_name(mode: u16) -> &'static str {
    match mode & file_type::MASK {
        file_type::REGULAR => "file",
        file_type::SYMLINK => "symbolic link",
        file_type::DIRECTORY => "directory",
        file_type::FIFO => "named pipe",
        _ => "device",
    }
}

/// Bytes as text for messages, everything but printable ASCII escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    /// Enough to recognise a file in a message.
    const SHOWN: usize = 400;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let text = String::from_utf8_lossy(shown).into_owned();
    if shown.len() < bytes.len() {
        text + "…"
    } else {
        text
    }
}
