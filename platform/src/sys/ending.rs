//! Ends of child processes, which are waited for and then brought about.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, ExitStatus},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// How long a child may take that has nothing left to do, or was killed: a hundred times what it takes in a
/// software host.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A child process, by a descriptor that no other process can come to have.
pub struct Watch(OwnedFd);

impl Watch {
    /// Watches a child that was not waited for yet.
    ///
    /// # Errors
    /// As `pidfd_open(2)`.
    pub fn new(child: &Child) -> io::Result<Self> {
        Ok(Self(pidfd_open(
            Pid::from_child(child),
            PidfdFlags::empty(),
        )?))
    }

    /// Waits until it has ended; false when it takes longer than it may.
    fn ends_within(&self, patience: Duration) -> bool {
        let time = Timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        retry_on_intr(|| poll(&mut watched, Some(&time))).is_ok_and(|ready| ready > 0)
    }

    /// Waits until it has ended, and kills it when it takes longer than it may.
    pub fn end(&self, patience: Duration) {
        if !self.ends_within(patience) {
            // It may just have ended.
            let _ = pidfd_send_signal(&self.0, Signal::KILL);
        }
    }
}

/// Waits until a child has ended, kills it when it takes longer than it may, and gives how it ended. One that
/// not even that ends, in the kernel's hands, is left behind.
///
/// # Errors
/// As `pidfd_open(2)` and `waitid(2)`, or when it does not end.
pub fn end(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let watch = Watch::new(child)?;
    watch.end(patience);
    if watch.ends_within(PATIENCE) {
        return child.wait();
    }
    let words = format!("process {} does not end, though it was killed", child.id());
    Err(io::Error::other(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Read,
        os::unix::process::ExitStatusExt,
        process::{Command, Stdio},
    };

    #[test]
    fn child_that_does_not_end_is_killed() {
        let mut child = Command::new("sh")
            .args([
                "-c",
                "trap '' TERM INT HUP; echo ready; while :; do sleep 1; done",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        let status = end(&mut child, Duration::from_millis(1)).unwrap();
        assert_eq!(status.signal(), Some(9));
    }

    #[test]
    fn child_that_ends_in_time_has_its_own_status() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        assert_eq!(end(&mut child, PATIENCE).unwrap().code(), Some(3));
    }
}
