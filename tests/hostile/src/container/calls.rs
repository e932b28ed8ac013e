//! System calls that a container has no business with, each with arguments that root outside of a container
//! would be given what it asks for with.

use std::os::fd::AsRawFd;

use crate::{
    attempt::{Refused, attempt},
    sys::{self, call, call_32, text},
};

/// Numbers of `linux/unistd.h` that the library does not name.
const OPEN_TREE: i64 = 428;
const MOVE_MOUNT: i64 = 429;
const FSOPEN: i64 = 430;
const MOUNT_SETATTR: i64 = 442;

/// The bit of a call of the x32 interface.
const X32: i64 = 0x4000_0000;

/// Numbers of calls for 32-bit programs.
const GETPID_32: u32 = 20;
const SOCKETCALL_32: u32 = 102;
const SOCKET_32: u32 = 359;

/// Address families (linux/socket.h).
const ALG: u64 = 38;
const VSOCK: u64 = 40;
const PACKET: u64 = 17;

fn none(number: i64) -> Result<u64, Refused> {
    call(number, [0; 6])
}

fn socket(family: u64, kind: i32) -> Result<u64, Refused> {
    let kind = kind.cast_unsigned().into();
    call(libc::SYS_socket, [family, kind, 0, 0, 0, 0])
}

fn with_path(number: i64, path: &str, second: u64) -> Result<u64, Refused> {
    let path = text(path);
    call(number, [path.as_ptr() as u64, second, 0, 0, 0, 0])
}

fn mount(kind: &str, target: &str, flags: u64) -> Result<u64, Refused> {
    let (kind, target) = (text(kind), text(target));
    let kind = kind.as_ptr() as u64;
    call(
        libc::SYS_mount,
        [kind, target.as_ptr() as u64, kind, flags, 0, 0],
    )
}

fn unshare(flags: i32) -> Result<u64, Refused> {
    call(
        libc::SYS_unshare,
        [flags.cast_unsigned().into(), 0, 0, 0, 0, 0],
    )
}

/// Opens a file and passes its descriptor on.
fn with_file(path: &str, action: impl FnOnce(u64) -> Result<u64, Refused>) -> Result<u64, Refused> {
    let file = std::fs::File::open(path);
    let file = file.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    action(file.as_raw_fd().cast_unsigned().into())
}

/// A file of the root by its handle, found by the root's own: what CVE-2014-3519 ("shocker") did.
fn open_by_handle() -> Result<u64, Refused> {
    // struct file_handle: room, kind, and eight bytes, which of most file systems are inode and generation.
    let handle: [u32; 4] = [8, 1, 2, 0];
    with_file("/", |root| {
        let handle = handle.as_ptr() as u64;
        call(libc::SYS_open_by_handle_at, [root, handle, 0, 0, 0, 0])
    })
}

fn perf_event() -> Result<u64, Refused> {
    // struct perf_event_attr: type 1 (software), its size, and counter 0 (processor time).
    let mut event = [0_u64; 16];
    event[0] = 1 | 128 << 32;
    let all = u64::MAX;
    call(
        libc::SYS_perf_event_open,
        [event.as_ptr() as u64, all, 0, all, 0, 0],
    )
}

/// A map of the kind array, of one entry.
fn bpf_map() -> Result<u64, Refused> {
    let map: [u32; 32] = std::array::from_fn(|index| match index {
        0 => 2,
        1 | 2 => 4,
        3 => 1,
        _ => 0,
    });
    call(libc::SYS_bpf, [0, map.as_ptr() as u64, 128, 0, 0, 0])
}

fn io_uring() -> Result<u64, Refused> {
    let parameters = [0_u32; 30];
    call(
        libc::SYS_io_uring_setup,
        [1, parameters.as_ptr() as u64, 0, 0, 0, 0],
    )
}

fn set_clock() -> Result<u64, Refused> {
    let time = [1_u64, 0];
    call(
        libc::SYS_clock_settime,
        [0, time.as_ptr() as u64, 0, 0, 0, 0],
    )
}

fn add_key() -> Result<u64, Refused> {
    let (kind, name) = (text("user"), text("attack"));
    let name = name.as_ptr() as u64;
    // Into this session's keyring.
    let ring = (-3_i64).cast_unsigned();
    call(
        libc::SYS_add_key,
        [kind.as_ptr() as u64, name, name, 6, ring, 0],
    )
}

/// Looks into PID 1, which is this program itself where it is the container's first process.
fn trace_first_process() -> Result<u64, Refused> {
    /// `PTRACE_SEIZE`.
    const SEIZE: u64 = 0x4206;
    call(libc::SYS_ptrace, [SEIZE, 1, 0, 0, 0, 0])
}

fn clone3_user_namespace() -> Result<u64, Refused> {
    // struct clone_args: flags, and signal as the fifth.
    let mut arguments = [0_u64; 11];
    arguments[0] = libc::CLONE_NEWUSER.cast_unsigned().into();
    arguments[4] = libc::SIGCHLD.cast_unsigned().into();
    let made = call(
        libc::SYS_clone3,
        [arguments.as_ptr() as u64, 88, 0, 0, 0, 0],
    );
    if made == Ok(0) {
        sys::exit(0);
    }
    made
}

/// A socket of a family by `socketcall`, whose arguments no filter sees.
fn socketcall(family: u32) -> Result<u64, Refused> {
    let words = sys::low_words([family, 1, 0])?;
    call_32(SOCKETCALL_32, 1, words)
}

pub(super) fn run() {
    namespaces();
    mounts();
    kernel();
    sockets();
    attempt("getpid by x32", || none(X32 | libc::SYS_getpid));
    attempt("getpid by int 80", || call_32(GETPID_32, 0, 0));
    attempt("vsock by int 80", || call_32(SOCKET_32, 40, 1));
    attempt("vsock by socketcall", || socketcall(40));
}

fn namespaces() {
    attempt("unshare user", || unshare(libc::CLONE_NEWUSER));
    attempt("unshare mount", || unshare(libc::CLONE_NEWNS));
    attempt("unshare network", || unshare(libc::CLONE_NEWNET));
    attempt("unshare cgroup", || unshare(libc::CLONE_NEWCGROUP));
    attempt("clone3 user", clone3_user_namespace);
    attempt("setns of itself", || {
        with_file("/proc/self/ns/uts", |namespace| {
            call(libc::SYS_setns, [namespace, 0, 0, 0, 0, 0])
        })
    });
}

fn mounts() {
    attempt("mount tmpfs", || mount("tmpfs", "/tmp", 0));
    attempt("mount proc", || mount("proc", "/tmp", 0));
    attempt("mount sysfs", || mount("sysfs", "/tmp", 0));
    attempt("mount cgroup2", || mount("cgroup2", "/tmp", 0));
    attempt("mount devtmpfs", || mount("devtmpfs", "/tmp", 0));
    // MS_REMOUNT | MS_BIND: the container's own /proc/sys, which is read-only.
    attempt("remount /proc/sys", || {
        mount("none", "/proc/sys", libc::MS_REMOUNT | libc::MS_BIND)
    });
    attempt("remount /sys", || mount("none", "/sys", libc::MS_REMOUNT));
    attempt("umount /proc/sys", || {
        with_path(libc::SYS_umount2, "/proc/sys", 2)
    });
    attempt("fsopen", || with_path(FSOPEN, "tmpfs", 0));
    attempt("open_tree", || {
        let root = text("/");
        let here = i64::from(libc::AT_FDCWD).cast_unsigned();
        call(OPEN_TREE, [here, root.as_ptr() as u64, 1, 0, 0, 0])
    });
    attempt("move_mount", || {
        let (from, to) = (text("/proc/sys"), text("/tmp"));
        let here = i64::from(libc::AT_FDCWD).cast_unsigned();
        let (from, to) = (from.as_ptr() as u64, to.as_ptr() as u64);
        call(MOVE_MOUNT, [here, from, here, to, 0, 0])
    });
    attempt("mount_setattr", || {
        let place = text("/proc/sys");
        // struct mount_attr: to set, to clear (read-only), propagation, user namespace.
        let change = [0_u64, 1, 0, 0];
        let here = i64::from(libc::AT_FDCWD).cast_unsigned();
        let (place, change) = (place.as_ptr() as u64, change.as_ptr() as u64);
        call(MOUNT_SETATTR, [here, place, 0, change, 32, 0])
    });
    attempt("pivot_root", || {
        let place = text(".");
        let place = place.as_ptr() as u64;
        call(libc::SYS_pivot_root, [place, place, 0, 0, 0, 0])
    });
    attempt("open by handle", open_by_handle);
    attempt("swapon", || with_path(libc::SYS_swapon, "/attacker", 0));
    attempt("quotactl", || with_path(libc::SYS_quotactl, "/attacker", 0));
}

fn kernel() {
    attempt("init_module", || none(libc::SYS_init_module));
    attempt("finit_module", || {
        with_file("/attacker", |file| {
            call(libc::SYS_finit_module, [file, 0, 0, 0, 0, 0])
        })
    });
    attempt("delete_module", || {
        with_path(libc::SYS_delete_module, "none", 0)
    });
    attempt("kexec_load", || none(libc::SYS_kexec_load));
    attempt("kexec_file_load", || none(libc::SYS_kexec_file_load));
    // Without its magic numbers, which would end the guest where it is allowed.
    attempt("reboot", || none(libc::SYS_reboot));
    attempt("iopl", || call(libc::SYS_iopl, [3, 0, 0, 0, 0, 0]));
    attempt("ioperm", || call(libc::SYS_ioperm, [0x3f8, 1, 1, 0, 0, 0]));
    attempt("acct", || with_path(libc::SYS_acct, "/attacker", 0));
    attempt("syslog", || {
        let room = [0_u8; 64];
        call(libc::SYS_syslog, [3, room.as_ptr() as u64, 64, 0, 0, 0])
    });
    attempt("clock_settime", set_clock);
    attempt("sethostname", || {
        let name = text("attack");
        call(libc::SYS_sethostname, [name.as_ptr() as u64, 6, 0, 0, 0, 0])
    });
    attempt("bpf", bpf_map);
    attempt("perf_event_open", perf_event);
    attempt("userfaultfd", || none(libc::SYS_userfaultfd));
    attempt("io_uring_setup", io_uring);
    attempt("add_key", add_key);
    attempt("keyctl", || {
        call(libc::SYS_keyctl, [0, (-3_i64).cast_unsigned(), 0, 0, 0, 0])
    });
    attempt("ptrace of PID 1", trace_first_process);
    attempt("personality", || {
        // ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC.
        call(libc::SYS_personality, [0x0044_0000, 0, 0, 0, 0, 0])
    });
}

fn sockets() {
    attempt("socket AF_ALG", || socket(ALG, libc::SOCK_SEQPACKET));
    attempt("socket AF_VSOCK", || socket(VSOCK, libc::SOCK_STREAM));
    attempt("socketpair AF_VSOCK", || {
        let room = [0_i32; 2];
        call(
            libc::SYS_socketpair,
            [VSOCK, 1, 0, room.as_ptr() as u64, 0, 0],
        )
    });
    attempt("socket AF_PACKET", || socket(PACKET, libc::SOCK_RAW));
    attempt("socket AF_INET raw", || {
        call(libc::SYS_socket, [2, 3, 1, 0, 0, 0])
    });
    attempt("connect to the control port", || {
        sys::vsock(1024, 0).map(|_| 0)
    });
}
