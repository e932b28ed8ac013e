//! Landlock: what a process may open and reach, given up by itself, whether namespaces are possible or not
//! (`landlock(7)`).
//!
//! The monitor has opened all that it needs, and so gives up all that this kernel's version of the interface
//! knows. What is open stays usable: the rights of a file are those of the moment in which it was opened.
#![expect(unsafe_code, reason = "these system calls have no safe interface")]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `struct landlock_ruleset_attr`; earlier versions end after their last field.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: libc::c_ulong = 1;

/// Rights of files that each version added, as (version, number of rights since): execute to make a link (1),
/// refer (2), truncate (3), requests to devices (5).
const FILE_RIGHTS: [(u32, u32); 4] = [(1, 13), (2, 14), (3, 15), (5, 16)];

/// Version since which TCP ports are known: to bind and to connect.
const NETWORK: (u32, u64) = (4, 0b11);

/// Version since which abstract sockets and signals are known: to reach those of others.
const SCOPES: (u32, u64) = (6, 0b11);

/// The rights to give up on a kernel of this version, and how many bytes of them it reads.
fn ruleset(version: u32) -> (Ruleset, usize) {
    let known = |(since, rights): (u32, u64)| if version >= since { rights } else { 0 };
    let files = FILE_RIGHTS
        .iter()
        .rev()
        .find(|(since, _)| version >= *since);
    let ruleset = Ruleset {
        handled_access_fs: files.map_or(0, |(_, count)| (1 << count) - 1),
        handled_access_net: known(NETWORK),
        scoped: known(SCOPES),
    };
    let fields = match version {
        0..4 => 1,
        4 | 5 => 2,
        _ => 3,
    };
    (ruleset, fields * size_of::<u64>())
}

fn result(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Gives up all rights, for good; the version of the interface. The process has one thread, and has given up new
/// privileges.
///
/// # Errors
/// Where the kernel has no Landlock, or it is not switched on.
pub(super) fn give_up_everything() -> io::Result<u32> {
    // SAFETY: without a structure, and with this flag, the call takes numbers only.
    let version = result(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0_usize,
            VERSION,
        )
    })?;
    let version = u32::try_from(version).map_err(io::Error::other)?;
    let (rights, size) = ruleset(version);
    // SAFETY: the kernel reads `size` bytes of the structure, which has at least as many and lives until the call
    // returns.
    let descriptor = result(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const rights,
            size,
            0_u64,
        )
    })?;
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the call gave this new descriptor, which nothing else owns.
    let ruleset = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: the call takes numbers only.
    result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u64) })?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_asked_for_what_it_knows() {
        for (version, files, network, scopes, size) in [
            (1, 0x1fff, 0, 0, 8),
            (2, 0x3fff, 0, 0, 8),
            (3, 0x7fff, 0, 0, 8),
            (4, 0x7fff, 3, 0, 16),
            (5, 0xffff, 3, 0, 16),
            (6, 0xffff, 3, 3, 24),
            (99, 0xffff, 3, 3, 24),
        ] {
            let (rights, bytes) = ruleset(version);
            assert_eq!(rights.handled_access_fs, files, "{version}");
            assert_eq!(rights.handled_access_net, network, "{version}");
            assert_eq!((rights.scoped, bytes), (scopes, size), "{version}");
        }
    }
}
