//! Control groups, version 2.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use contracts::guest::Resources;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, mkdir, open, openat, rmdir},
    io::{Errno, pread, write},
};

use crate::{
    clock::now,
    failure::{Failure, Stage},
};

/// Nanoseconds that killed processes may take to end, while which nothing else is done: a hundred
/// times what they need.
const END_TIMEOUT: u64 = 900_000_000;

/// Enough for `memory.events`, seven short lines, and for all values that are written.
const SMALL_FILE: usize = 1024;

/// Makes the controllers that limits need available to containers' groups. What the kernel lacks
/// is left out here, and named when a container asks for it.
///
/// # Errors
/// When `root` is not the root of a version 2 hierarchy.
pub fn delegate(root: &Path) -> io::Result<()> {
    let control = open(
        root.join("cgroup.subtree_control"),
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    if write(&control, b"+memory +pids +cpu").is_err() {
        for controller in ["+memory", "+pids", "+cpu"] {
            let _ = write(&control, controller.as_bytes());
        }
    }
    Ok(())
}

/// Makes the controller available that counts what containers read from disks and write to them. For a guest's own
/// kernel: on another it would change what the machine counts. Where there is none, nothing is counted.
pub fn count_blocks(root: &Path) {
    let path = root.join("cgroup.subtree_control");
    if let Ok(control) = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = write(&control, b"+io");
    }
}

/// The control group of a container.
#[derive(Debug)]
pub struct Cgroup {
    directory: OwnedFd,
    path: PathBuf,
}

impl Cgroup {
    /// Makes the group `id` below `root` and sets its limits.
    ///
    /// # Errors
    /// When the group exists, or the kernel refuses a limit.
    pub fn create(root: &Path, id: &str, limits: &Resources) -> Result<Self, Failure> {
        let path = root.join(id);
        mkdir(&path, Mode::from_raw_mode(0o755))
            .stage(|| format!("make control group {}", path.display()))?;
        let directory = open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .stage(|| format!("open control group {}", path.display()))?;
        let group = Self { directory, path };
        match group.limit(limits) {
            Ok(()) => Ok(group),
            Err(failure) => {
                group.remove();
                Err(failure)
            }
        }
    }

    fn limit(&self, limits: &Resources) -> Result<(), Failure> {
        if let Some(bytes) = limits.memory {
            self.set("memory.max", &bytes.to_string())?;
        }
        if let Some(bytes) = limits.swap {
            match self.write("memory.swap.max", &bytes.to_string()) {
                // A kernel without swap has no such file, and no swap to limit.
                Err(Errno::NOENT) => {}
                other => other.stage(|| format!("set memory.swap.max to {bytes}"))?,
            }
        }
        if let Some(count) = limits.pids {
            self.set("pids.max", &count.to_string())?;
        }
        if let Some(cpu) = limits.cpu {
            self.set("cpu.max", &format!("{} {}", cpu.quota, cpu.period))?;
        }
        Ok(())
    }

    fn set(&self, file: &str, value: &str) -> Result<(), Failure> {
        self.write(file, value)
            .stage(|| format!("set {file} to {value}"))
    }

    fn write(&self, file: &str, value: &str) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.directory, file, flags, Mode::empty())?;
        write(&file, value.as_bytes()).map(drop)
    }

    /// Whether the kernel killed one of its processes for lack of memory.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        self.memory_events().is_some_and(|file| kills(&file) > 0)
    }

    /// The file that tells of lack of memory, and that it has by a priority event. Without the memory controller
    /// there is no such file and no limit to exceed.
    #[must_use]
    pub fn memory_events(&self) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        openat(&self.directory, "memory.events", flags, Mode::empty()).ok()
    }

    /// Kills all of its processes.
    pub fn kill(&self) {
        // Absent before Linux 5.14; the PID namespace's end kills the same processes.
        let _ = self.write("cgroup.kill", "1");
    }

    /// Waits until its processes, which were killed, have ended, or some of a second has passed.
    pub fn wait_until_empty(&self) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(events) = openat(&self.directory, "cgroup.events", flags, Mode::empty()) else {
            return;
        };
        let deadline = now() + END_TIMEOUT;
        let mut buffer = [0; SMALL_FILE];
        while let Ok(length) = pread(&events, &mut buffer, 0)
            && populated(buffer.get(..length).unwrap_or_default())
        {
            let left = deadline.saturating_sub(now());
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: i64::try_from(left).unwrap_or_default(),
            };
            // The kernel says so when the file's content changes.
            let mut waited = [PollFd::new(&events, PollFlags::PRI)];
            if left == 0 || poll(&mut waited, Some(&timeout)).is_err() {
                return;
            }
        }
    }

    /// Whether its processes are stopped where they are.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        read(self, FREEZE).is_ok_and(|content| content.starts_with(b"1"))
    }

    /// A group in this one, without limits of its own.
    ///
    /// # Errors
    /// When it exists.
    pub fn inner(&self, id: &str) -> Result<Self, Failure> {
        Self::create(&self.path, id, &Resources::default())
    }

    /// Removes the group, or returns it if something runs in it.
    #[must_use]
    pub fn try_remove(self) -> Option<Self> {
        (rmdir(&self.path) == Err(Errno::BUSY)).then_some(self)
    }

    /// Removes the group, with those that were made in it; their processes must have ended.
    pub fn remove(self) {
        if rmdir(&self.path).is_err() {
            remove_all(&self.path);
        }
    }
}

/// Removes a group with all below it where nothing runs.
pub(crate) fn remove_all(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_all(&entry.path());
        }
    }
    // One that is in use stays, and is somebody's.
    let _ = rmdir(path);
}

/// The file that stops a group's processes where they are.
const FREEZE: &str = "cgroup.freeze";

/// Stops a group's processes where they are, or lets them go on.
///
/// # Errors
/// When the kernel cannot (Linux 5.2).
pub fn freeze(group: impl AsFd, frozen: bool) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(group, FREEZE, flags, Mode::empty())?;
    write(&file, if frozen { b"1" } else { b"0" }).map(drop)
}

/// The content of one of a group's files, as far as some pages go.
///
/// # Errors
/// As `open(2)` and `read(2)`.
pub fn read(group: impl AsFd, file: &str) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(group, file, flags, Mode::empty())?;
    let mut content = vec![0; 64 << 10];
    let mut length = 0;
    while let Some(rest) = content.get_mut(length..)
        && !rest.is_empty()
    {
        match rustix::io::read(&file, rest)? {
            0 => break,
            more => length += more,
        }
    }
    content.truncate(length);
    Ok(content)
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Reads `cgroup.events`: are there processes?
fn populated(events: &[u8]) -> bool {
    events
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"populated 1")
}

/// How many processes the kernel has killed for lack of memory, by a group's `memory.events`.
pub(crate) fn kills(events: impl AsFd) -> u64 {
    let mut buffer = [0; SMALL_FILE];
    let length = pread(events, &mut buffer, 0).unwrap_or_default();
    killed(buffer.get(..length).unwrap_or_default())
}

/// Reads `memory.events`: how many processes did the out-of-memory killer take?
fn killed(events: &[u8]) -> u64 {
    let mut counts = events
        .split(|byte| *byte == b'\n')
        .filter_map(|line| str::from_utf8(line.strip_prefix(b"oom_kill ")?).ok());
    counts.find_map(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn killed_process_is_seen_in_memory_events() {
        assert_eq!(killed(b"low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n"), 1);
    }

    #[test]
    fn group_with_processes_is_populated() {
        assert!(populated(b"populated 1\nfrozen 0\n"));
        assert!(!populated(b"populated 0\nfrozen 1\n"));
    }

    #[test]
    fn reached_limit_without_a_kill_is_no_kill() {
        let events = b"low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 1\n";
        assert_eq!(killed(events), 0);
    }
}
