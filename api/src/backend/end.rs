//! Who waits for a container's end, or for its start.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use coracle_engine::{
    keeper::wire::{Event, Request},
    state::container::{Container, State},
};
use coracle_protocol::TerminalSize;
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::{Errno, retry_on_intr},
};

use super::{Backend, Begun, Waiter, internal};
use crate::error::ApiError;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// That it does not run.
    NotRunning,
    /// Its next end, even if it does not run.
    NextExit,
    /// That it is removed.
    Removed,
}

/// A client that waits for a container's end.
#[derive(Debug)]
pub struct Waiting {
    waiter: Waiter,
    changes: OwnedFd,
    condition: Condition,
    /// When a container that does not run was started last.
    before: Option<u64>,
    /// How it ended, where nothing has to be waited for.
    over: Option<i32>,
}

impl Backend {
    /// Begins to wait for a container's end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn begin_wait(
        &self,
        container: &Container,
        condition: Condition,
    ) -> Result<Waiting, ApiError> {
        let waiter = self.held.wait(&container.config.id)?;
        let changes = watch(container.directory())?;
        let state = container.state().map_err(internal)?;
        let live = state.status.is_live();
        Ok(Waiting {
            waiter,
            changes,
            condition,
            before: (!live).then_some(state.started),
            over: (!live && condition == Condition::NotRunning).then_some(state.exit_code),
        })
    }

    /// Waits for a container's end; gives its exit code, or nothing when the client is gone first.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait(
        &self,
        container: &Container,
        waiting: Waiting,
        client: BorrowedFd<'_>,
    ) -> Result<Option<i32>, ApiError> {
        let Waiting {
            waiter,
            changes,
            condition,
            before,
            over,
        } = waiting;
        if over.is_some() {
            return Ok(over);
        }
        let code = loop {
            if let Some(code) = waiter.take() {
                break i32::from(code);
            }
            match container.state() {
                Ok(state) if state.status.is_live() => {
                    match self.end_of(container, client)? {
                        End::Code(code) => break i32::from(code),
                        End::ClientGone => return Ok(None),
                        // Its keeper writes down how it ended.
                        End::Unknown => drop(container.keeper_lock()),
                    }
                }
                Ok(State {
                    started, exit_code, ..
                }) if before != Some(started) => break exit_code,
                Ok(_) => {
                    if !until(&[changes.as_fd(), waiter.as_fd()], client)? {
                        return Ok(None);
                    }
                    drain(&changes)?;
                }
                Err(_) => break waiter.take().map_or(0, i32::from),
            }
        };
        while condition == Condition::Removed && container.directory().exists() {
            if !until(&[changes.as_fd()], client)? {
                return Ok(None);
            }
            drain(&changes)?;
        }
        Ok(Some(code))
    }

    /// The end of a container that runs.
    fn end_of(&self, container: &Container, client: BorrowedFd<'_>) -> Result<End, ApiError> {
        let request = Request::Wait {
            container: container.config.id.clone(),
            until: coracle_engine::keeper::wire::Until::NotRunning,
        };
        let Some(link) = self.ask(container, &request)? else {
            return Ok(End::Unknown);
        };
        loop {
            if !until(&[link.as_fd()], client)? {
                return Ok(End::ClientGone);
            }
            match link.receive::<Event>()? {
                Some((Event::Exited(exit), _)) => return Ok(End::Code(exit.code)),
                Some((Event::Failed { code, .. }, _)) => return Ok(End::Code(code)),
                Some((Event::Refused { .. }, _)) | None => return Ok(End::Unknown),
                Some(_) => {}
            }
        }
    }

    /// Connects a client to a container's streams: those of one that runs, or of the next start. Nothing
    /// when the client is gone before, or the start fails.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn attach(
        &self,
        container: &Container,
        input: bool,
        client: BorrowedFd<'_>,
    ) -> Result<Option<Begun>, ApiError> {
        let ticket = self.held.attach(&container.config.id, input)?;
        let Ok(changes) = watch(container.directory()) else {
            return Ok(None);
        };
        loop {
            let request = Request::Attach {
                container: container.config.id.clone(),
                input,
            };
            match container.state() {
                // Whoever starts it here gives the streams from their beginning on.
                _ if ticket.is_ready() => return Ok(ticket.take()),
                Ok(state) if state.status.is_live() && !self.held.is_starting(container) => {
                    let link = self.ask(container, &request)?;
                    return Ok(link.map(|link| Begun {
                        link,
                        tell: Box::new(drop),
                    }));
                }
                Ok(_) => {}
                Err(_) => return Ok(None),
            }
            // A client that has ended its half still wants the output.
            let these = [changes.as_fd(), ticket.as_fd()];
            if !until_closed(&these, client, PollFlags::empty())? {
                return Ok(None);
            }
            drain(&changes)?;
        }
    }
}

impl Backend {
    /// Gives the terminal of a container's first process another size.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resize(&self, container: &Container, size: TerminalSize) -> Result<(), ApiError> {
        self.running(container)?;
        let attach = Request::Attach {
            container: container.config.id.clone(),
            input: false,
        };
        if let Some(link) = self.ask(container, &attach)? {
            link.send(&Request::Resize { size }, None)?;
            link.send(&Request::Detach, None)?;
            super::answer(&link)?;
        }
        Ok(())
    }
}

enum End {
    Code(u8),
    Unknown,
    ClientGone,
}

/// Watches a container's directory, where its state is replaced.
pub fn watch(directory: &Path) -> io::Result<OwnedFd> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags =
        WatchFlags::MOVED_TO | WatchFlags::MODIFY | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&changes, directory, flags)?;
    Ok(changes)
}

/// Forgets what has changed: it is looked at anew.
pub fn drain(changes: &OwnedFd) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    match retry_on_intr(|| rustix::io::read(changes, spare_capacity(&mut buffer))) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until one of these is ready; false when the client is gone first.
pub fn until(these: &[BorrowedFd<'_>], client: BorrowedFd<'_>) -> io::Result<bool> {
    until_closed(these, client, PollFlags::RDHUP)
}

/// The same, where it is said by what a client is known to be gone.
fn until_closed(
    these: &[BorrowedFd<'_>],
    client: BorrowedFd<'_>,
    gone: PollFlags,
) -> io::Result<bool> {
    let mut descriptors = vec![PollFd::from_borrowed_fd(client, gone)];
    let these = these.iter();
    descriptors.extend(these.map(|one| PollFd::from_borrowed_fd(*one, PollFlags::IN)));
    retry_on_intr(|| poll(&mut descriptors, None))?;
    let client = descriptors.first();
    Ok(client.is_some_and(|client| client.revents().is_empty()))
}

/// An error of the engine's.
impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        internal(error)
    }
}
