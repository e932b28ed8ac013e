//! The walls around the monitor once it has opened what it needs.
//!
//! First the process: privileges, namespaces, an empty root. Then each thread: the system calls that
//! its work needs, and no others. Both before the guest's first instruction.

mod bpf;
mod filter;
mod sys;
#[cfg(test)]
mod tests;

use std::io;

pub use filter::{Filter, Kind, filter};

/// Why the jail could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// A system call failed.
    #[error("cannot close the jail ({stage}): {source}")]
    Stage {
        /// Which step.
        stage: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn stage(stage: &'static str) -> impl FnOnce(io::Error) -> JailError {
    move |source| JailError::Stage { stage, source }
}

/// Most descriptors it may have open: each vsock connection is one, and devices have a few.
const MAX_DESCRIPTORS: u64 = 4096;

/// Bytes that its last words on standard error may have, which can be a file too.
const MAX_WORDS: u64 = 64 << 10;

/// Closes all descriptors but the standard streams and these. For the start of the program, when
/// they are all that it was given on purpose: whatever else it inherited is none of its business,
/// and what it opens later it opens knowingly.
///
/// # Errors
/// Before Linux 5.9, which cannot.
///
/// # Safety
/// No value that owns another descriptor exists yet.
#[expect(
    unsafe_code,
    reason = "closes descriptors by number, as its caller has to know"
)]
pub unsafe fn close_others(keep: &[i32]) -> Result<(), JailError> {
    // SAFETY: the caller's.
    unsafe { sys::close_others(keep) }.map_err(stage("close what was inherited"))
}

/// Closes the jail around this process, which must have one thread. No file can grow beyond
/// `file_size`, the end of the largest disk that can be written; none to leave that open.
///
/// Tells whether the process got namespaces of its own. They are not possible everywhere (a
/// container or a setting of the kernel may forbid them); the filters stand without them. There is
/// no limit on processes: the filters know no call that makes one.
///
/// # Errors
/// When a step that is always possible fails.
pub fn enter(file_size: Option<u64>) -> Result<bool, JailError> {
    sys::forbid_new_privileges().map_err(stage("no new privileges"))?;
    sys::limit(libc::RLIMIT_CORE, 0).map_err(stage("no core dumps"))?;
    sys::limit(libc::RLIMIT_NOFILE, MAX_DESCRIPTORS).map_err(stage("limit descriptors"))?;
    if let Some(size) = file_size {
        let size = size.max(MAX_WORDS);
        sys::limit(libc::RLIMIT_FSIZE, size).map_err(stage("limit the size of files"))?;
    }
    // Some systems give namespaces in which nothing is allowed, not even this.
    let isolated = sys::isolate().is_ok() && sys::own_mounts().is_ok();
    if isolated {
        sys::empty_root().map_err(stage("leave the file system"))?;
    }
    sys::drop_capabilities().map_err(stage("drop capabilities"))?;
    // Last, since it resets when credentials change.
    sys::forbid_dumping().map_err(stage("forbid tracing"))?;
    Ok(isolated)
}
