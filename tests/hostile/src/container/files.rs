//! What of `/proc`, `/sys` and the control groups can be opened for writing, and what can be read there that
//! is not the container's.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::attempt::{attempt, name_of};

/// Most files that are listed one by one; the rest is counted.
const LISTED: usize = 40;

/// The device `/dev/null`.
const NULL: u64 = 1 << 8 | 3;

/// Files that have harmed machines, by name: the walk would not try those that are not there.
const KNOWN: [&str; 22] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
    "/proc/kcore",
    "/proc/kmem",
    "/proc/mem",
    "/proc/kallsyms",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/latency_stats",
    "/sys/kernel/uevent_helper",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/cgroup.freeze",
    "/dev/mem",
];

/// `attacker files`: the known ones, and then all that there are.
pub(super) fn run() {
    known();
    let (mut found, mut tried) = (Vec::new(), 0);
    for root in ["/proc", "/sys"] {
        walk(Path::new(root), &mut found, &mut tried);
    }
    found.sort();
    for path in found.iter().take(LISTED) {
        println!("writable: {}", path.display());
    }
    println!("writable in all: {}", found.len());
    // As many as there are: a walk that saw nothing would have found nothing.
    println!("walked: {}", if tried > 100 { "many" } else { "few" });
    attempt("make a control group", || {
        fs::create_dir("/sys/fs/cgroup/attack").map_err(|error| number(&error))?;
        Ok(0)
    });
}

/// Only those.
pub(super) fn known() {
    for path in KNOWN {
        // Opening one kills nobody: no child is needed for it.
        let outcome = open(path).map_or_else(name_of, |_| "done".into());
        println!("write {path}: {outcome}");
    }
}

fn number(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn open(path: impl AsRef<Path>) -> Result<u64, i32> {
    let metadata = fs::metadata(&path).map_err(|error| number(&error))?;
    // The administrator may open what nobody can write.
    if metadata.mode() & 0o222 == 0 {
        return Err(libc::EACCES);
    }
    // What stands for a masked path takes what is written to it, and it goes nowhere.
    if metadata.rdev() == NULL && !path.as_ref().starts_with("/dev") {
        return Err(libc::EACCES);
    }
    // One that waits for a reader, or a terminal, is none that harms.
    let mut options = OpenOptions::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = options.write(true).custom_flags(flags).open(path);
    opened.map(|_| 0).map_err(|error| number(&error))
}

/// Finds what can be opened for writing; processes, which are the container's own, are left out.
fn walk(directory: &Path, found: &mut Vec<PathBuf>, tried: &mut usize) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let name = entry.file_name();
        let of_process = directory == Path::new("/proc")
            && name
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit());
        if of_process || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), found, tried);
        } else if !kind.is_fifo() {
            *tried += 1;
            if open(entry.path()).is_ok() {
                found.push(entry.path());
            }
        }
    }
}
