//! The processes of a container.

use std::{ffi::CStr, fs, io::Write, os::fd::OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};

use super::Error;
use crate::cgroup;

/// Most processes that are listed: more than a person reads, and a bound on the work.
const MAX_PROCESSES: usize = 4096;

/// Longest command that is told.
const MAX_COMMAND: usize = 1024;

/// KiB of a page.
const PAGE: u64 = 4;

/// Most groups in each other that are looked into.
const MAX_DEPTH: usize = 16;

/// Writes a line for each.
pub(super) fn write(group: &OwnedFd, out: &mut impl Write) -> Result<(), Error> {
    let list = cgroup::read(group, "cgroup.procs")
        .map_err(|errno| Error(format!("cannot list the processes: {errno}")))?;
    let mut all = pids(&list);
    inner(group, &mut all, 0);
    for pid in all.iter().take(MAX_PROCESSES) {
        // One that has just ended is not listed.
        if let Some(line) = line(pid) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Adds the processes of the groups in a group: health commands have one each, and containers that may
/// make some.
fn inner(group: &OwnedFd, all: &mut Vec<String>, depth: usize) {
    if depth > MAX_DEPTH || all.len() > MAX_PROCESSES {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |name: &CStr| openat(group, name, flags, Mode::empty());
    for entry in open(c".")
        .and_then(Dir::new)
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory
            && name != c"."
            && name != c".."
            && let Ok(group) = open(name)
        {
            // A group of threads has no list of processes.
            if let Ok(list) = cgroup::read(&group, "cgroup.procs") {
                all.extend(pids(&list));
            }
            inner(&group, all, depth + 1);
        }
    }
}

fn pids(list: &[u8]) -> Vec<String> {
    let list = String::from_utf8_lossy(list);
    list.lines().map(str::to_owned).collect()
}

fn line(pid: &str) -> Option<String> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).ok();
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let user = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .next()?
        .to_owned();
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    // From the third field on, as proc(5) counts them.
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |number: usize| field(number)?.trim().parse::<u64>().ok();
    let time = number(14)? + number(15)?;
    let command = read("cmdline")?;
    let command = match command.iter().all(|byte| *byte == 0) {
        true => format!("[{name}]"),
        false => words(&command),
    };
    Some(format!(
        "{pid}\t{}\t{user}\t{}\t{time}\t{}\t{}\t{command}",
        field(4)?,
        field(3)?,
        number(22)?,
        number(24)? * PAGE,
    ))
}

/// A command line without what would break the line that it is in.
fn words(command: &[u8]) -> String {
    let command = command.get(..MAX_COMMAND).unwrap_or(command);
    let text = String::from_utf8_lossy(command);
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.trim_end_matches('\0').chars().map(plain).collect()
}
