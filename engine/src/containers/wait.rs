//! Waiting for the end of containers.

use std::os::fd::{AsFd, BorrowedFd};

use vmm::control::Socket;

use super::{Container, keeper::answer};
use crate::{Result, keeper::wire::Request};

/// A container that is waited for.
#[derive(Debug)]
pub struct Waiter {
    container: Container,
    /// Its keeper tells of the end here; without one it does not run.
    link: Option<Socket>,
}

impl Container {
    /// Waits until it does not run, which it may do already; a container that starts again by its restart policy has
    /// ended first.
    ///
    /// # Errors
    /// When it was removed meanwhile.
    pub fn wait(&self) -> Result<Waiter> {
        let request = Request::Wait {
            container: self.id().into(),
        };
        let live = self.record.state()?.status.is_live();
        let link = match live {
            // What cannot be asked ends just now.
            true => self.ask(&request).unwrap_or(None),
            false => None,
        };
        Ok(Waiter {
            container: self.clone(),
            link,
        })
    }
}

impl Waiter {
    /// Readable when the container has ended; `None` when it has already.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    /// Waits for the end; the exit code.
    ///
    /// # Errors
    /// When the container was removed meanwhile, and its keeper was killed before it could tell of the end.
    pub fn finish(self) -> Result<i32> {
        if let Some(Ok(Some(code))) = self.link.as_ref().map(answer) {
            return Ok(code.into());
        }
        let record = &self.container.record;
        let mut state = record.state()?;
        if state.status.is_live() {
            // It ended just now, in whatever way; its keeper has the last word.
            drop(record.keeper_lock());
            state = record.state()?;
        }
        Ok(state.exit_code)
    }
}
