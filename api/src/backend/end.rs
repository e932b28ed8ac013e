//! Who waits for a container's end, or changes of its record.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use coracle_engine::{
    keeper::{
        Link, client,
        wire::{Event, Request, Until},
    },
    state::container::Container,
};
use coracle_protocol::TerminalSize;
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::{Errno, retry_on_intr},
};

use super::Backend;
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
    /// Whoever keeps the container tells it here; without one it does not run.
    link: Option<Link>,
    changes: OwnedFd,
    condition: Condition,
}

impl Backend {
    /// Begins to wait for a container's end, which may be of a start that is still to come.
    ///
    /// # Errors
    /// When its keeper cannot be reached.
    pub fn begin_wait(
        &self,
        container: &Container,
        condition: Condition,
    ) -> Result<Waiting, ApiError> {
        // Before anybody is asked, so that its removal is not missed.
        let changes = watch(container.directory())?;
        let live = container.state()?.status.is_live();
        let until = match condition {
            Condition::NotRunning => Until::NotRunning,
            Condition::NextExit => Until::NextExit,
            Condition::Removed => Until::Removed,
        };
        let link = match condition {
            Condition::NotRunning if !live => None,
            _ => Some(client::wait(container, until, &self.directories)?),
        };
        Ok(Waiting {
            link,
            changes,
            condition,
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
            link,
            changes,
            condition,
        } = waiting;
        let code = match link {
            None => None,
            Some(link) => loop {
                if !until(&[link.as_fd()], client)? {
                    return Ok(None);
                }
                match link.receive::<Event>()? {
                    Some((Event::Exited(exit), _)) => break Some(exit.code),
                    Some((Event::Failed { code, .. }, _)) => break Some(code),
                    // It has ended meanwhile, and its keeper writes down how.
                    Some((Event::Refused { .. }, _)) | None => {
                        drop(container.keeper_lock());
                        break None;
                    }
                    Some(_) => {}
                }
            },
        };
        let code = match code {
            Some(code) => i32::from(code),
            None => container.state().map_or(0, |state| state.exit_code),
        };
        while condition == Condition::Removed && container.directory().exists() {
            if !until(&[changes.as_fd()], client)? {
                return Ok(None);
            }
            drain(&changes)?;
        }
        Ok(Some(code))
    }

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

/// Watches a container's directory: its log grows there, and its state is replaced.
///
/// # Errors
/// As `inotify_add_watch(2)`.
pub fn watch(directory: &Path) -> io::Result<OwnedFd> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags =
        WatchFlags::MOVED_TO | WatchFlags::MODIFY | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&changes, directory, flags)?;
    Ok(changes)
}

/// Forgets what has changed: it is looked at anew.
///
/// # Errors
/// As `read(2)`.
pub fn drain(changes: &OwnedFd) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    match retry_on_intr(|| rustix::io::read(changes, spare_capacity(&mut buffer))) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until one of these is ready; false when the client is gone first.
///
/// # Errors
/// As `poll(2)`.
pub fn until(these: &[BorrowedFd<'_>], client: BorrowedFd<'_>) -> io::Result<bool> {
    let mut descriptors = vec![PollFd::from_borrowed_fd(client, PollFlags::RDHUP)];
    let these = these.iter();
    descriptors.extend(these.map(|one| PollFd::from_borrowed_fd(*one, PollFlags::IN)));
    retry_on_intr(|| poll(&mut descriptors, None))?;
    let client = descriptors.first();
    Ok(client.is_some_and(|client| client.revents().is_empty()))
}
