//! Changes of a directory, told by a descriptor.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::Context;
use coracle_platform::clock;
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::{Errno, read, retry_on_intr},
};

use crate::Result;

/// A directory in which files grow, and are made and replaced. What it was that changed does not matter.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: OwnedFd,
    /// Somebody waits for changes: those that are told were looked after.
    wanted: bool,
}

impl Watch {
    /// Watches from now on.
    ///
    /// # Errors
    /// When it is not there, or too much is watched.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let watch = || {
            let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let flags = WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::MOVED_TO
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF;
            inotify::add_watch(&changes, directory, flags)?;
            Ok::<_, Errno>(changes)
        };
        let changes = watch().with_context(|| format!("cannot watch {}", directory.display()))?;
        Ok(Self {
            changes,
            wanted: false,
        })
    }

    /// Somebody waits for the descriptor from here on.
    pub(crate) fn wanted(&mut self) {
        self.wanted = true;
    }

    /// Forgets what has changed, if somebody has waited for it; the caller looks after that.
    ///
    /// # Errors
    /// As `read(2)`.
    pub(crate) fn empty(&mut self) -> Result<()> {
        if std::mem::take(&mut self.wanted) {
            let mut buffer = Vec::with_capacity(4096);
            loop {
                match retry_on_intr(|| read(&self.changes, spare_capacity(&mut buffer))) {
                    Ok(0) | Err(Errno::AGAIN) => break,
                    Ok(_) => buffer.clear(),
                    Err(error) => {
                        return Err(anyhow::Error::from(error)
                            .context("cannot wait for changes")
                            .into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for a change, at most until a time in nanoseconds since 1970.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub(crate) fn wait(&self, until: Option<u64>) -> Result<()> {
        let timeout = until.map(|until| {
            let left = until.saturating_sub(clock::wall());
            Timespec {
                tv_sec: i64::try_from(left / clock::SECOND).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(left % clock::SECOND).unwrap_or(0),
            }
        });
        let mut ready = [PollFd::new(&self.changes, PollFlags::IN)];
        retry_on_intr(|| poll(&mut ready, timeout.as_ref())).context("cannot wait for changes")?;
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }
}
