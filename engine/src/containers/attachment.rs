//! The link to the keeper that looks after a process, and what it reports.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use anyhow::Context;
use contracts::guest::TerminalSize;
use contracts::keeper::{Event as Told, Request};
use packets::Socket;
use rustix::net::{Shutdown, shutdown};

use crate::{Error, ErrorKind, Result};

pub use contracts::keeper::Exit;

/// What a keeper reports of a process.
#[derive(Debug)]
pub enum Event {
    /// The keeper has taken the request on: nobody else can start the container.
    Taken,
    /// A stream of the process: 0 is written to, 1 and 2 are read from. It may be set not to
    /// block.
    Stream {
        /// Number of the stream in the process.
        index: u8,
        /// The caller's end of it.
        stream: UnixStream,
    },
    /// The process has been executed.
    Started,
    /// It has ended; all of its output is in the streams. Nothing follows.
    Exited(Exit),
    /// It was not executed, or nobody knows how it ended. Nothing follows.
    Failed {
        /// What a person should know.
        message: String,
        /// Docker's exit code for it: 125, 126 or 127.
        code: u8,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// By itself or by a signal.
    Exited(Exit),
    /// It was not executed, or nobody knows how it ended.
    Failed {
        /// What a person should know.
        message: String,
        /// Docker's exit code for it: 125, 126 or 127.
        code: u8,
    },
}

/// A link to a process in a container: its first one, or one beside that.
///
/// The descriptor is readable when there is an event. Dropping the link lets the process go on, unless it was
/// started with [`owner`](super::StartOptions::owner).
#[derive(Debug)]
pub struct Attachment {
    link: Socket,
}

impl Attachment {
    pub(crate) fn new(link: Socket) -> Self {
        Self { link }
    }

    /// The next event; waits for it. `None` when the keeper has closed the link: after the end of a process, that
    /// everything which the container had is free, and before it, that the keeper was killed.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the keeper refuses what was asked of it.
    pub fn next(&self) -> Result<Option<Event>> {
        loop {
            let received = self.link.receive::<Told>();
            let received = received.context("lost connection to the container's keeper");
            let event = match received.map_err(unavailable)? {
                Some((Told::Stream { index }, Some(stream))) => {
                    let stream = UnixStream::from(stream);
                    Event::Stream { index, stream }
                }
                Some((Told::Stream { .. }, None)) => continue,
                Some((Told::Done, _)) => Event::Taken,
                Some((Told::Started, _)) => Event::Started,
                Some((Told::Exited(exit), _)) => Event::Exited(exit),
                Some((Told::Failed { message, code }, _)) => Event::Failed { message, code },
                Some((Told::Refused { message, reason }, _)) => {
                    return Err(Error::new(reason.into(), message));
                }
                // What else there is answers what was not asked for here.
                Some(_) => continue,
                None => return Ok(None),
            };
            return Ok(Some(event));
        }
    }

    /// Waits until the process is executed; how it ended, if it ended first. Streams that come meanwhile are closed.
    ///
    /// # Errors
    /// When the keeper refuses, or is killed.
    pub fn until_started(&self) -> Result<Option<Ended>> {
        loop {
            match self.next()? {
                Some(Event::Started) => return Ok(None),
                Some(Event::Exited(exit)) => return Ok(Some(Ended::Exited(exit))),
                Some(Event::Failed { message, code }) => {
                    return Ok(Some(Ended::Failed { message, code }));
                }
                Some(Event::Taken | Event::Stream { .. }) => {}
                None => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "the container's keeper ended during the start",
                    ));
                }
            }
        }
    }

    /// Waits until the keeper has taken on a start.
    pub(crate) fn until_taken(&self) -> Result<()> {
        match self.next()? {
            Some(Event::Taken) => Ok(()),
            Some(Event::Failed { message, .. }) => Err(Error::new(ErrorKind::Internal, message)),
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                "the keeper ended while starting",
            )),
        }
    }

    /// Sends the process a signal that its user's terminal or shell has sent to the caller. For an
    /// [`owner`](super::StartOptions::owner) SIGINT, SIGQUIT and SIGHUP end a container that does not handle them.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&self, signal: u8) -> Result<()> {
        self.ask(&Request::Forward { signal })
    }

    /// Stops the container, by this signal or its own, and kills it when its grace time is over.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub fn stop(&self, signal: Option<u8>) -> Result<()> {
        self.ask(&Request::End { signal })
    }

    /// Gives the process's terminal a size.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub fn resize(&self, size: TerminalSize) -> Result<()> {
        self.ask(&Request::Resize { size })
    }

    /// Ends the attachment and lets the process go on, also where it was started with
    /// [`owner`](super::StartOptions::owner). Its input stays open for another attachment.
    ///
    /// # Errors
    /// When the link breaks.
    pub fn detach(self) -> Result<()> {
        self.ask(&Request::Detach)?;
        while !matches!(self.next()?, Some(Event::Taken) | None) {}
        Ok(())
    }

    /// Gives up the container that was started with [`owner`](super::StartOptions::owner): it is killed. When
    /// [`next`](Self::next) then gives `None`, all that it had is free.
    pub fn abandon(&self) {
        // A keeper that is gone has nothing left to kill.
        let _ = shutdown(&self.link, Shutdown::Write);
    }

    fn ask(&self, request: &Request) -> Result<()> {
        match self.link.send(request, None) {
            // A keeper that is gone is seen by its silence.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent
                .context("cannot send a request to the container's keeper")
                .map_err(unavailable),
        }
    }
}

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// A keeper could not be reached.
pub(super) fn unavailable(error: anyhow::Error) -> Error {
    let error = Error::from(error);
    match error.kind() {
        ErrorKind::Internal => error.with_kind(ErrorKind::Unavailable),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::keeper::Reason;

    fn pair() -> (Attachment, Socket) {
        let (ours, theirs) = Socket::pair().unwrap();
        (Attachment::new(ours), theirs)
    }

    #[test]
    fn refusal_is_a_conflict_in_the_keepers_words() {
        let (link, keeper) = pair();
        let message = "the container is paused".to_owned();
        let reason = Reason::Conflict;
        keeper
            .send(&Told::Refused { message, reason }, None)
            .unwrap();
        let error = link.next().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(error.to_string(), "the container is paused");
    }

    #[test]
    fn keeper_that_is_killed_during_a_start_is_no_start() {
        let (link, keeper) = pair();
        keeper.send(&Told::Done, None).unwrap();
        drop(keeper);
        link.until_taken().unwrap();
        let error = link.until_started().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn streams_come_as_descriptors_and_an_end_before_the_start_is_told() {
        let (link, keeper) = pair();
        let (_, stream) = UnixStream::pair().unwrap();
        keeper
            .send(&Told::Stream { index: 1 }, Some(stream.as_fd()))
            .unwrap();
        let failed = Told::Failed {
            message: "no such program".into(),
            code: 127,
        };
        keeper.send(&failed, None).unwrap();
        assert!(matches!(
            link.next().unwrap(),
            Some(Event::Stream { index: 1, .. })
        ));
        let ended = link.until_started().unwrap();
        assert!(matches!(ended, Some(Ended::Failed { code: 127, .. })));
    }

    #[test]
    fn detaching_passes_over_what_came_before_the_answer() {
        let (link, keeper) = pair();
        keeper.send(&Told::Started, None).unwrap();
        keeper.send(&Told::Done, None).unwrap();
        link.detach().unwrap();
        let asked = keeper.receive::<Request>().unwrap().map(|(asked, _)| asked);
        assert_eq!(asked, Some(Request::Detach));
    }
}
