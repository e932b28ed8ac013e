//! The guest kernel: checked when the user names one, else built once from Debian's source package
//! with the fragments of `kernel-config/`, and kept in the cache.

mod build;
mod cache;
mod check;
mod observer;
mod pack;
mod recipe;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use cache::Cached;
pub use check::{check, check_bootable};
pub use observer::{Observer, Unobserved};

/// What can be wrong with a kernel, or with building one.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The file named as kernel cannot be read.
    #[error("cannot read the kernel {}", path.display())]
    ReadKernel {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is none that this program can boot.
    #[error(
        "{} is no kernel that coracle can boot: it {fault}; what is needed is an x86-64 Linux \
         kernel as an ELF vmlinux or a bzImage",
        path.display()
    )]
    NotBootable {
        /// The file.
        path: PathBuf,
        /// What it is instead, or lacks, as a verb: "is a JPEG picture".
        fault: String,
    },
    /// Part of a kernel is missing at its end.
    #[error(
        "the kernel {} is cut off: its headers speak of {needed} bytes, and it has {found}; copy or \
         build it again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that its headers speak of.
        needed: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// The cache cannot be used.
    #[error("cannot {action} {}", path.display())]
    UseCache {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The build could not begin.
    #[error("cannot start bash to build the guest kernel")]
    StartBuild {
        /// Why.
        source: io::Error,
    },
    /// The build failed.
    #[error("the guest kernel was not built: {reason}{}", log_note(log.as_deref()))]
    Build {
        /// In the build's own words.
        reason: String,
        /// What the compiler and the other tools said, if they began.
        log: Option<PathBuf>,
    },
    /// Someone pressed Ctrl-C, or the build was ended otherwise.
    #[error("the build of the guest kernel was interrupted; the next start begins it again")]
    Interrupted,
}

fn log_note(log: Option<&Path>) -> String {
    log.map(|path| format!(" (all of its output is in {})", path.display()))
        .unwrap_or_default()
}

/// The kernel for a guest: the cached one, else one that is built now, which takes minutes and
/// happens once. `cache` is the program's cache directory.
///
/// Only one process builds at a time; others wait for its kernel.
///
/// # Errors
/// When there is none yet and the build fails.
pub fn ensure(cache: &Path, observer: &mut dyn Observer) -> Result<PathBuf, KernelError> {
    match path(cache) {
        Some(path) => Ok(path),
        None => build(cache, None, false, observer),
    }
}

/// Builds the kernel, from the source tarball named or from Debian's package. Where it is in the
/// cache already (built from this recipe), nothing happens unless `again` is set.
///
/// # Errors
/// When tools are missing (all are named), the source cannot be had, or a step fails.
pub fn build(
    cache: &Path,
    tarball: Option<&Path>,
    again: bool,
    observer: &mut dyn Observer,
) -> Result<PathBuf, KernelError> {
    let cache = cache::Cache::new(cache, recipe::Recipe::embedded());
    let there = || cache.find().filter(|_| !again);
    // A kernel that is there needs no waiting for one that someone builds from another recipe.
    if let Some(path) = there() {
        return Ok(path);
    }
    let lock = cache.lock(|text| observer.notice(text))?;
    // It may have been built while the lock was waited for.
    if let Some(path) = there() {
        return Ok(path);
    }
    build::build(&cache, &lock, tarball, observer)
}

/// The cached kernel that guests boot, if it was built.
pub fn path(cache: &Path) -> Option<PathBuf> {
    cache::Cache::new(cache, recipe::Recipe::embedded()).find()
}

/// All cached kernels, also those of other versions of this program; the one in use comes first.
///
/// # Errors
/// When the cache cannot be read.
pub fn list(cache: &Path) -> Result<Vec<Cached>, KernelError> {
    cache::Cache::new(cache, recipe::Recipe::embedded()).list()
}
