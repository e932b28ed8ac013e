//! Settings of a container's inter-process communication, made by init.
//!
//! Before Linux 6.11 the kernel lets only the root of all make them, who the first process of a
//! container with a user namespace of its own is not; since then it lets only the root of that
//! namespace, who init is not. So each does what it may.

use std::{
    fs,
    io::ErrorKind,
    os::fd::{AsFd, BorrowedFd},
};

use contracts::guest::sysctl::{self, Owner};
use rustix::{
    fs::{Mode, OFlags, open},
    thread::{ThreadNameSpaceType as NameSpace, move_into_thread_name_spaces},
};

use crate::failure::{Failure, Stage};

/// Whether a setting is one of these.
pub(crate) fn owns(name: &str) -> bool {
    sysctl::owner(name) == Owner::Ipc
}

/// Makes settings in the namespace of a process, as far as init may.
///
/// # Errors
/// When the kernel has no such setting, or refuses the value.
pub(crate) fn set<'a>(
    process: BorrowedFd<'_>,
    settings: impl IntoIterator<Item = &'a (String, String)>,
) -> Result<(), Failure> {
    let mut settings = settings.into_iter().peekable();
    if settings.peek().is_none() {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = open("/proc/thread-self/ns/ipc", flags, Mode::empty())
        .stage(|| "open the guest's namespace of inter-process communication")?;
    let namespace = NameSpace::INTER_PROCESS_COMMUNICATION;
    move_into_thread_name_spaces(process, namespace)
        .stage(|| "enter the container's inter-process communication")?;
    let done = settings.try_for_each(|(name, value)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        match fs::write(path, value) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            other => other.stage(|| format!("set sysctl {name} to `{value}`")),
        }
    });
    move_into_thread_name_spaces(own.as_fd(), namespace)
        .expect("the namespace that init has come from is there, and init may enter it");
    done
}
