//! This program's children, grandchildren too: whoever loses a parent becomes one.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, WaitOptions, getpid, pidfd_open, set_child_subreaper, waitpid},
};

/// Makes orphans among its descendants this process's children, so that their end can be seen.
///
/// # Errors
/// As `prctl(2)`.
pub(crate) fn adopt() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("cannot become the parent of orphans")
}

/// The processes whose parent is this one, which has one thread.
///
/// # Errors
/// When the kernel does not tell (CONFIG_PROC_CHILDREN).
pub(crate) fn children() -> Result<BTreeSet<i32>> {
    children_of(std::process::id().cast_signed())
}

fn children_of(pid: i32) -> Result<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.with_context(|| format!("cannot list the threads of process {pid}"))? {
        let path = task?.path().join("children");
        match fs::read_to_string(&path) {
            Ok(text) => found.extend(
                text.split_whitespace()
                    .filter_map(|word| word.parse::<i32>().ok()),
            ),
            // A thread that has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    Ok(found)
}

/// All that descend from this process, besides these and theirs.
///
/// # Errors
/// Those of [`children`].
pub(crate) fn descendants(besides: &BTreeSet<i32>) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    let mut left: Vec<i32> = children()?.difference(besides).copied().collect();
    while let Some(pid) = left.pop() {
        found.push(pid);
        // One that has ended meanwhile has none.
        left.extend(children_of(pid).unwrap_or_default());
    }
    Ok(found)
}

/// Waits until there are no children but these, and takes leave of the others.
///
/// # Errors
/// Those of [`children`], and as `poll(2)`.
pub(crate) fn until_only(these: &BTreeSet<i32>) -> Result<()> {
    loop {
        let others: Vec<Pid> = children()?
            .difference(these)
            .filter_map(|pid| Pid::from_raw(*pid))
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut handles = Vec::with_capacity(others.len());
        for pid in &others {
            match pidfd_open(*pid, PidfdFlags::empty()) {
                Ok(handle) => handles.push(handle),
                // It cannot end for good before this process has taken leave of it.
                Err(error) => return Err(error).context("cannot watch a process"),
            }
        }
        let mut waiting: Vec<_> = handles
            .iter()
            .map(|handle| PollFd::new(handle, PollFlags::IN))
            .collect();
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for processes"),
        }
        for pid in others {
            match waitpid(Some(pid), WaitOptions::NOHANG) {
                Ok(_) | Err(Errno::CHILD | Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for a process"),
            }
        }
    }
}
