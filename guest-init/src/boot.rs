//! From the kernel's jump to the first message, and the machine's end.
//!
//! Before the host hears from init only what that needs is done; the rest is done while the host
//! answers.

use std::{
    cell::Cell,
    fmt::Display,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use contracts::guest::{CONTROL_PORT, GuestMessage, HOST_CID, VERSION};
use rustix::{
    fs::{CWD, Mode, OFlags, mkdir, open},
    io::{Errno, fcntl_getfd},
    mount::{
        MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_remount, move_mount, open_tree,
    },
    process::{DumpableBehavior, Signal, chroot, fchdir, set_dumpable_behavior},
    system::{RebootCommand, reboot, uname},
};

use crate::{
    cgroup,
    clock::{self, now},
    failure::Stage,
    root::MountedRoot,
    server::{Server, ServerError},
    setting::{OWN_PROGRAM, Setting},
    shared, sys,
};

/// Where containers' roots are put together.
const CONTAINERS: &str = "/run";

/// Where the control groups are mounted.
const CGROUPS: &str = "/cgroup";

/// Most descriptors of a process: what docker's packages give containers, unless they are told
/// otherwise; init itself needs some for each container.
const DESCRIPTORS: u64 = 1 << 20;

/// Linux's number of the limit on descriptors.
const RLIMIT_NOFILE: u32 = 7;

/// Linux's number of the limit on a user's processes, for which containers have `pids.max`.
const RLIMIT_NPROC: u32 = 6;

/// The part of its memory, one in so many, that the kernel keeps as free pages for each processor.
const FREE_PAGES_PART: &[u8] = b"1024";

/// Exit code of init after which the kernel panics, and with `panic=-1` resets the machine.
const PANIC: i32 = 101;

/// Init, from its first instruction to the machine's end.
pub fn run() -> ! {
    let init_at = now();
    if !rustix::process::getpid().is_init() {
        // No message: without the first process's duties there is no safe place to write one.
        sys::exit(PANIC);
    }
    std::panic::set_hook(Box::new(|panic| {
        say(panic);
        sys::exit(PANIC);
    }));
    if let Err(error) = work(init_at) {
        say(&format_args!("coracle-init: {error}"));
        // The host sees the channel close, and what was said on the console.
    }
    // The kernel restarts without writing back what a disk still lacks.
    rustix::fs::sync();
    // It may fail only for a process without the right to, which init is not.
    let _ = reboot(RebootCommand::Restart);
    sys::exit(PANIC)
}

/// Writes to the kernel's log, at the level that reaches the monitor from any guest; to standard
/// error where there is no `/dev` yet.
fn say(message: &dyn Display) {
    let log = open("/dev/kmsg", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = match log {
        Ok(log) => rustix::io::write(log, format!("<0>{message}\n").as_bytes()),
        Err(_) => rustix::io::write(rustix::stdio::stderr(), format!("{message}\n").as_bytes()),
    };
}

/// Why the machine cannot serve.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("cannot {0}: {1}")]
    Step(&'static str, std::io::Error),
    #[error("{0}")]
    Server(#[from] ServerError),
}

fn step<T, E: Into<std::io::Error>>(
    name: &'static str,
    result: Result<T, E>,
) -> Result<T, BootError> {
    result.map_err(|error| BootError::Step(name, error.into()))
}

fn work(init_at: u64) -> Result<(), BootError> {
    step(
        "mount /dev",
        mount_at("devtmpfs", "/dev", MountFlags::NOSUID),
    )?;
    step("open the standard streams", fill_standard_streams())?;
    // A stream that the other side closed is an error to handle, not an end.
    sys::set_signal(Signal::PIPE, true);
    let control = step(
        "connect to the host",
        sys::vsock_connect(HOST_CID, CONTROL_PORT, true),
    )?;
    step(
        "unblock the channel",
        rustix::io::ioctl_fionbio(&control, true),
    )?;
    let mut server = Server::new(control, setting())?;
    server.say(&GuestMessage::Hello {
        version: VERSION,
        kernel: uname().release().to_string_lossy().into_owned(),
        init_at,
        at: now(),
    })?;
    prepare()?;
    server.serve()?;
    Ok(())
}

fn setting() -> Setting {
    let widened = Cell::new(false);
    Setting {
        directory: PathBuf::from(CONTAINERS),
        cgroups: PathBuf::from(CGROUPS),
        program: PathBuf::from(OWN_PROGRAM),
        connect: Box::new(|port| sys::vsock_connect(HOST_CID, port, false)),
        mount_root: Box::new(move |root, place, shift| {
            // Layers that come while it runs are those of a guest for many containers.
            let is_shared = root.layers.iter().any(|layer| layer.range.is_some());
            if is_shared && !widened.replace(true) {
                shared::widen().stage(|| "share out what the kernel counts for all")?;
            }
            MountedRoot::mount(root, place, shift)
        }),
        set_clock: Box::new(clock::set),
    }
}

/// What containers need, done while the host answers.
fn prepare() -> Result<(), BootError> {
    // Its memory holds what no container may read, whatever it is allowed to.
    step(
        "forbid to look into init",
        set_dumpable_behavior(DumpableBehavior::NotDumpable),
    )?;
    for (limit, value) in [(RLIMIT_NOFILE, DESCRIPTORS), (RLIMIT_NPROC, u64::MAX)] {
        step("set limits", sys::set_rlimit(limit, value, value))?;
    }
    for directory in ["/proc", CGROUPS, CONTAINERS, "/sys"] {
        step("make directories", make_directory(directory))?;
    }
    step("seal the initial file system", seal())?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    step("mount /proc", mount_at("proc", "/proc", safe))?;
    step("set up memory", overcommit())?;
    step("set up free memory", keep_little())?;
    // A container with a user namespace may mount its own only where one is in view.
    step("mount /sys", mount_at("sysfs", "/sys", safe))?;
    step("mount /cgroup", mount_at("cgroup2", CGROUPS, safe))?;
    step(
        "mount /run",
        mount_at("tmpfs", CONTAINERS, MountFlags::NOSUID | MountFlags::NODEV),
    )?;
    step(
        "share out control groups",
        cgroup::delegate(Path::new(CGROUPS)),
    )?;
    cgroup::count_blocks(Path::new(CGROUPS));
    Ok(())
}

/// Keeps few free pages for each processor at hand: what lies there is not given back to the machine.
fn keep_little() -> Result<(), Errno> {
    let path = "/proc/sys/vm/percpu_pagelist_high_fraction";
    let file = match open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        // Kernels before 5.14 keep little by themselves.
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    rustix::io::write(&file, FREE_PAGES_PART).map(drop)
}

/// Lets programs ask for more memory than the guest has. They do so on any machine, and the limit
/// that counts is their control group's: who exceeds it is killed, and the host is told, as on a
/// machine of the usual size.
fn overcommit() -> Result<(), Errno> {
    let path = "/proc/sys/vm/overcommit_memory";
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, b"1").map(drop)
}

fn mount_at(kind: &str, target: &str, flags: MountFlags) -> Result<(), Errno> {
    match mount(kind, target, kind, flags, None) {
        Err(Errno::NOENT) => {
            make_directory(target)?;
            mount(kind, target, kind, flags, None)
        }
        // A kernel with CONFIG_DEVTMPFS_MOUNT may have been there before.
        Err(Errno::BUSY) => Ok(()),
        other => other,
    }
}

fn make_directory(path: &str) -> Result<(), Errno> {
    match mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// The kernel leaves descriptors 0 to 2 closed when there is no console. They must not become
/// something else that is then written to.
fn fill_standard_streams() -> Result<(), Errno> {
    let standard = [
        fcntl_getfd(rustix::stdio::stdin()),
        fcntl_getfd(rustix::stdio::stdout()),
        fcntl_getfd(rustix::stdio::stderr()),
    ];
    if standard.iter().all(Result::is_ok) {
        return Ok(());
    }
    for _ in standard {
        let null = open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd() <= 2 {
            // It stays where it is for as long as init lives.
            std::mem::forget(null);
        }
    }
    Ok(())
}

/// Makes the initial file system read-only, init's own program with it, and puts a copy of it on
/// top: the kernel pivots only away from a root that is mounted on something.
///
/// A container cannot write to init's program then, by whatever way it may get at it: through
/// `/proc/1/exe` of a container with an init of its own, for one (CVE-2019-5736).
fn seal() -> Result<(), Errno> {
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c"")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let copy = open_tree(CWD, "/", flags)?;
    move_mount(&copy, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    fchdir(&copy)?;
    chroot(".")
}
