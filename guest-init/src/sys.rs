//! System calls that have no safe wrapper in rustix.
#![expect(
    unsafe_code,
    reason = "clone3, mount_setattr, seccomp, execve, vsock addresses and ioctls"
)]

use std::{
    ffi::{CStr, CString},
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};

mod limits;
mod quota;
mod vsock;

pub(crate) use limits::{raise_rlimit, set_rlimit};
pub(crate) use quota::{set_limits, set_project};
pub(crate) use vsock::vsock_connect;

/// `CLONE_INTO_CGROUP`; the C library's binding gives it a type that it does not fit into.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// `MOUNT_ATTR_NODEV` for [`mount_setattr`].
pub(crate) const NODEV: u64 = 4;

/// Which side of a clone this is.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The process that asked for it.
    Parent {
        /// Number of the new process.
        pid: Pid,
        /// Becomes readable when it ends.
        pidfd: OwnedFd,
    },
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// `clone3(2)` with the meaning of `fork`: namespaces by `CLONE_NEW…` flags, placed in a cgroup.
pub(crate) fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is plain integers, for which zero is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces | libc::CLONE_PIDFD as u64;
    arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or(u64::MAX);
    }
    // SAFETY: without CLONE_VM the child has a copy of memory, as after fork, and goes on with the
    // only thread there is; `arguments` and `pidfd` outlive the call.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_ref(&arguments),
            size_of::<libc::clone_args>(),
        )
    })?;
    let pid = i32::try_from(result).ok().and_then(Pid::from_raw);
    Ok(match pid {
        None => Cloned::Child,
        Some(pid) => Cloned::Parent {
            pid,
            // SAFETY: the kernel stored a new descriptor, which nothing else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        },
    })
}

/// `fork(2)`: the new process's number for its parent, `None` for itself.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread, so no lock is held by another one.
    let pid = unsafe { libc::fork() };
    check(libc::c_long::from(pid)).map(|_| Pid::from_raw(pid))
}

/// A clone of this process that is its parent's child, in the process namespace that was set for
/// children: the new process's number for this one, `None` for itself. Not by `clone3(2)`, which
/// containers' filters refuse.
pub(crate) fn clone_sibling() -> io::Result<Option<Pid>> {
    // SAFETY: without CLONE_VM the child has a copy of memory, as after fork, and goes on with the
    // only thread there is, on a copy of its stack.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT, 0, 0, 0, 0) })?;
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// `unshare(2)`.
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no memory is passed; the process has one thread, so nothing shares what is unshared.
    check(libc::c_long::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// `mount_setattr(2)`: sets attributes (`MOUNT_ATTR_…`) on a mount, or with `recursive` on all
/// mounts below it too.
pub(crate) fn mount_setattr(mount: impl AsFd, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a constant string and `attributes` lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// `MOUNT_ATTR_IDMAP`: owners are shown as a user namespace maps them.
const IDMAP: u64 = 0x0010_0000;

/// `mount_setattr(2)`: maps the owners of all files of a mount that is mounted nowhere yet.
pub(crate) fn mount_idmap(mount: impl AsFd, namespace: impl AsFd) -> io::Result<()> {
    let namespace = namespace.as_fd().as_raw_fd();
    let attributes = libc::mount_attr {
        attr_set: IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.cast_unsigned()),
    };
    // SAFETY: the path is a constant string and `attributes` lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Operations of `BLKPG` (linux/blkpg.h).
pub(crate) const ADD_PARTITION: i32 = 1;
pub(crate) const REMOVE_PARTITION: i32 = 2;

/// `BLKPG` of linux/blkpg.h: `_IO(0x12, 105)`.
const BLKPG: libc::Ioctl = 0x1269;

/// `struct blkpg_partition`.
#[repr(C)]
struct Partition {
    start: i64,
    length: i64,
    number: i32,
    names: [[u8; 64]; 2],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct PartitionRequest {
    operation: i32,
    flags: i32,
    length: i32,
    data: *const Partition,
}

/// Makes a partition of a disk known to the kernel, or unknown: `start` and `length` in bytes.
pub(crate) fn partition(
    disk: impl AsFd,
    operation: i32,
    number: u8,
    (start, length): (i64, i64),
) -> io::Result<()> {
    let partition = Partition {
        start,
        length,
        number: number.into(),
        names: [[0; 64]; 2],
    };
    let request = PartitionRequest {
        operation,
        flags: 0,
        length: i32::try_from(size_of::<Partition>()).map_err(io::Error::other)?,
        data: ptr::from_ref(&partition),
    };
    // SAFETY: the request and the partition that it points to are laid out as the kernel has them,
    // and live through the call, which only reads them.
    let result = unsafe { libc::ioctl(disk.as_fd().as_raw_fd(), BLKPG, ptr::from_ref(&request)) };
    check(result.into()).map(drop)
}

/// `DM_VERSION` of linux/dm-ioctl.h, less the command's number: `_IOWR(0xfd, …, struct dm_ioctl)`.
const DEVICE_MAPPER: libc::Ioctl = 0xc138_fd00;

/// Bytes of `struct dm_ioctl`, with which a message to the device mapper begins.
pub(crate) const DM_HEADER: usize = 312;

/// Where that keeps the size of the whole message.
const DM_SIZE: usize = 12;

/// A command for the device mapper; its answer is written over the message.
pub(crate) fn device_mapper(control: impl AsFd, command: u8, message: &mut [u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    let header = message.get_mut(..DM_HEADER).ok_or(Errno::INVAL)?;
    let size = header.iter_mut().skip(DM_SIZE);
    size.zip(length.to_ne_bytes())
        .for_each(|(byte, value)| *byte = value);
    let request = DEVICE_MAPPER | libc::Ioctl::from(command);
    // SAFETY: the kernel reads and writes as many bytes as the header says, which are those of the
    // message, and it lives through the call.
    let result = unsafe { libc::ioctl(control.as_fd().as_raw_fd(), request, message.as_mut_ptr()) };
    check(result.into()).map(drop)
}

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` of linux/loop.h.
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;

/// `LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR`: it is free again once nothing uses it.
const LOOP_FLAGS: u32 = 1 | 4;

/// Free loop devices that are tried, each of which somebody else may take first.
const LOOP_ATTEMPTS: u32 = 64;

/// `struct loop_config` of linux/loop.h, with `struct loop_info64` in it.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// Device, inode, rdevice, offset, size limit; the size limit 0 is the file's end.
    numbers: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    /// File name, crypt name, encrypt key and two numbers.
    names: [u8; 64 + 64 + 32 + 16],
    reserved: [u64; 8],
}

/// A free loop device that shows a file, read-only, for as long as it is open or mounted; its number.
pub(crate) fn loop_device(file: impl AsFd) -> io::Result<(OwnedFd, u32)> {
    let open = |path: &str, flags| {
        rustix::fs::open(
            path,
            flags | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
    };
    let control = open("/dev/loop-control", rustix::fs::OFlags::RDWR)?;
    let config = LoopConfig {
        fd: file.as_fd().as_raw_fd().cast_unsigned(),
        block_size: 0,
        numbers: [0; 5],
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LOOP_FLAGS,
        names: [0; 176],
        reserved: [0; 8],
    };
    for _ in 0..LOOP_ATTEMPTS {
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        let number = check(number.into())?;
        let device = open(&format!("/dev/loop{number}"), rustix::fs::OFlags::RDONLY)?;
        // SAFETY: the structure is laid out as the kernel has it, and lives through the call, which only reads it.
        let result =
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, ptr::from_ref(&config)) };
        match check(result.into()) {
            Ok(_) => return Ok((device, u32::try_from(number).unwrap_or(u32::MAX))),
            // Somebody else was faster.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY.into())
}

/// Brings the loopback interface of the current network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is integers and a union of them, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives through the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            ptr::from_ref(&request),
        )
    }))
    .map(drop)
}

/// Installs a system call filter on the only thread.
pub(crate) fn set_seccomp(program: &[libc::sock_filter]) -> io::Result<()> {
    let description = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter`, which live through the call, and
    // checks them before use.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            ptr::from_ref(&description),
        )
    })
    .map(drop)
}

/// Commands, kind and place of a device filter (linux/bpf.h).
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// Filters of groups below are asked too, so that a container may confine its own children.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Loads a program for [`attach_device_filter`].
pub(crate) fn load_device_filter(program: &[u64]) -> Result<OwnedFd, Errno> {
    /// The fields of `union bpf_attr` that this command needs; what is left out is zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
    }
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
    };
    // SAFETY: the kernel reads `load`, `count` instructions and the licence's name, which all live
    // through the call, and checks the program before it is ever run.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            ptr::from_ref(&load),
            size_of::<Load>(),
        )
    });
    let descriptor = RawFd::try_from(result.map_err(|error| errno(&error))?);
    // SAFETY: the kernel gave a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor.map_err(|_| Errno::BADF)?) })
}

/// Has the kernel ask a program about each device that a control group's processes use.
pub(crate) fn attach_device_filter(group: BorrowedFd<'_>, filter: &OwnedFd) -> Result<(), Errno> {
    #[repr(C)]
    struct Attach {
        target: RawFd,
        program: RawFd,
        place: u32,
        flags: u32,
    }
    let attach = Attach {
        target: group.as_raw_fd(),
        program: filter.as_raw_fd(),
        place: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the kernel reads `attach`, which lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            ptr::from_ref(&attach),
            size_of::<Attach>(),
        )
    })
    .map(drop)
    .map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

/// Ignores a signal, or gives it its default meaning back.
pub(crate) fn set_signal(signal: Signal, ignore: bool) {
    let action = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither disposition runs code of ours.
    unsafe { libc::signal(signal.as_raw(), action) };
}

/// Signals of Linux, the last one's number (`_NSIG` of the kernel).
const SIGNALS: i32 = 64;

/// Gives all signals their default meaning, also those that C libraries keep to themselves and refuse to set.
pub(crate) fn default_signals() {
    // The kernel's `struct sigaction`, all of it zero: the default meaning, no flags, no mask.
    let default = [0_u64; 4];
    for signal in 1..=SIGNALS {
        // SAFETY: the kernel reads the array, which is as large as its structure with a mask of 8 bytes. The
        // disposition runs no code of ours. What has no other one is refused.
        unsafe {
            let none = ptr::null_mut::<u64>();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                none,
                size_of::<u64>(),
            )
        };
    }
}

/// Sets the signal mask of the only thread: all signals blocked, or none.
pub(crate) fn block_signals(block: bool) {
    // SAFETY: a signal set is plain memory that sigfillset or sigemptyset initialises.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        if block {
            libc::sigfillset(&raw mut set);
        } else {
            libc::sigemptyset(&raw mut set);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// A descriptor, which does not block, that tells of `SIGCHLD`.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is plain memory that sigemptyset initialises; the signal is blocked, so that
    // only the descriptor tells of it.
    let descriptor = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
        libc::signalfd(-1, &raw const set, flags)
    };
    check(descriptor.into())?;
    // SAFETY: the descriptor was just made and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A child that has ended and that nobody has waited for, which stays so.
pub(crate) fn ended_child() -> Option<Pid> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `siginfo_t` is plain memory, for which zero is a valid value, and lives through the
    // call; the kernel leaves its number 0 where no child has ended.
    let pid = unsafe {
        let mut information: libc::siginfo_t = std::mem::zeroed();
        match libc::waitid(libc::P_ALL, 0, &raw mut information, flags) {
            0 => information.si_pid(),
            _ => 0,
        }
    };
    Pid::from_raw(pid)
}

/// Waits for one of all blocked signals and returns its number.
pub(crate) fn wait_signal() -> io::Result<i32> {
    // SAFETY: the set is initialised by sigfillset; no information about the signal is asked for.
    let signal = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigwaitinfo(&raw const set, ptr::null_mut())
    };
    check(libc::c_long::from(signal)).map(|_| signal)
}

/// Sends a signal by number to a process or, with a negative number, to a group or to all.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain integers.
    check(libc::c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Removes a capability from the bounding set; `EINVAL` when the kernel does not know it.
pub(crate) fn drop_bounding(capability: u32) -> io::Result<()> {
    // SAFETY: plain integers.
    check(libc::c_long::from(unsafe {
        libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0)
    }))
    .map(drop)
}

/// Marks all descriptors from `first` up close-on-exec, or closes them.
pub(crate) fn close_from(first: u32, close: bool) -> io::Result<()> {
    let flags = if close { 0 } else { libc::CLOSE_RANGE_CLOEXEC };
    // SAFETY: with the flag nothing is closed now; without it the caller is the reaper, which uses
    // no descriptor that is closed here.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(drop)
}

/// Closes all descriptors above the standard ones, but these.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    kept.sort_unstable();
    let mut first = 3;
    for last in kept.into_iter().map(Some).chain([None]) {
        let end = last.map_or(u32::MAX, |last| last.saturating_sub(1));
        if first <= end {
            // SAFETY: the caller is a process of its own that uses none of what is closed, and ends
            // without dropping what owned it.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, end, 0) })?;
        }
        first = last.map_or(u32::MAX, |last| last.max(first - 1) + 1);
    }
    Ok(())
}

/// Pointers to strings, and the null pointer that ends them.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let ends = [ptr::null()];
    strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
}

/// Whether a descriptor has this number.
pub(crate) fn is_open(number: RawFd) -> bool {
    // SAFETY: plain integers; nothing is changed.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// Passes descriptors on to the program that is executed next, with the numbers from `first` on, and
/// closes all others but the standard ones and `kept`, which is returned.
pub(crate) fn pass_on(
    passed: &[BorrowedFd<'_>],
    first: RawFd,
    kept: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let open: Vec<_> = passed.iter().copied().chain([kept]).collect();
    // Limits on descriptors count already, and are perhaps low.
    close_all_but(&open)?;
    let count = RawFd::try_from(passed.len()).map_err(io::Error::other)?;
    let away = |fd: &BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, first + count);
    let kept = away(&kept)?;
    let copies = passed.iter().map(away).collect::<Result<Vec<_>, _>>()?;
    for (number, copy) in (first..).zip(&copies) {
        // SAFETY: what had the number is closed, or is one of those that were copied, which the caller
        // does not use again: it executes a program, or ends.
        check(libc::c_long::from(unsafe {
            libc::dup2(copy.as_raw_fd(), number)
        }))?;
    }
    Ok(kept)
}

/// `execveat(2)` of an open file; returns only when it failed.
pub(crate) fn execveat(
    program: impl AsFd,
    arguments: &[CString],
    environment: &[CString],
) -> Errno {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and all strings live through the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOEXEC)
}

/// This process's environment, as it was executed with.
pub(crate) fn environment() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut lines = Vec::new();
    // SAFETY: the C library keeps an array of strings there that a null pointer ends; the process has one
    // thread, and nothing changes it.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            lines.push(CStr::from_ptr(*next).to_owned());
            next = next.add(1);
        }
    }
    lines
}

/// `execve(2)`; returns only when it failed.
pub(crate) fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and all strings live through the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOEXEC)
}

/// Ends the process at once, without running any handler.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: nothing runs after it.
    unsafe { libc::_exit(code) }
}
