//! The layers of an image as one read-only disk: a GPT whose partitions are the layers, lowest
//! first, so that any number of layers takes one device.

use std::path::PathBuf;

/// A run of a disk's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// Bytes of a file.
    File {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// These bytes.
    Bytes(Vec<u8>),
    /// This many zero bytes.
    Zeros(u64),
}

impl Extent {
    /// Number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::File { length, .. } | Self::Zeros(length) => *length,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

mod gpt;

pub use gpt::{JoinError, join};
