//! Resource limits by Linux's numbers, some of which the C library has no names for.

use std::{io, ptr};

use rustix::process::Pid;

use super::check;

/// Sets a resource limit by Linux's number.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` lives through the call; no old limit is asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            ptr::from_ref(&limit),
            ptr::null::<libc::rlimit64>(),
        )
    })
    .map(drop)
}

/// Raises the hard limits of another process where these are higher.
pub(crate) fn raise_rlimit(pid: Pid, resource: u32, hard: u64) -> io::Result<()> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let pid = pid.as_raw_nonzero().get();
    // SAFETY: `limit` lives through the call, which fills it; no new limit is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            ptr::null::<libc::rlimit64>(),
            ptr::from_mut(&mut limit),
        )
    })?;
    if limit.rlim_max >= hard {
        return Ok(());
    }
    limit.rlim_max = hard;
    // SAFETY: `limit` lives through the call; no old limit is asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            ptr::from_ref(&limit),
            ptr::null_mut::<libc::rlimit64>(),
        )
    })
    .map(drop)
}
