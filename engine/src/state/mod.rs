//! What is on disk, and where: the XDG base directories of the user.

pub mod container;
pub mod disk;
pub mod files;
pub mod host;
pub mod journal;
pub mod log;
mod mode;
pub mod network;
mod probe;
mod words;

pub use coracle_platform::{
    Directories,
    private::{self, create_directory},
};
pub use mode::MachineMode;
pub use probe::probe;

use crate::{Error, ErrorKind};

/// Several IDs begin as the one that was given.
fn ambiguous(kind: &str, text: &str) -> Error {
    let words = format!("{kind} ID {text:?} is ambiguous: several begin with it; give more digits");
    Error::new(ErrorKind::Invalid, words)
}

/// A name or ID stands for nothing that there is.
#[derive(Debug, thiserror::Error)]
#[error("no such {kind}: {name}; {hint}")]
pub struct NotFound {
    /// `container` or `host`.
    kind: &'static str,
    name: String,
    /// What to do about it.
    hint: String,
}
