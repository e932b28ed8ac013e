//! Stopping containers.

use std::os::fd::{AsFd, BorrowedFd};

use contracts::keeper::Request;
use packets::Socket;

use super::{Container, keeper::answer};
use crate::Result;

/// How a container is stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// The signal that asks it; the container's own otherwise.
    pub signal: Option<u8>,
    /// Seconds after which it is killed; the container's own otherwise.
    pub seconds: Option<u64>,
}

/// A container that was asked to end. Ask several, and then wait for each: they end at the same time.
#[derive(Debug)]
#[must_use = "the container may still run until `finish` returns"]
pub struct Ending {
    container: Container,
    /// Its keeper tells of the end here; without one it does not run.
    link: Option<Socket>,
}

impl Container {
    /// Asks it to stop, if it runs.
    ///
    /// # Errors
    /// When its keeper cannot be reached.
    pub fn stop(&self, options: StopOptions) -> Result<Ending> {
        self.end(&Request::Stop {
            container: self.id().into(),
            signal: options.signal,
            seconds: options.seconds,
        })
    }

    /// Asks for its end, if it runs.
    pub(super) fn end(&self, request: &Request) -> Result<Ending> {
        let link = self.ask(request)?;
        Ok(self.ending(link))
    }

    /// It ends, and its keeper tells so; without a link it does not run.
    pub(super) fn ending(&self, link: Option<Socket>) -> Ending {
        Ending {
            container: self.clone(),
            link,
        }
    }
}

impl Ending {
    /// The container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Readable when it has ended; `None` when it did not run, so that nothing has changed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    /// Waits until it has ended and its keeper is gone: it can be started or removed at once.
    ///
    /// # Errors
    /// When its keeper refuses.
    pub fn finish(self) -> Result<()> {
        let Some(link) = self.link else {
            return Ok(());
        };
        answer(&link)?;
        drop(self.container.record.keeper_lock());
        Ok(())
    }
}
