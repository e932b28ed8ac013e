//! What is wrong with a kernel.

use super::layout::COMMAND_LINE_MAX;

/// Why a kernel could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The file is none that can be booted.
    #[error("the kernel is neither an ELF vmlinux nor a bzImage for x86-64: {0}")]
    NotAKernel(String),
    /// The kernel or the initial RAM file system does not fit.
    #[error("the {what} does not fit into the guest's memory; give the guest more")]
    TooLarge {
        /// What did not fit.
        what: &'static str,
    },
    /// The command line is too long.
    #[error("the kernel's command line has {0} bytes; at most {max} fit", max = COMMAND_LINE_MAX - 1)]
    CommandLine(usize),
    /// A file cannot be read.
    #[error("cannot read the {what}: {source}")]
    Read {
        /// Which file.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// What the kernel is told could not be written.
    #[error("cannot write the boot parameters: {0}")]
    Parameters(String),
}

/// A file that cannot be booted, with the reason.
pub(super) fn wrong<T>(words: impl Into<String>) -> Result<T, BootError> {
    Err(BootError::NotAKernel(words.into()))
}
