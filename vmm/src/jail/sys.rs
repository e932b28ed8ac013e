//! System calls of the jail.
#![expect(unsafe_code, reason = "process-wide settings have no safe interface")]

use std::{
    fs, io,
    os::fd::{AsRawFd, BorrowedFd},
};

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

/// Those that need no process of their own.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Enters user, mount, network, IPC, UTS and cgroup namespaces of its own.
pub(super) fn isolate() -> io::Result<()> {
    // SAFETY: unshare takes flags only, and this process has one thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | NAMESPACES) })
}

/// What a new process got.
pub(super) struct Separated {
    /// It is the first process of its namespaces.
    pub(super) namespaces: bool,
    /// It is in its cgroup.
    pub(super) group: bool,
}

/// Goes on in a new process, the first one of namespaces of its own (of a user namespace, too, unless root), in a
/// cgroup if one is given, or in what of this is possible; `None` when nothing is, and in the same process.
///
/// The old process ends here: at once if the new one is its `sibling`, and so a child of its parent's, else as the
/// new one does.
pub(super) fn separate(
    root: bool,
    sibling: bool,
    group: Option<BorrowedFd<'_>>,
) -> Option<Separated> {
    let user = if root { 0 } else { libc::CLONE_NEWUSER };
    let namespaces = NAMESPACES | libc::CLONE_NEWPID | user;
    let group = group.as_ref().map(AsRawFd::as_raw_fd);
    let ways = [(namespaces, group), (namespaces, None), (0, group)];
    let ways = ways
        .into_iter()
        .filter(|(flags, into)| (*flags, *into) != (0, None));
    for (flags, into) in ways {
        match new_process(flags, into, sibling) {
            Err(_) => {}
            Ok(0) => {
                return Some(Separated {
                    namespaces: flags != 0,
                    group: into.is_some(),
                });
            }
            Ok(_) if sibling => exit(0),
            Ok(child) => exit(end_of(child)),
        }
    }
    None
}

/// As `clone3(2)`: 0 in the new process, its number in the old one.
fn new_process(flags: libc::c_int, group: Option<i32>, sibling: bool) -> io::Result<libc::pid_t> {
    /// `CLONE_INTO_CGROUP` of linux/sched.h.
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let number = |value: libc::c_int| u64::from(value.unsigned_abs());
    // SAFETY: the structure holds numbers only, for all of which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = number(flags);
    if sibling {
        // What it sends at its end is what this process does.
        arguments.flags |= number(libc::CLONE_PARENT);
    } else {
        arguments.exit_signal = number(libc::SIGCHLD);
    }
    if let Some(group) = group {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = number(group);
    }
    // SAFETY: the structure lives until the call returns. Neither memory nor descriptors are shared with the new
    // process, which has a copy of this one's only thread: no lock is held that nobody would release.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match libc::pid_t::try_from(result) {
        Ok(process) if process >= 0 => Ok(process),
        _ => Err(io::Error::last_os_error()),
    }
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process, whose work goes on in another one, without running what belongs to that.
    unsafe { libc::_exit(code) }
}

/// Waits for the new process; the exit code that a shell would tell of it.
fn end_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live local variable.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if waited == child && libc::WIFEXITED(status) {
            return libc::WEXITSTATUS(status);
        }
        if waited == child {
            return 128 + libc::WTERMSIG(status);
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return 128;
        }
    }
}

/// Ends at the signals that end other programs: the first process of a PID namespace does not hear them unless it
/// has asked for them.
pub(super) fn end_when_asked() {
    extern "C" fn end(signal: libc::c_int) {
        exit(128 + signal);
    }
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: the handler only makes a system call. What was ignored stays so.
        unsafe {
            let handler = end as extern "C" fn(libc::c_int);
            if libc::signal(signal, handler as libc::sighandler_t) == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
    }
}

/// Is killed when its parent ends.
pub(super) fn end_with_parent() -> io::Result<()> {
    set(libc::PR_SET_PDEATHSIG, libc::SIGKILL.unsigned_abs().into())
}

/// Becomes a user, and the group of the same number, with no other group. The process has one thread.
pub(super) fn become_user(user: u32) -> io::Result<()> {
    // SAFETY: the calls take numbers, and a list of length 0. They are made as such, for the library would change
    // other threads as well, of which there are none.
    unsafe {
        let changed = |result: libc::c_long| check(i32::try_from(result).unwrap_or(-1));
        changed(libc::syscall(
            libc::SYS_setgroups,
            0_usize,
            std::ptr::null::<libc::gid_t>(),
        ))?;
        changed(libc::syscall(libc::SYS_setresgid, user, user, user))?;
        changed(libc::syscall(libc::SYS_setresuid, user, user, user))
    }
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
