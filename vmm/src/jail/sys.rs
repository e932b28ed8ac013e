//! System calls of the jail.
#![expect(unsafe_code, reason = "process-wide settings have no safe interface")]

use std::{fs, io};

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these options of prctl take numbers only.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) })
}

pub(super) fn forbid_new_privileges() -> io::Result<()> {
    set(libc::PR_SET_NO_NEW_PRIVS, 1)
}

pub(super) fn forbid_dumping() -> io::Result<()> {
    set(libc::PR_SET_DUMPABLE, 0)
}

/// Limits what the process may use; a limit that is lower already stays.
pub(super) fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: `limit` is a live local variable in all calls.
    unsafe {
        if libc::setrlimit(resource, &raw const limit) == 0 {
            return Ok(());
        }
        // Only root can raise it.
        check(libc::getrlimit(resource, &raw mut limit))?;
        limit.rlim_cur = value.min(limit.rlim_max);
        limit.rlim_max = limit.rlim_cur;
        check(libc::setrlimit(resource, &raw const limit))
    }
}

/// Closes all descriptors above the standard streams that are not in the list.
///
/// # Safety
/// Nothing owns one of those.
pub(super) unsafe fn close_others(keep: &[i32]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| (*fd).try_into().ok()).collect();
    keep.sort_unstable();
    // First descriptor after the standard streams.
    let mut first: u32 = 3;
    for kept in keep.into_iter().filter(|kept| *kept >= 3) {
        if first < kept {
            // SAFETY: the caller's.
            unsafe { close_range(first, kept - 1) }?;
        }
        first = kept + 1;
    }
    // SAFETY: the caller's.
    unsafe { close_range(first, u32::MAX) }
}

unsafe fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the caller's; the call takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Enters user, mount, network, IPC, UTS and cgroup namespaces of its own.
pub(super) fn isolate() -> io::Result<()> {
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    // SAFETY: unshare takes flags only, and this process has one thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | namespaces) })
}

/// Keeps mounts of this namespace from those of the machine.
pub(super) fn own_mounts() -> io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", flags)?)
}

/// Makes an empty, read-only directory the root, with everything else unmounted.
pub(super) fn empty_root() -> io::Result<()> {
    use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
    // A directory that is always there; what it holds is covered by the mount.
    let place = "/proc";
    let flags = MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOSUID;
    mount(
        "none",
        place,
        "tmpfs",
        flags,
        Some(c"size=4k,nr_inodes=2,mode=555"),
    )?;
    mount_remount(place, flags | MountFlags::RDONLY, "")?;
    rustix::process::chdir(place)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    debug_assert!(fs::read_dir("/").is_ok_and(|entries| entries.count() == 0));
    Ok(())
}

/// Gives up all capabilities, for good.
pub(super) fn drop_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits as two halves.
    const VERSION: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let none = [Half {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: both structures have the layout that version 3 of the interface asks for, and live
    // until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Puts a filter of system calls on the calling thread, which has given up new privileges.
pub(super) fn set_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = program.len().try_into().map_err(io::Error::other)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads so many instructions, which live as long as the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    check(i32::try_from(result).unwrap_or(-1))
}
