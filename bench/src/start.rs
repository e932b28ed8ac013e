//! One start, from the command's execution to the last process that is left of it.

use std::{
    io::{Read, Seek, Write},
    os::fd::AsFd,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::clock::now;
use crate::processes;

/// Bytes of what a command writes that are kept.
const MAX_OUTPUT: usize = 1 << 20;

/// Bytes that are read at a time.
const PIECE: usize = 16 << 10;

/// A start that was watched; times are of [`now`].
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// The command is executed.
    pub(crate) begun: u64,
    /// Its first byte of output is here.
    pub(crate) first_byte: Option<u64>,
    /// The command has ended.
    pub(crate) ended: u64,
    /// No process of it is left.
    pub(crate) freed: u64,
    /// How the command ended, as a shell tells.
    pub(crate) code: i32,
    pub(crate) output: Vec<u8>,
    pub(crate) words: String,
}

impl Start {
    /// Why it failed, in the command's words: of a Coracle that tells its steps, only the reason.
    pub(crate) fn reason(&self) -> String {
        let told = self.words.lines().rev().find_map(|line| {
            let told: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(told.get("error")?.as_str()?.to_owned())
        });
        told.unwrap_or_else(|| self.words.trim().to_owned())
    }
}

/// Runs a command, and waits until nothing of it is left.
///
/// # Errors
/// When it cannot be run or watched.
pub(crate) fn to_the_end(command: Command) -> Result<Start> {
    let before = processes::children()?;
    let mut start = until_it_ends(command)?;
    processes::until_only(&before)?;
    start.freed = now();
    Ok(start)
}

/// Runs a command that may leave something behind.
///
/// # Errors
/// When it cannot be run or watched.
pub(crate) fn until_it_ends(mut command: Command) -> Result<Start> {
    let mut words = tempfile::tempfile().context("cannot make a temporary file")?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(words.try_clone()?);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut start = Start {
        begun: now(),
        ..Start::default()
    };
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let mut output = child.stdout.take().context("a pipe has no end")?;
    let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        .context("cannot watch a process")?;
    let mut piece = vec![0; PIECE];
    let mut open = true;
    loop {
        let mut waiting = vec![PollFd::new(&end, PollFlags::IN)];
        if open {
            waiting.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
        }
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for a command"),
        }
        let ready = |index: usize| {
            waiting
                .get(index)
                .is_some_and(|one| !one.revents().is_empty())
        };
        let (ended, readable) = (ready(0), ready(1));
        if readable {
            let length = output.read(&mut piece)?;
            start.first_byte = start.first_byte.or_else(|| (length > 0).then(now));
            start.output.extend(piece.iter().take(length));
            start.output.truncate(MAX_OUTPUT);
            open = length > 0;
        } else if ended {
            start.ended = now();
            break;
        }
    }
    let status = child.wait().context("cannot wait for a command")?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
    start.code = status.code().unwrap_or(128 + signal);
    words.flush()?;
    words.rewind()?;
    let mut text = Vec::new();
    words.take(MAX_OUTPUT as u64).read_to_end(&mut text)?;
    start.words = String::from_utf8_lossy(&text).into_owned();
    Ok(start)
}

/// The same, of a command that must succeed.
///
/// # Errors
/// When it fails: with its words.
pub(crate) fn that_succeeds(command: Command) -> Result<Start> {
    let name = command.get_program().to_string_lossy().into_owned();
    let start = until_it_ends(command)?;
    if start.code != 0 {
        bail!("{name} failed ({}): {}", start.code, start.reason());
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn first_byte_and_end_are_seen_in_their_order() {
        let start = until_it_ends(shell("echo one; echo two >&2; exit 3")).unwrap();
        assert_eq!((start.code, start.words.as_str()), (3, "two\n"));
        assert_eq!(start.output, b"one\n");
        let first = start.first_byte.unwrap();
        assert!(start.begun < first && first <= start.ended);
    }

    #[test]
    fn command_that_writes_nothing_has_no_first_byte() {
        let start = until_it_ends(shell("kill -9 $$")).unwrap();
        assert_eq!((start.code, start.first_byte), (137, None));
    }

    #[test]
    fn reason_is_what_a_coracle_tells_or_all_words() {
        let words = |words: &str| Start {
            words: words.into(),
            ..Start::default()
        };
        let told = words("warning\n{\"error\":\"no kernel\",\"timeline\":[]}\n");
        assert_eq!(told.reason(), "no kernel");
        assert_eq!(words(" no\nway \n").reason(), "no\nway");
    }

    #[test]
    fn failure_is_told_with_the_commands_words() {
        let error = that_succeeds(shell("echo why >&2; exit 1")).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }
}
