//! Services of init's about a container, asked for by its keeper.

use std::{io::Read, os::unix::net::UnixStream};

use anyhow::{Context, Result, bail};
use coracle_protocol::Tool;
use vmm::control::Socket;

use super::start::keeper_of;
use coracle_engine::keeper::wire::{Event, Request, Work};
use coracle_engine::state::container::Container;

/// Longest answer that is taken of a guest where it is kept in memory.
const MAX_ANSWER: u64 = 16 << 20;

/// Longest complaint.
const MAX_WORDS: u64 = 4 << 10;

/// A service that was begun.
pub(super) struct Session {
    link: Socket,
    pub(super) input: Option<UnixStream>,
    pub(super) output: UnixStream,
    words: UnixStream,
}

/// Begins a service.
///
/// # Errors
/// When the container does not run.
pub(super) fn begin(container: &Container, tool: Tool, input: bool) -> Result<Session> {
    let (_, link) = keeper_of(container)?;
    let request = Request::Exec {
        container: container.config.id.clone(),
        work: Box::new(Work::Tool(tool)),
        input,
        output: true,
    };
    link.send(&request, None)
        .context("cannot send a request to the container's keeper")?;
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
        match received.context("lost connection to the container's keeper")? {
            Some((Event::Stream { index }, Some(stream))) => {
                if let Some(slot) = streams.get_mut(usize::from(index)) {
                    *slot = Some(UnixStream::from(stream));
                }
            }
            Some((Event::Started, _)) => started = true,
            Some((Event::Failed { message, .. } | Event::Refused { message, .. }, _)) => {
                bail!(message)
            }
            Some((Event::Exited(_), _)) => {
                bail!("guest protocol error: a stream is missing")
            }
            Some(_) => {}
            None => bail!("the container has just exited"),
        }
    }
    match streams {
        [input, Some(output), Some(words)] => Ok(Session {
            link,
            input,
            output,
            words,
        }),
        _ => bail!("guest protocol error: a stream is missing"),
    }
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
        words.take(MAX_WORDS).read_to_end(&mut text)?;
        loop {
            let received = link.receive::<Event>();
            match received.context("lost connection to the container's keeper")? {
                Some((Event::Exited(exit), _)) if exit.code == 0 => return Ok(()),
                Some((Event::Exited(_), _)) => {
                    let text = String::from_utf8_lossy(&text);
                    bail!("{}", text.trim())
                }
                Some((Event::Failed { message, .. }, _)) => bail!(message),
                Some(_) => {}
                None => bail!("the container has just exited"),
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
