//! A cgroup for a monitor, below the one that its owner is in, where this user may make one there: what the monitor
//! takes can be seen, and ended, as one thing, whatever becomes of its owner.
//!
//! Its owner has it locked, and removes it when the monitor has ended; nobody waits for that before the owner itself
//! ends. One that nobody has locked was left by an owner that was killed, and is taken away by the next one.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock},
};

use super::namespace;

/// Begins the names of monitors' cgroups, as those of containers without a machine.
const PREFIX: &str = "coracle-monitor-";

/// Processes and threads that a monitor may have, where the system counts them: 32 processors, and a few.
const MAX_THREADS: &str = "64";

/// Seconds that a monitor which has reported may take to end. The system takes its machine apart meanwhile, which is
/// some timer ticks.
const PATIENCE: i64 = 10;

/// Those whose monitor is about to end.
static ENDING: Mutex<Vec<Group>> = Mutex::new(Vec::new());

/// How many this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A monitor's cgroup. It is removed when this is dropped, if nothing is in it any more.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    /// Locked for as long as it lives.
    directory: File,
}

impl Group {
    /// Makes one in the cgroup that this process is in; `None` where that may not be.
    pub(crate) fn make() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let parent = place(&mounts, &own)?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        Self::make_in(&parent, &name).ok()
    }

    fn make_in(parent: &Path, name: &str) -> io::Result<Self> {
        let path = parent.join(name);
        // One of the same name was left by a process of the same number.
        let made = fs::create_dir(&path).or_else(|_| {
            fs::remove_dir(&path)?;
            fs::create_dir(&path)
        });
        made?;
        let lock = || {
            let directory = File::open(&path)?;
            flock(&directory, FlockOperation::NonBlockingLockShared)?;
            Ok(directory)
        };
        match lock() {
            Ok(directory) => {
                // Most systems count them only where an administrator has asked for it.
                let _ = fs::write(path.join("pids.max"), MAX_THREADS);
                namespace::sweep(parent);
                Ok(Self { path, directory })
            }
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }
}

impl Group {
    /// Leaves it, whose monitor is about to end, to [`remove_all`].
    pub(super) fn leave(self) {
        let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
        // Those before it are empty by now, most likely.
        ending.retain(|group| group.is_populated().unwrap_or(false));
        ending.push(self);
    }

    /// Whether something is in it.
    fn is_populated(&self) -> io::Result<bool> {
        let events = fs::read_to_string(self.path.join("cgroup.events"))?;
        Ok(events.lines().any(|line| line == "populated 1"))
    }

    /// Waits until nothing is in it any more, and after that time kills what is.
    fn empty(&self) -> io::Result<()> {
        let mut events = File::open(self.path.join("cgroup.events"))?;
        let patience = Timespec {
            tv_sec: PATIENCE,
            tv_nsec: 0,
        };
        let mut text = String::new();
        loop {
            text.clear();
            events.rewind()?;
            events.read_to_string(&mut text)?;
            if !text.lines().any(|line| line == "populated 1") {
                return Ok(());
            }
            // The kernel says by this when a line of the file has changed.
            let mut changed = [PollFd::new(&events, PollFlags::PRI)];
            match poll(&mut changed, Some(&patience)) {
                Ok(0) => return fs::write(self.path.join("cgroup.kill"), "1"),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Removes the cgroups of monitors that are about to end, once they have: the last that an owner does.
pub fn remove_all() {
    let mut ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    for group in ending.drain(..) {
        // What cannot be emptied is swept by the next owner.
        let _ = group.empty();
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One in which something still is, is swept by the next owner.
        let _ = fs::remove_dir(&self.path);
    }
}

/// The directory of the cgroup of version 2 that a process is in, of what proc(5) tells.
fn place(mounts: &str, own: &str) -> Option<PathBuf> {
    let root = namespace::cgroup_root(mounts)?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_group_is_found_in_the_tree_of_version_2() {
        let mounts = "30 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n";
        let own = "4:memory:/elsewhere\n0::/user.slice/one.scope\n";
        let expected = "/sys/fs/cgroup/unified/user.slice/one.scope";
        assert_eq!(place(mounts, own), Some(expected.into()));
        assert_eq!(place(mounts, "4:memory:/\n"), None);
        assert_eq!(place("", own), None);
    }

    #[test]
    fn group_goes_with_its_owner_and_one_that_was_left_with_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join("coracle-monitor-0");
        fs::create_dir(&left).unwrap();
        let group = Group::make_in(parent.path(), "coracle-monitor-1").unwrap();
        let second = Group::make_in(parent.path(), "coracle-monitor-2").unwrap();
        assert!(group.path.exists() && second.path.exists() && !left.exists());
        // The file that stands for a controller's, which goes with a real one.
        let _ = fs::remove_file(group.path.join("pids.max"));
        let path = group.path.clone();
        drop(group);
        assert!(!path.exists() && second.path.exists());
    }
}
