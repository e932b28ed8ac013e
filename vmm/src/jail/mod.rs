//! The walls around the monitor.
//!
//! At its very beginning it becomes the first process of namespaces of its own, since no process can enter a PID
//! namespace later. Once it has opened what it needs, the rest of the process follows: an empty root, a user ID of
//! its own, no capabilities, Landlock. Then each thread: the system calls that its work needs, and no others. All
//! before the guest's first instruction.

mod filter;
mod instructions;
mod landlock;
mod sys;
#[cfg(test)]
mod tests;

use std::{io, os::fd::BorrowedFd};

use contracts::monitor::Walls;

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
    /// Not all of it is possible here, and all of it was asked for.
    #[error(
        "this system does not allow all of the monitor's jail, which is required \
         (CORACLE_REQUIRE_JAIL): it lacks {missing}, and has {walls}"
    )]
    Incomplete {
        /// What is missing.
        missing: String,
        /// What is there.
        walls: Walls,
    },
}

/// What became of [`separate`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Separation {
    /// This is the first process of namespaces of its own.
    namespaces: bool,
    /// It is in a cgroup of its own.
    group: bool,
    /// Its parent waits for it, and it ends when that does.
    with_parent: bool,
    /// A number that no other monitor has that lives beside this one, as its owner sees them.
    number: u32,
}

/// Who waits for the monitor's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// An owner, who waits for all processes of the monitor's process group.
    Owner,
    /// Whoever started it, and expects it to be one process.
    Anyone,
}

/// Goes on as the first process of namespaces of its own, in this cgroup if one is given, where the system allows
/// it. The process must have one thread.
///
/// The process that called ends: at once where an owner waits for the whole process group, and with the new one's
/// exit code otherwise.
#[must_use]
pub fn separate(parent: Parent, group: Option<BorrowedFd<'_>>) -> Separation {
    let number = std::process::id();
    let root = rustix::process::geteuid().is_root();
    let Some(separated) = sys::separate(root, parent == Parent::Owner, group) else {
        return Separation {
            number,
            ..Separation::default()
        };
    };
    sys::end_when_asked();
    Separation {
        namespaces: separated.namespaces,
        group: separated.group,
        with_parent: parent == Parent::Anyone,
        number,
    }
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
/// Tells what stands. Namespaces are not possible everywhere (a container or a setting of the kernel may forbid
/// them), and not every kernel has Landlock; the filters stand without them. There is no limit on processes: the
/// filters know no call that makes one.
///
/// # Errors
/// When a step that is always possible fails, or something is missing although `required`.
pub fn enter(
    separation: Separation,
    file_size: Option<u64>,
    required: bool,
) -> Result<Walls, JailError> {
    sys::forbid_new_privileges().map_err(stage("no new privileges"))?;
    sys::limit(libc::RLIMIT_CORE, 0).map_err(stage("no core dumps"))?;
    sys::limit(libc::RLIMIT_NOFILE, MAX_DESCRIPTORS).map_err(stage("limit descriptors"))?;
    if let Some(size) = file_size {
        let size = size.max(MAX_WORDS);
        sys::limit(libc::RLIMIT_FSIZE, size).map_err(stage("limit the size of files"))?;
    }
    let by_root = rustix::process::geteuid().is_root();
    let mut walls = Walls {
        processes: separation.namespaces,
        group: separation.group,
        by_root,
        ..Walls::default()
    };
    // Some systems give namespaces in which nothing is allowed, not even this.
    walls.namespaces = separation.namespaces && sys::own_mounts().is_ok();
    if walls.namespaces {
        sys::empty_root().map_err(stage("leave the file system"))?;
    }
    if by_root {
        walls.user = own_user(separation.number)?;
    }
    if !walls.namespaces && (walls.user.is_some() || !separation.namespaces) {
        // As an ordinary user it may have those that come with a user namespace.
        walls.namespaces = sys::isolate().is_ok() && sys::own_mounts().is_ok();
        if walls.namespaces {
            sys::empty_root().map_err(stage("leave the file system"))?;
        }
    }
    sys::drop_capabilities().map_err(stage("drop capabilities"))?;
    // Where there are namespaces, a second wall that costs next to nothing.
    walls.landlock = landlock::give_up_everything().ok();
    // Last, since it resets when credentials change.
    sys::forbid_dumping().map_err(stage("forbid tracing"))?;
    // After them, for the same reason.
    if separation.with_parent {
        sys::end_with_parent().map_err(stage("end with the parent"))?;
    }
    let missing = walls.missing();
    if required && !missing.is_empty() {
        let missing = missing.join(" and ");
        return Err(JailError::Incomplete { missing, walls });
    }
    Ok(walls)
}

/// First of the user IDs that monitors of root's get: above those that distributions, systemd and containers with
/// user namespaces give out, our own (`guest-init/src/shift.rs`) among them, and below 2³¹, which some programs take
/// for negative.
const FIRST_USER: u32 = 0x7800_0000;

/// Bits of a process ID (`PID_MAX_LIMIT` is 2²²). With it, no two monitors of a PID namespace that live at the same
/// time have the same user ID.
const PROCESS_BITS: u32 = 22;

/// Bits above those, which are random: for monitors of root's in different containers.
const RANDOM_BITS: u32 = 5;

/// First and number of the user IDs that are used where those above are not mapped, in a container with 65,536 of
/// them: those that systemd gives to services for as long as they run.
const FIRST_IN_CONTAINER: u32 = 61_184;
const IN_CONTAINER: u32 = 4_336;

/// Becomes a user whom nothing belongs to; `None` where this root may be nobody but itself.
fn own_user(number: u32) -> Result<Option<u32>, JailError> {
    let mut random = [0; 1];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let [random] = random.map(|byte| u32::from(byte) % (1 << RANDOM_BITS));
    let unique = (number % (1 << PROCESS_BITS)) | (random << PROCESS_BITS);
    for user in [
        FIRST_USER | unique,
        FIRST_IN_CONTAINER + number % IN_CONTAINER,
    ] {
        match sys::become_user(user) {
            Ok(()) => return Ok(Some(user)),
            // It is not mapped here, or this root has no such capability.
            Err(error)
                if [Some(libc::EINVAL), Some(libc::EPERM)].contains(&error.raw_os_error()) => {}
            Err(error) => return Err(stage("take a user ID of its own")(error)),
        }
    }
    Ok(None)
}
