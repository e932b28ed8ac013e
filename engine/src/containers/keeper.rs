//! What a container's keeper is asked for, and what it answers.

use anyhow::Context;
use contracts::keeper::{Event, Request};
use packets::Socket;

use super::{Container, attachment::unavailable};
use crate::{Error, ErrorKind, Result, keeper, state::container::Status};

impl Container {
    /// A connection to its keeper.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it does not run.
    pub(super) fn keeper(&self) -> Result<Socket> {
        let state = self.record.state()?;
        if !state.status.is_live() {
            return Err(self.not_running());
        }
        let conflict = |words: String| Err(Error::new(ErrorKind::Conflict, words));
        if state.status == Status::Restarting {
            return conflict(self.record.config.is_restarting());
        }
        match keeper::connect(&state.socket, state.wire).map_err(unavailable)? {
            Some(link) => Ok(link),
            None => conflict(format!("container {} is stopping", self.name())),
        }
    }

    /// It would have to run.
    pub(super) fn not_running(&self) -> Error {
        let name = self.name();
        Error::new(
            ErrorKind::Conflict,
            format!("container {name} is not running; 'coracle start {name}' starts it"),
        )
    }

    /// Asks its keeper for something; `None` when there is none: the container does not run, or has just ended.
    ///
    /// # Errors
    /// When the keeper cannot be reached.
    pub(super) fn ask(&self, request: &Request) -> Result<Option<Socket>> {
        let state = self.record.state()?;
        if !state.status.is_live() {
            return Ok(None);
        }
        let link = keeper::connect(&state.socket, state.wire).map_err(unavailable)?;
        Ok(link.filter(|link| link.send(request, None).is_ok()))
    }
}

/// Waits until a keeper has done what it was asked for; the exit code of a container that has ended meanwhile, which
/// is an answer, too.
///
/// # Errors
/// [`Conflict`](ErrorKind::Conflict) when the keeper refuses.
pub(super) fn answer(link: &Socket) -> Result<Option<u8>> {
    loop {
        let received = link.receive::<Event>();
        let received = received.context("lost connection to the container's keeper");
        match received.map_err(unavailable)? {
            Some((Event::Exited(exit), _)) => return Ok(Some(exit.code)),
            Some((Event::Failed { code, .. }, _)) => return Ok(Some(code)),
            Some((Event::Refused { message, reason }, _)) => {
                return Err(Error::new(reason.into(), message));
            }
            Some((Event::Done, _)) | None => return Ok(None),
            Some(_) => {}
        }
    }
}
