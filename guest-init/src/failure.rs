//! Why a container could not be started, in words for the person who asked for it.

use std::{fmt::Display, io};

use contracts::guest::{FailureKind, MAX_TEXT};
use rustix::io::Errno;

/// A failure to start a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which exit code it leads to.
    pub kind: FailureKind,
    /// What was tried, on what, and why it failed.
    pub message: String,
}

impl Failure {
    /// A failure of set-up.
    pub fn setup(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Setup, message)
    }

    /// A failure of any kind; text beyond what the host accepts is cut off.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_TEXT {
            message.truncate(message.floor_char_boundary(MAX_TEXT));
        }
        Self { kind, message }
    }

    /// As bytes for the pipe between a container's first process and init.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let kind = match self.kind {
            FailureKind::NotFound => 1,
            FailureKind::NotExecutable => 2,
            FailureKind::Setup => 3,
        };
        let mut bytes = Vec::with_capacity(1 + self.message.len());
        bytes.push(kind);
        bytes.extend_from_slice(self.message.as_bytes());
        bytes
    }

    /// The inverse of [`Failure::to_bytes`]; unknown bytes are a failure of set-up.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (kind, text) = match bytes.split_first() {
            Some((1, text)) => (FailureKind::NotFound, text),
            Some((2, text)) => (FailureKind::NotExecutable, text),
            Some((_, text)) => (FailureKind::Setup, text),
            None => (FailureKind::Setup, bytes),
        };
        Self::new(kind, String::from_utf8_lossy(text))
    }
}

/// Names the step of set-up in which a system call failed.
pub trait Stage<T> {
    /// Turns an error into a [`Failure`] that says `cannot {step}: {error}`.
    ///
    /// # Errors
    /// The error, with the step named.
    fn stage<D: Display>(self, step: impl FnOnce() -> D) -> Result<T, Failure>;
}

impl<T> Stage<T> for Result<T, Errno> {
    fn stage<D: Display>(self, step: impl FnOnce() -> D) -> Result<T, Failure> {
        self.map_err(|errno| Failure::setup(format!("cannot {}: {}", step(), reason(errno))))
    }
}

impl<T> Stage<T> for io::Result<T> {
    fn stage<D: Display>(self, step: impl FnOnce() -> D) -> Result<T, Failure> {
        self.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Failure::setup(format!("cannot {}: {}", step(), reason(errno))),
            None => Failure::setup(format!("cannot {}: {error}", step())),
        })
    }
}

/// The text of an error number, in lower case and without the number.
#[must_use]
pub fn reason(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_survives_the_pipe() {
        for kind in [
            FailureKind::NotFound,
            FailureKind::NotExecutable,
            FailureKind::Setup,
        ] {
            let failure = Failure::new(kind, "cannot mount /proc: no such device");
            assert_eq!(Failure::from_bytes(&failure.to_bytes()), failure);
        }
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let failure = Failure::setup("é".repeat(MAX_TEXT));
        assert_eq!(failure.message.len(), MAX_TEXT);
    }

    #[test]
    fn reason_is_lower_case_without_number() {
        assert_eq!(reason(Errno::NOENT), "no such file or directory");
    }

    #[test]
    fn stage_names_the_step() {
        let result: Result<(), Errno> = Err(Errno::PERM);
        assert_eq!(
            result.stage(|| "mount /proc").unwrap_err().message,
            "cannot mount /proc: operation not permitted"
        );
    }
}
