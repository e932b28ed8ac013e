//! The monitor as a process: the one that is started makes way for another one, which is the first of namespaces of
//! its own (`vmm::jail::separate`). Both are children of whoever started the first, and in one process group.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, waitpgid, waitpid},
};

use crate::{clean, sys::ending};

/// Bytes of a dead process's words that are shown: what a panic or an error says at its start.
const MAX_WORDS: u64 = 4 << 10;

/// What a process that has ended wrote into a file, without what a terminal would obey; why it cannot be read, if it
/// cannot.
pub fn last_words(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(MAX_WORDS).read_to_end(&mut text));
    let text = match read {
        Ok(_) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    clean::lines(&text).into_owned()
}

/// Between two looks at a group that is about to end.
const PAUSE: Duration = Duration::from_millis(1);

/// A monitor that was started.
#[derive(Debug)]
pub struct Process {
    /// The first process's number, and that of the group for as long as anyone is in it.
    leader: Pid,
    /// The first one has ended, and is not in the system's list any more.
    made_way: bool,
    /// Of those that have ended, the first that did not end well; `None` for none.
    bad_end: Option<ExitStatus>,
}

impl Process {
    /// Starts it in a process group of its own: Ctrl-C is for the owner to hear.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        Ok(Self {
            leader: Pid::from_child(&child),
            made_way: false,
            bad_end: None,
        })
    }

    /// The process group.
    pub fn group(&self) -> Pid {
        self.leader
    }

    /// Takes the first process from the system's list once it has made way.
    pub fn settle(&mut self) {
        if self.made_way {
            return;
        }
        // One that has not ended yet is asked for again.
        if let Ok(Some((_, status))) = waitpid(Some(self.leader), WaitOptions::NOHANG) {
            self.made_way = true;
            self.note(status);
        }
    }

    /// Waits until all of it has ended, kills it when that takes longer than it may, and returns how it ended.
    /// What not even that ends, in the kernel's hands, is left behind.
    ///
    /// # Errors
    /// As `waitpid(2)`, or when it does not end.
    pub fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        if let Some(status) = self.wait_within(patience)? {
            return Ok(status);
        }
        self.kill();
        self.wait_within(ending::PATIENCE)?.ok_or_else(|| {
            let group = self.leader.as_raw_nonzero();
            io::Error::other(format!(
                "process group {group} does not end, though it was killed"
            ))
        })
    }

    /// A group has no descriptor to wait for.
    fn wait_within(&mut self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(PAUSE));
        }
    }

    /// How it ended, if all of it has.
    ///
    /// # Errors
    /// As `waitpid(2)`.
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        loop {
            match self.reap(WaitOptions::NOHANG)? {
                None => return Ok(Some(self.bad_end.unwrap_or_default())),
                Some(false) => return Ok(None),
                Some(true) => {}
            }
        }
    }

    /// Kills all of it. What has ended already is as it should be.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.leader, Signal::KILL);
    }

    /// Whether one more has ended; `None` when there are no more.
    fn reap(&mut self, options: WaitOptions) -> io::Result<Option<bool>> {
        loop {
            return match waitpgid(self.leader, options) {
                Ok(Some((process, status))) => {
                    self.made_way |= process == self.leader;
                    self.note(status);
                    Ok(Some(true))
                }
                Ok(None) => Ok(Some(false)),
                Err(Errno::CHILD) => Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    fn note(&mut self, status: WaitStatus) {
        let status = ExitStatus::from_raw(status.as_raw());
        if !status.success() {
            self.bad_end.get_or_insert(status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn(Command::new("/bin/sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn end_of_a_group_is_the_bad_one() {
        assert!(shell("exit 0").end(ending::PATIENCE).unwrap().success());
        assert_eq!(
            shell("exit 7").end(ending::PATIENCE).unwrap().code(),
            Some(7)
        );
        let mut again = shell("exit 3");
        let first = again.end(ending::PATIENCE).unwrap();
        assert_eq!(again.end(ending::PATIENCE).unwrap(), first);
        assert_eq!(again.try_wait().unwrap(), Some(first));
    }

    #[test]
    fn killing_reaches_all_of_the_group() {
        let mut process = shell("sleep 1000 & sleep 1000");
        assert_eq!(process.try_wait().unwrap(), None);
        process.kill();
        assert_eq!(
            process.end(ending::PATIENCE).unwrap().signal(),
            Some(libc::SIGKILL)
        );
    }

    #[test]
    fn first_process_is_taken_from_the_list_and_its_end_is_not_forgotten() {
        let mut process = shell("exit 9");
        while !process.made_way {
            process.settle();
        }
        assert_eq!(process.end(ending::PATIENCE).unwrap().code(), Some(9));
    }
}
