//! What a kernel counts for all its processes, or for each user, in a guest that several containers share.
//!
//! Descriptors, terminals, watches, timers, queues: without this, the container that takes all of one kind leaves
//! its neighbours without, for which it needs no right and a few MiB; all containers' root is the same user. What
//! each of these takes of memory is counted for the container's control group, whose limit remains.

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, write},
};

use crate::sys;

/// Settings, and the largest value that each may have.
const SETTINGS: [(&str, &str); 7] = [
    ("fs/file-max", "9223372036854775807"),
    ("fs/aio-max-nr", "2147483647"),
    ("fs/epoll/max_user_watches", "2147483647"),
    ("fs/inotify/max_user_instances", "2147483647"),
    ("fs/inotify/max_user_watches", "2147483647"),
    // Pipes of whoever has more are made small; 0 is no limit.
    ("fs/pipe-user-pages-soft", "0"),
    // Each container's own instance of devpts has a limit.
    ("kernel/pty/max", "1048576"),
];

/// Linux's numbers of the limits on a user's signals and timers that wait, and on bytes of message queues.
const RLIMIT_SIGPENDING: u32 = 11;
const RLIMIT_MSGQUEUE: u32 = 12;

/// Leaves the sharing out to control groups.
///
/// # Errors
/// When a setting that the kernel has cannot be written.
pub fn widen() -> Result<(), Errno> {
    for (name, value) in SETTINGS {
        let path = format!("/proc/sys/{name}");
        match open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => write(&file, value.as_bytes()).map(drop)?,
            // Another kernel may be without.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    for limit in [RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE] {
        let set = sys::set_rlimit(limit, u64::MAX, u64::MAX);
        set.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    }
    Ok(())
}
