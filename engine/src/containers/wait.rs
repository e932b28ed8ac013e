//! Waiting for the end of containers.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use contracts::keeper::{Event, Request};
use packets::Socket;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};

use super::{Container, attachment::unavailable};
use crate::{Result, keeper::client, watch::Watch};

pub use contracts::keeper::Until as WaitCondition;

/// How a container that was waited for has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// Why it could not be started, or why its end is not known.
    pub error: Option<String>,
}

/// A container that is waited for.
#[derive(Debug)]
pub struct Waiter {
    container: Container,
    condition: WaitCondition,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Its keeper tells of the end.
    Running(Socket),
    /// It has ended, and its record is still there.
    Ended(Outcome, Watch),
    /// Nothing has to be waited for.
    Over(Outcome),
}

impl Container {
    /// Waits for its end. A container that starts again by its restart policy has ended first, but is not to be
    /// removed. One that does not run is held by a keeper where its next end is waited for.
    ///
    /// # Errors
    /// When it was removed meanwhile, or its keeper cannot be reached.
    pub fn wait(&self, condition: WaitCondition) -> Result<Waiter> {
        let state = self.record.state()?;
        let asked = match (state.status.is_live(), condition) {
            (true, _) => {
                let container = self.id().into();
                let until = condition;
                // What cannot be asked ends just now.
                self.ask(&Request::Wait { container, until })
                    .unwrap_or(None)
            }
            (false, WaitCondition::NotRunning) => None,
            (false, _) => {
                let link = client::wait(&self.record, condition, &self.engine.directories);
                Some(link.map_err(unavailable)?)
            }
        };
        let mut waiter = Waiter {
            container: self.clone(),
            condition,
            phase: Phase::Over(Outcome::default()),
        };
        match asked {
            Some(link) => waiter.phase = Phase::Running(link),
            None => waiter.ended(None)?,
        }
        Ok(waiter)
    }
}

impl Waiter {
    /// One that this keeper tells of the end.
    #[cfg(test)]
    pub(super) fn told_by(container: &Container, condition: WaitCondition, link: Socket) -> Self {
        Self {
            container: container.clone(),
            condition,
            phase: Phase::Running(link),
        }
    }

    /// Readable when [`check`](Self::check) is to be called; `None` when nothing has to be waited for.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Running(link) => Some(link.as_fd()),
            Phase::Ended(_, watch) => Some(watch.as_fd()),
            Phase::Over(_) => None,
        }
    }

    /// How it has ended, if what is waited for has come. Does not wait once the descriptor is readable.
    ///
    /// # Errors
    /// When the container was removed meanwhile, and its keeper was killed before it could tell of the end.
    pub fn check(&mut self) -> Result<Option<Outcome>> {
        match &mut self.phase {
            Phase::Running(link) => {
                let received = link.receive::<Event>();
                let received = received.context("lost connection to the container's keeper");
                match received.map_err(unavailable)? {
                    Some((Event::Exited(exit), _)) => {
                        let code = exit.code.into();
                        self.ended(Some(Outcome { code, error: None }))?;
                    }
                    Some((Event::Failed { message, code }, _)) => self.ended(Some(Outcome {
                        code: code.into(),
                        error: Some(message),
                    }))?,
                    // It ends just now.
                    Some((Event::Refused { .. }, _)) | None => self.ended(None)?,
                    Some(_) => {}
                }
            }
            Phase::Ended(outcome, watch) => {
                watch.empty()?;
                if self.container.is_gone() {
                    self.phase = Phase::Over(std::mem::take(outcome));
                } else {
                    watch.wanted();
                }
            }
            Phase::Over(_) => {}
        }
        match &self.phase {
            Phase::Over(outcome) => Ok(Some(outcome.clone())),
            Phase::Running(_) | Phase::Ended(..) => Ok(None),
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn finish(mut self) -> Result<Outcome> {
        loop {
            if let Some(descriptor) = self.descriptor() {
                let mut ready = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
                retry_on_intr(|| poll(&mut ready, None))
                    .context("cannot wait for the container")?;
            }
            if let Some(outcome) = self.check()? {
                return Ok(outcome);
            }
        }
    }

    /// It has ended; without words of its keeper's, its record tells how.
    fn ended(&mut self, told: Option<Outcome>) -> Result<()> {
        let record = &self.container.record;
        let outcome = match told {
            Some(outcome) => outcome,
            None => {
                let mut state = record.state()?;
                if state.status.is_live() {
                    // It ended just now, in whatever way; its keeper has the last word.
                    drop(record.keeper_lock());
                    state = record.state()?;
                }
                Outcome {
                    code: state.exit_code,
                    error: Some(state.error).filter(|words| !words.is_empty()),
                }
            }
        };
        self.phase = match self.condition {
            WaitCondition::Removed if !self.container.is_gone() => {
                match Watch::new(record.directory()) {
                    // Looked at once more, since it is watched.
                    Ok(mut watch) if !self.container.is_gone() => {
                        watch.wanted();
                        Phase::Ended(outcome, watch)
                    }
                    Err(error) if !self.container.is_gone() => return Err(error),
                    _ => Phase::Over(outcome),
                }
            }
            _ => Phase::Over(outcome),
        };
        Ok(())
    }
}
