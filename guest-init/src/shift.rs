//! The users of a container with a user namespace of its own, as they are outside of it.
//!
//! User 0 of such a container is a number that is nobody's outside, so that what gets out of the
//! container is no owner of anything: its root passes no check that the guest's passes. Files of the
//! image are shown to it through mounts that map their owners (`mount_setattr(2)`, EROFS since Linux
//! 5.19). What it writes is owned by the numbers outside, in the upper directory: a tmpfs could be
//! mapped only since Linux 6.3, and overlayfs works in its upper directory as init, who has no number
//! in the container.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Gid, Mode, OFlags, Uid, fchown, open},
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};

use crate::{
    failure::{Failure, Stage},
    sys::{self, Cloned},
};

/// Users of a container: as many as docker and systemd give to one.
pub const USERS: u32 = 1 << 16;

/// Numbers that no system gives to anybody: systemd's table of users and groups has them as unused,
/// and what administrators give out (`/etc/subuid`) lies below. The upper half is that of monitors
/// (`vmm/src/jail/mod.rs`).
const FIRST: u32 = 0x7000_0000;
const RANGES: u32 = 0x0800;

/// Which users outside a container's users are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift(u32);

impl Shift {
    /// That of a container, by its identifier: it must be the same when it starts again, since files
    /// on its disk have their owners by it.
    #[must_use]
    pub fn of(id: &str) -> Self {
        // FNV-1a: identifiers are random, and nobody gains by choosing one.
        let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Self(FIRST + hash % RANGES * USERS)
    }

    /// The number outside of the container's root.
    #[must_use]
    pub fn root(self) -> u32 {
        self.0
    }

    /// The number inside of one outside, where it is the container's.
    #[must_use]
    pub fn inside(self, outside: u32) -> Option<u32> {
        outside.checked_sub(self.0).filter(|inside| *inside < USERS)
    }

    /// Gives a file of init's to the container's root.
    ///
    /// # Errors
    /// As `fchown(2)`.
    pub fn give(self, file: impl AsFd) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(self.0), Gid::from_raw(self.0));
        fchown(file, Some(uid), Some(gid))
    }

    /// The same, of a terminal, whose group stays what it is.
    ///
    /// # Errors
    /// As `fchown(2)`.
    pub fn give_terminal(self, file: impl AsFd) -> Result<(), Errno> {
        fchown(file, Some(Uid::from_raw(self.0)), None)
    }

    /// Maps the users and groups of a process's user namespace.
    ///
    /// # Errors
    /// When the process has ended, or they are mapped.
    pub fn map(self, pid: Pid) -> Result<(), Failure> {
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
            fs::write(&path, format!("0 {} {USERS}", self.0)).stage(|| format!("write {path}"))?;
        }
        Ok(())
    }

    /// A user namespace with this mapping, for mounts to be mapped by.
    ///
    /// # Errors
    /// When the system makes no user namespaces.
    pub fn namespace(self) -> Result<OwnedFd, Failure> {
        let flags = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
        match sys::clone3(flags, None).map_err(refused)? {
            // It is there for its namespace, until it is killed.
            Cloned::Child => loop {
                let _ = sys::wait_signal();
            },
            Cloned::Parent { pid, pidfd } => {
                let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let namespace = self.map(pid).and_then(|()| {
                    open(&path, flags, Mode::empty()).stage(|| format!("open {path}"))
                });
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                let options = WaitIdOptions::EXITED;
                while let Err(Errno::INTR) = waitid(WaitId::PidFd(pidfd.as_fd()), options) {}
                namespace
            }
        }
    }
}

/// What a system that makes no user namespaces means.
fn refused(error: std::io::Error) -> Failure {
    Failure::setup(format!(
        "cannot make a user namespace: {error}; a system may forbid them \
         (/proc/sys/user/max_user_namespaces), and `--userns host` does without"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_lie_where_nobody_elses_are_and_stay_the_same() {
        for id in ["", "a", "0123456789abcdef", &"f".repeat(64)] {
            let shift = Shift::of(id);
            assert_eq!(shift, Shift::of(id));
            assert!(shift.root() >= FIRST);
            // Below systemd's foreign users, and the numbers that some programs take for negative.
            assert!(shift.root() + USERS <= 0x7800_0000);
            assert_eq!(shift.root() % USERS, 0);
        }
        assert_ne!(Shift::of("a"), Shift::of("b"));
    }

    #[test]
    fn number_outside_is_told_from_others() {
        let shift = Shift::of("a");
        assert_eq!(shift.inside(shift.root() + 1000), Some(1000));
        assert_eq!(shift.inside(shift.root() + USERS), None);
        assert_eq!(shift.inside(0), None);
    }
}
