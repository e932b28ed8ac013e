//! A software host: a machine emulated by QEMU whose Linux offers a real KVM, for systems whose
//! own cannot run a guest.
//!
//! ```text
//! command ── socket ── broker ── one byte channel ── agent ── control socket ── coracle-vmm
//! (outside)           (outside)     (virtio-serial)  (inside)                    (inside)
//! ```
//!
//! Only the monitor runs inside. It finds kernels, images and itself at the same paths as
//! outside, whose root is the machine's root, read-only; only the directory of containers' disks can be written.
//! What passes between a command and its
//! monitor is the same as without a machine: a control socket, and streams that come with its
//! packets.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
extern crate coracle_terminal;

pub mod agent;
pub mod broker;
mod connect;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod kernel;
pub mod mux;
mod qemu;
pub mod relay;
mod requirements;
mod share;
mod shell;
mod sys;
pub mod virtual_time;
pub mod wire;

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use contracts::monitor::{Extent, Plan};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

pub use qemu::FOR_KERNELS;
pub use shell::shell;

use coracle_platform::Directories;
use coracle_platform::programs;
use wire::{Reply, Request};

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";

/// Name of the byte channel's port in the machine.
const PORT: &str = "coracle";

/// Name of the share of containers' disks in the machine.
const DISKS: &str = "disks";

/// Name of the broker's socket in its directory.
const SOCKET: &str = "socket";

/// Directories of the root that are the machine's own.
const OWN_DIRECTORIES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// How the software host is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// It is up; if not, nothing else means anything.
    pub running: bool,
    /// Process identifier of its broker.
    pub pid: Option<u32>,
    /// Seconds since it is up.
    pub seconds: u64,
    /// Number of its processors.
    pub processors: usize,
    /// MiB of its memory.
    pub memory_mib: u64,
    /// Monitors and shells that run in it.
    pub clients: usize,
    /// Seconds without clients after which it stops.
    pub idle_seconds: u64,
    /// Version of its kernel.
    pub kernel: String,
}

/// Tells how the software host is, without starting it.
///
/// # Errors
/// When its broker cannot be asked.
pub fn status(directories: &Directories) -> Result<Status> {
    let Some(packets) = connect::running(directories)? else {
        return Ok(Status::default());
    };
    match connect::ask(&packets, &Request::Status, None)? {
        Some(Reply::Status(status)) => Ok(status),
        // It is just ending.
        _ => Ok(Status::default()),
    }
}

/// Checks that a software host could be started: all programs are installed.
///
/// # Errors
/// When some are not; they are all named, with what to do.
pub fn check(directories: &Directories) -> Result<()> {
    requirements::check(&directories.cache)
}

/// Starts the software host if it is not up, and waits until it is.
///
/// # Errors
/// When it cannot be started.
pub fn start(directories: &Directories) -> Result<()> {
    connect::begin(directories, &Request::Status, None).map(drop)
}

/// Stops the software host, with all that runs in it, and waits until it is gone.
///
/// # Errors
/// When its broker cannot be asked.
pub fn stop(directories: &Directories) -> Result<()> {
    // First: what runs in it sees its end before this command does.
    connect::note_stop(directories)?;
    let Some(packets) = connect::running(directories)? else {
        return Ok(());
    };
    // There is no reply: the connection closes when the broker is gone, with its children.
    let asked = connect::ask(&packets, &Request::Stop, None).map(drop);
    if asked.is_err() {
        // It is still up.
        connect::forget_stop(directories);
    }
    asked
}

/// Whether a person has stopped the software host, and nobody has started it again since. A policy by which
/// containers start again is no reason to.
pub fn was_stopped(directories: &Directories) -> bool {
    connect::was_stopped(directories)
}

/// Starts a monitor in the software host, which is started if it is not up; gives the monitor's
/// control socket, as [`contracts::monitor`] says.
///
/// # Errors
/// When the software host cannot be started, or a path of the plan does not exist in it.
pub fn spawn_monitor(directories: &Directories, plan: &Plan) -> Result<OwnedFd> {
    let program = programs::find("coracle-vmm")?;
    let program = visible(&program)?;
    let program = program
        .to_str()
        .context("the path of coracle-vmm is not UTF-8")?
        .to_owned();
    let disks = directories.disks();
    let plan = with_visible_paths(plan, &disks)?;
    let plan = serde_json::to_vec(&plan).context("cannot write the plan")?;
    let plan = memory_file(&plan).context("cannot make a file in memory")?;
    let packets = connect::begin(
        directories,
        &Request::Monitor { program },
        Some(plan.as_fd()),
    )?;
    Ok(packets.into())
}

fn memory_file(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("plan", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}

/// The plan with paths as they are in the machine, where files in `disks` can be written.
fn with_visible_paths(plan: &Plan, disks: &Path) -> Result<Plan> {
    let mut plan = plan.clone();
    plan.kernel = visible(&plan.kernel)?;
    plan.initramfs = plan.initramfs.as_deref().map(visible).transpose()?;
    for disk in &mut plan.disks {
        for extent in &mut disk.extents {
            if let Extent::File { path, .. } = extent {
                if !disk.read_only && !path.starts_with(disks) {
                    bail!(
                        "{} is to be written, and a software host can only write to files in {}",
                        path.display(),
                        disks.display()
                    );
                }
                *path = visible(path)?;
            }
        }
    }
    Ok(plan)
}

/// The path, absolute, by which a file of the outside is known in the machine.
///
/// # Errors
/// When it is in a directory that the machine has of its own.
pub fn visible(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path)
        .with_context(|| format!("cannot make {} absolute", path.display()))?;
    let own = OWN_DIRECTORIES.iter().any(|own| absolute.starts_with(own));
    if own
        || absolute
            .components()
            .any(|component| component == Component::ParentDir)
    {
        bail!(
            "{} cannot be used in a software host, which has its own /dev, /proc and /sys; copy \
             it to another directory",
            path.display()
        );
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::monitor::Disk;

    fn plan(kernel: &str, disk: Disk) -> Plan {
        Plan {
            kernel: kernel.into(),
            initramfs: None,
            command_line: String::new(),
            memory_mib: 64,
            cpus: 1,
            disks: vec![disk],
            vsock_cid: None,
            boot_deadline_ms: 0,
            require_jail: false,
        }
    }

    fn disk(read_only: bool) -> Disk {
        let path = "/store/layer".into();
        Disk {
            extents: vec![Extent::File {
                path,
                offset: 0,
                length: 512,
            }],
            read_only,
        }
    }

    #[test]
    fn relative_paths_become_absolute() {
        let plan = with_visible_paths(&plan("vmlinux", disk(true)), Path::new("/disks")).unwrap();
        assert_eq!(
            plan.kernel,
            std::env::current_dir().unwrap().join("vmlinux")
        );
    }

    #[test]
    fn file_in_a_directory_that_the_machine_has_of_its_own_is_refused() {
        for kernel in [
            "/dev/shm/vmlinux",
            "/proc/self/fd/3",
            "/srv/../dev/shm/vmlinux",
        ] {
            let plan = plan(kernel, disk(true));
            let error = with_visible_paths(&plan, Path::new("/disks")).unwrap_err();
            assert!(error.to_string().contains(kernel), "{error}");
        }
    }

    #[test]
    fn only_disks_of_containers_can_be_written() {
        let plan = plan("/vmlinux", disk(false));
        let error = with_visible_paths(&plan, Path::new("/disks")).unwrap_err();
        assert!(error.to_string().contains("/store/layer"), "{error}");
        assert!(with_visible_paths(&plan, Path::new("/store")).is_ok());
    }
}
