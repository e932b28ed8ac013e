//! Watches for processes that enter the container, stops each as early as it can, and looks for what the
//! container must not get at: another root, more capabilities, no filter, descriptors and memory of init's.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
            process::parent_id,
        },
    },
    path::Path,
    thread,
};

use super::OVER;
use crate::sys::{self, call};

/// Requests of ptrace(2).
const INTERRUPT: u64 = 0x4207;
const SEIZE: u64 = 0x4206;
const DETACH: u64 = 17;

/// A number that a process of this container has not had yet is tried so far ahead of the last one.
const AHEAD: u32 = 3;

/// Where programs that were looked at are noted, for themselves.
const SEEN: &str = "/tmp/seen";

/// A secret of a neighbour's environment, in two halves, so that no program that only holds this one's
/// constants has it.
const SECRET: [&str; 2] = ["NEIGHBOURS_", "SECRET="];

/// Descriptors that are looked for in each process.
const DESCRIPTORS: u64 = 64;

/// Most bytes of a process's memory that are searched, from each of its writable areas.
const AREA: u64 = 4 << 20;

pub(super) fn run() {
    let _ = fs::create_dir_all(SEEN);
    let mut watch = Watch::new();
    println!("ready");
    let _ = std::io::stdout().flush();
    let mut last = std::process::id();
    while !Path::new(OVER).exists() {
        // Whoever comes next gets one of the next numbers.
        for _ in 0..2000 {
            for pid in last + 1..=last + AHEAD {
                if call(libc::SYS_ptrace, [SEIZE, pid.into(), 0, 0, 0, 0]).is_ok() {
                    watch.look(pid);
                    last = pid;
                }
            }
        }
        // Others may have used numbers up.
        last = last.max(youngest());
        thread::yield_now();
    }
    watch.tell();
}

/// The highest number of a process here.
fn youngest() -> u32 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Those that are there and were not seized are this program's, or too quick for it.
    numbers
        .max()
        .map_or(0, |pid: u32| pid.saturating_sub(AHEAD))
}

/// Stays until the watcher has looked at it.
pub(super) fn linger() {
    let note = format!("{SEEN}/{}", std::process::id());
    while !Path::new(&note).exists() && !Path::new(OVER).exists() {
        thread::yield_now();
    }
    println!("seen by {}", parent_id().min(1));
}

/// What was found, and how often.
struct Watch {
    found: BTreeMap<String, u32>,
    root: (u64, u64),
    mounts: Vec<String>,
    capabilities: u64,
    filtered: bool,
    looked: u32,
}

fn status(pid: &str, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

fn identity(path: &str) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

impl Watch {
    fn new() -> Self {
        let capabilities = status("self", "CapBnd:");
        let capabilities = capabilities.and_then(|text| u64::from_str_radix(&text, 16).ok());
        Self {
            found: BTreeMap::new(),
            root: identity("/").unwrap_or_default(),
            mounts: own_mounts(),
            capabilities: capabilities.unwrap_or_default(),
            filtered: status("self", "Seccomp:").is_some_and(|mode| mode == "2"),
            looked: 0,
        }
    }

    fn note(&mut self, what: String) {
        *self.found.entry(what).or_default() += 1;
    }

    /// Stops a process that was seized, looks at it and lets it go on.
    fn look(&mut self, pid: u32) {
        self.looked += 1;
        let traced = u64::from(pid);
        if call(libc::SYS_ptrace, [INTERRUPT, traced, 0, 0, 0, 0]).is_ok() {
            let mut state = 0_i32;
            let place = (&raw mut state) as u64;
            let all = u64::from(libc::__WALL.cast_unsigned());
            let _ = call(libc::SYS_wait4, [traced, place, all, 0, 0, 0]);
        }
        self.roots(pid);
        self.rights(pid);
        self.descriptors(pid);
        self.memory(pid);
        self.program(pid);
        let _ = call(libc::SYS_ptrace, [DETACH, traced, 0, 0, 0, 0]);
        let _ = fs::write(format!("{SEEN}/{pid}"), "");
    }

    fn roots(&mut self, pid: u32) {
        let root = identity(&format!("/proc/{pid}/root/"));
        if root.is_some_and(|there| there != self.root) {
            self.note("foreign root".into());
        }
        // It may be another directory, and not of another file system.
        let directory = identity(&format!("/proc/{pid}/cwd/"));
        if directory.is_some_and(|there| there.0 != self.root.0) {
            self.note("foreign cwd".into());
        }
        // The mounts that it has are named with their roots, which are none of the container's business either.
        let mounts = |pid: &str| fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok();
        if let (Some(own), Some(others)) = (mounts("self"), mounts(&pid.to_string()))
            && others.lines().next().map(first) != own.lines().next().map(first)
        {
            self.note("foreign mounts".into());
        }
    }

    fn rights(&mut self, pid: u32) {
        let pid = pid.to_string();
        for field in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let value = status(&pid, field).and_then(|text| u64::from_str_radix(&text, 16).ok());
            if value.is_some_and(|value| value & !self.capabilities != 0) {
                self.note(format!(
                    "more capabilities ({})",
                    field.trim_end_matches(':')
                ));
            }
        }
        if self.filtered && status(&pid, "Seccomp:").is_some_and(|mode| mode == "0") {
            self.note("no filter".into());
        }
    }

    /// Opens what its descriptors are of, above the three that its program has. None can be copied, whatever
    /// the container may trace: a socket's copy would know of the process at its other end.
    fn descriptors(&mut self, pid: u32) {
        let Ok(process) = call(libc::SYS_pidfd_open, [pid.into(), 0, 0, 0, 0, 0]) else {
            return;
        };
        for number in 3..DESCRIPTORS {
            let copy = call(libc::SYS_pidfd_getfd, [process, number, 0, 0, 0, 0]);
            if copy.map(sys::owned).is_ok() {
                self.note("a descriptor that could be copied".into());
            }
            let opened = fs::OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH)
                .open(format!("/proc/{pid}/fd/{number}"));
            if let Some(kind) = opened
                .ok()
                .and_then(|opened| kind_of(&opened, &self.mounts))
            {
                self.note(format!("descriptor: {kind}"));
            }
        }
        drop(sys::owned(process));
    }

    /// Searches its writable memory for what a neighbour was given.
    fn memory(&mut self, pid: u32) {
        let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else {
            return;
        };
        let Ok(memory) = fs::File::open(format!("/proc/{pid}/mem")) else {
            return;
        };
        let secret = SECRET.concat().into_bytes();
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let Some((from, to)) = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'))
            else {
                continue;
            };
            let number = |text| u64::from_str_radix(text, 16).unwrap_or_default();
            let (from, to) = (number(from), number(to));
            let length = to.saturating_sub(from).min(AREA);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            let read = memory.read_at(&mut bytes, from).unwrap_or_default();
            bytes.truncate(read);
            if bytes.windows(secret.len()).any(|window| window == secret) {
                self.note("a neighbour's secret".into());
            }
        }
    }

    /// Tries to change the program that it runs, where that is not the container's (CVE-2019-5736).
    fn program(&mut self, pid: u32) {
        let path = format!("/proc/{pid}/exe");
        let Some(program) = identity(&path) else {
            return;
        };
        if program.0 == self.root.0 {
            return;
        }
        let opened = fs::OpenOptions::new().write(true).open(&path);
        // The first byte of every program.
        if opened.is_ok_and(|file| file.write_at(b"\x7f", 0).is_ok()) {
            self.note("a program that can be written".into());
        }
    }

    fn tell(self) {
        println!("looked at: {}", self.looked);
        for (what, times) in &self.found {
            println!("found {times} times: {what}");
        }
        println!("holes: {}", self.found.len());
    }
}

/// What identifies the first mount: its device and its root.
fn first(line: &str) -> Vec<&str> {
    line.split(' ').skip(2).take(2).collect()
}

/// The numbers of the container's own mounts.
fn own_mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let first = text.lines().flat_map(|line| line.split(' ').next());
    first.map(str::to_owned).collect()
}

/// The number of the mount that a descriptor's file is in.
fn mount_of(descriptor: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    line.map(|number| number.trim().to_owned())
}

/// What a descriptor is, where no program in a container should have it.
fn kind_of(descriptor: &impl AsRawFd, mounts: &[String]) -> Option<String> {
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let link = fs::read_link(&path).ok()?.to_string_lossy().into_owned();
    let kind = fs::metadata(&path).ok()?.file_type();
    if kind.is_socket() {
        let room = 0_i32;
        let length = 4_u32;
        // SOL_SOCKET, SO_DOMAIN.
        let domain = call(
            libc::SYS_getsockopt,
            [
                descriptor.as_raw_fd().cast_unsigned().into(),
                1,
                39,
                (&raw const room) as u64,
                (&raw const length) as u64,
                0,
            ],
        );
        // Its report is a unix socket, and ends at the program's start.
        return (domain.is_ok() && room != 1).then(|| format!("socket of family {room}"));
    }
    let is_named = kind.is_dir() || kind.is_file();
    let own = mount_of(descriptor.as_raw_fd()).is_some_and(|number| mounts.contains(&number));
    if is_named && !own {
        return Some(without_number(&link).into());
    }
    // What has no name: timers, processes, namespaces.
    let nameless = link.starts_with("anon_inode:") || link.contains(":[");
    (nameless && !link.starts_with("pipe:")).then(|| without_number(&link).into())
}

fn without_number(link: &str) -> &str {
    let numbers = |letter: char| letter.is_numeric() || matches!(letter, '[' | ']');
    link.trim_end_matches(numbers)
}
