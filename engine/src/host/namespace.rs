//! Init on this machine's kernel, as root: a container without a machine, for who asks for one. Its init is the
//! guest's, and so is everything that the container sees and may do but its kernel.

use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use packets::Socket;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, MemfdFlags, SealFlags, fcntl_add_seals, flock, memfd_create},
    io::{Errno, FdFlags, fcntl_setfd},
};
use serde::{Deserialize, Serialize};

use coracle_platform::programs;
use coracle_platform::sys::ending;

/// Begins the names of control groups that are made.
const PREFIX: &str = "coracle-";

/// The word by which init is told that it is to have no machine.
const MODE: &str = "namespace";

/// What is needed to start it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Design {
    /// Files of the layers, from the base up.
    layers: Vec<PathBuf>,
    /// The control group that all of it will be in.
    pub(super) group: PathBuf,
}

/// Plans one for a container of this identifier.
///
/// # Errors
/// When this user or this system cannot have any.
pub fn design(id: &str, layers: &[(PathBuf, u64)]) -> Result<Design> {
    let root = check()?;
    sweep(&root);
    Ok(Design {
        layers: layers.iter().map(|(path, _)| path.clone()).collect(),
        group: root.join(format!("{PREFIX}{id}")),
    })
}

/// Whether there can be any; gives the root of the control groups.
///
/// # Errors
/// When not, with what would have to be.
pub fn check() -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "--isolation namespace needs root, for it uses this machine's own kernel; a microVM \
             (--isolation vm) does not"
        );
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot list mounts")?;
    cgroup_root(&mounts).context(
        "--isolation namespace needs control groups of version 2 (mount -t cgroup2 none \
         /sys/fs/cgroup); a microVM (--isolation vm) has its own",
    )
}

/// Where the control groups of version 2 are mounted, of lines as proc(5) has them.
pub(super) fn cgroup_root(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let place = before.split(' ').nth(4)?;
        (after.split(' ').next()? == "cgroup2").then(|| PathBuf::from(place))
    })
}

/// Where the kernel tells of its processors.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Paths of this machine that are masked beside those of every container, as moby's: how often each
/// processor was throttled tells what others do on it (GHSA-6fw5-f8r9-fgfm). A guest's processors have
/// no such files.
pub fn masked_paths() -> Vec<String> {
    throttles(Path::new(PROCESSORS))
}

fn throttles(processors: &Path) -> Vec<String> {
    let entries = fs::read_dir(processors).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path().join("thermal_throttle"));
    let mut paths: Vec<String> = paths
        .filter(|path| path.is_dir())
        .map(|path| path.display().to_string())
        .collect();
    paths.sort();
    paths
}

/// Starts it: its control socket, the outer of its processes, and what that writes on standard error.
///
/// # Errors
/// When the program is missing or cannot be started.
pub(super) fn start(design: &Design) -> Result<(Socket, Child, File)> {
    let (control, theirs) = Socket::pair().context("cannot make a socket")?;
    let theirs = OwnedFd::from(theirs);
    let words = super::memory_file("words", &[])?;
    let program = sealed_copy(&programs::own("coracle-init")?)?;
    fcntl_setfd(theirs.as_fd(), FdFlags::empty()).context("cannot pass a descriptor on")?;
    let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0("coracle-init")
        .arg(MODE)
        .arg(theirs.as_raw_fd().to_string())
        .arg(&design.group)
        .args(&design.layers)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words.try_clone().context("cannot duplicate a file")?)
        .process_group(0)
        .spawn()
        .context("cannot start coracle-init")?;
    Ok((control, child, words))
}

/// A copy of a program in memory that nobody can write to: a container that reaches init's program by
/// `/proc/1/exe`, or by that of what is just entering it, reaches no file of this machine's (CVE-2019-5736).
fn sealed_copy(path: &Path) -> Result<OwnedFd> {
    let program = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let copy = || {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("coracle-init", flags)?);
        file.write_all(&program)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals)?;
        Ok::<_, std::io::Error>(file)
    };
    copy()
        .map(OwnedFd::from)
        .context("cannot copy coracle-init into memory")
}

/// Ends whatever still runs in a control group, and takes it away with all below it: what was killed with its
/// init may take a moment longer than that.
pub(super) fn end_group(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        until_empty(path);
    }
    remove_group(path);
}

/// Waits until nothing runs in a control group any more, or it is gone.
fn until_empty(path: &Path) {
    let until = Instant::now() + ending::PATIENCE;
    let Ok(mut events) = File::open(path.join("cgroup.events")) else {
        return;
    };
    let mut text = String::new();
    loop {
        text.clear();
        let read = events
            .rewind()
            .and_then(|()| events.read_to_string(&mut text));
        let left = until.saturating_duration_since(Instant::now());
        if read.is_err() || !text.contains("populated 1") || left.is_zero() {
            return;
        }
        let limit = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        // A change since it was read ends the wait at once.
        let mut changed = [PollFd::new(&events, PollFlags::PRI)];
        if poll(&mut changed, Some(&limit)).is_err_and(|error| error != Errno::INTR) {
            return;
        }
    }
}

/// Takes a control group away with all below it, where nothing runs in it any more.
pub(super) fn remove_group(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    // One in which something runs stays, and is found again.
    let _ = fs::remove_dir(path);
}

/// Takes away what was left by those that were killed before they could: groups that nobody has locked.
pub(super) fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        if !ours {
            continue;
        }
        let Ok(group) = File::open(entry.path()) else {
            continue;
        };
        if flock(&group, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove_group(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_are_found_wherever_they_are_mounted() {
        let mounts = "22 1 0:20 / / rw - ext4 /dev/vda rw\n\
            30 22 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 none rw\n";
        assert_eq!(cgroup_root(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup_root("22 1 0:20 / / rw - cgroup cgroup rw\n"), None);
    }

    #[test]
    fn throttling_of_every_processor_is_masked() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "cpu0/thermal_throttle",
            "cpu1",
            "cpu10/thermal_throttle",
            "vulnerabilities",
        ] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let paths = throttles(root.path());
        assert_eq!(paths.len(), 2, "{paths:?}");
        for (path, name) in paths.iter().zip(["cpu0", "cpu10"]) {
            assert!(
                path.ends_with(&format!("/{name}/thermal_throttle")),
                "{path}"
            );
        }
    }

    #[test]
    fn groups_that_are_in_use_are_not_swept() {
        let root = tempfile::tempdir().unwrap();
        let (used, left) = (root.path().join("coracle-a"), root.path().join("coracle-b"));
        for group in [&used, &left] {
            fs::create_dir_all(group.join("containers/x")).unwrap();
        }
        fs::create_dir(root.path().join("another")).unwrap();
        let lock = File::open(&used).unwrap();
        flock(&lock, FlockOperation::LockShared).unwrap();
        sweep(root.path());
        assert!(used.exists() && !left.exists());
        assert!(root.path().join("another").exists());
        drop(lock);
        sweep(root.path());
        assert!(!used.exists());
    }

    #[test]
    fn copy_of_a_program_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs::write(&path, "content").unwrap();
        let copy = File::from(sealed_copy(&path).unwrap());
        let again = fs::OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{}", copy.as_raw_fd()));
        assert!(again.and_then(|mut file| file.write_all(b"x")).is_err());
    }
}
