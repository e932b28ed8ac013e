//! Services of init's about a container, asked for by its keeper.

use std::{io::Read, os::unix::net::UnixStream};

use anyhow::{Context, anyhow};
use contracts::guest::Tool;
use contracts::keeper::{Event, Request, Work};
use packets::Socket;

use super::{Container, attachment::unavailable};
use crate::{Error, ErrorKind, Result};

/// Longest answer that is taken of a guest where it is kept in memory.
const MAX_ANSWER: u64 = 16 << 20;

/// Longest complaint.
const MAX_WORDS: u64 = 4 << 10;

/// A service that was begun.
#[derive(Debug)]
pub(super) struct Session {
    link: Socket,
    /// What is written to it.
    pub(super) input: Option<UnixStream>,
    /// What is read from it.
    pub(super) output: UnixStream,
    words: UnixStream,
}

/// Begins a service.
///
/// # Errors
/// When the container does not run.
pub(super) fn begin(container: &Container, tool: Tool, input: bool) -> Result<Session> {
    let link = container.keeper()?;
    let request = Request::Exec {
        container: container.id().into(),
        work: Box::new(Work::Tool(tool)),
        input,
        output: true,
    };
    link.send(&request, None)
        .context("cannot send a request to the container's keeper")
        .map_err(unavailable)?;
    let mut streams = [None, None, None];
    let mut started = false;
    // The guest's connections and its words take different ways.
    while !(started
        && streams
            .iter()
            .skip(usize::from(!input))
            .all(Option::is_some))
    {
        let received = link.receive::<Event>();
        let received = received.context("lost connection to the container's keeper");
        match received.map_err(unavailable)? {
            Some((Event::Stream { index }, Some(stream))) => {
                if let Some(slot) = streams.get_mut(usize::from(index)) {
                    *slot = Some(UnixStream::from(stream));
                }
            }
            Some((Event::Started, _)) => started = true,
            Some((Event::Failed { message, .. }, _)) => {
                return Err(Error::new(ErrorKind::Internal, message));
            }
            Some((Event::Refused { message, reason }, _)) => {
                return Err(Error::new(reason.into(), message));
            }
            Some((Event::Exited(_), _)) => return Err(stream_is_missing()),
            Some(_) => {}
            None => return Err(just_exited()),
        }
    }
    match streams {
        [input, Some(output), Some(words)] => Ok(Session {
            link,
            input,
            output,
            words,
        }),
        _ => Err(stream_is_missing()),
    }
}

/// What the guest has sent is no session.
pub(super) fn stream_is_missing() -> Error {
    anyhow!("guest protocol error: a stream is missing").into()
}

fn just_exited() -> Error {
    Error::new(ErrorKind::Conflict, "the container has just exited")
}

impl Session {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it failed, with its words.
    pub(super) fn finish(self) -> Result<()> {
        let Self {
            link,
            input,
            output,
            words,
        } = self;
        drop((input, output));
        let mut text = Vec::new();
        let read = words.take(MAX_WORDS).read_to_end(&mut text);
        read.context("cannot read the guest's answer")?;
        loop {
            let received = link.receive::<Event>();
            let received = received.context("lost connection to the container's keeper");
            match received.map_err(unavailable)? {
                Some((Event::Exited(exit), _)) if exit.code == 0 => return Ok(()),
                Some((Event::Exited(_), _)) => {
                    let text = String::from_utf8_lossy(&text);
                    return Err(Error::new(ErrorKind::Internal, text.trim().to_owned()));
                }
                Some((Event::Failed { message, .. }, _)) => {
                    return Err(Error::new(ErrorKind::Internal, message));
                }
                Some(_) => {}
                None => return Err(just_exited()),
            }
        }
    }
}

/// What a service answers, as text; nothing in it was checked.
///
/// # Errors
/// When it fails, or its answer is too long.
pub(super) fn answer(container: &Container, tool: Tool) -> Result<String> {
    let mut session = begin(container, tool, false)?;
    let mut text = Vec::new();
    (&mut session.output)
        .take(MAX_ANSWER)
        .read_to_end(&mut text)
        .context("cannot read the guest's answer")?;
    session.finish()?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
