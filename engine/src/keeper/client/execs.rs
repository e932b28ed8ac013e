//! Programs that have an ID, as a client asks for them: by the ID alone, whoever has created them.

use anyhow::Context;
use contracts::guest::{Process, TerminalSize};
use contracts::keeper::{Event, ExecState, ExecStreams, Reason, Request};
use packets::Socket;

use super::too_old;
use crate::keeper::{
    sessions::{SHARED_DIGITS, no_such},
    socket,
};
use crate::state::{
    Directories,
    container::{Container, Containers, Status},
};
use crate::{Error, ErrorKind};

/// Creates a program that can be run in a container that runs; gives its ID, which is 64 hexadecimal digits. It is
/// there until the container ends.
///
/// # Errors
/// When the container does not run, or is paused, or has as many as there may be.
pub fn exec_create(
    container: &Container,
    process: Process,
    streams: ExecStreams,
) -> crate::Result<String> {
    let link = keeper_of(container)?;
    let request = Request::ExecCreate {
        container: container.config.id.clone(),
        process: Box::new(process),
        streams,
    };
    match asked(&link, &request)? {
        Event::ExecCreated { exec } => Ok(exec),
        other => Err(unexpected(&other)),
    }
}

/// Starts one: its streams come on the connection as [`Event::Stream`], then [`Event::Started`], and its end as
/// [`Event::Exited`] or, when it could not be started, [`Event::Failed`] with docker's exit code 126 or 127. Its end
/// is known to [`exec_inspect`] before it is told: whoever copies its output closes the copy after that. With
/// `detach` there are no streams, and nobody has to wait.
///
/// What refuses it, as a second start, comes as [`Event::Refused`].
///
/// # Errors
/// When there is none, or its container is gone.
pub fn exec_start(
    exec: &str,
    detach: bool,
    size: Option<TerminalSize>,
    directories: &Directories,
) -> crate::Result<Socket> {
    let link = keeper_of_exec(exec, directories)?;
    let request = Request::ExecStart {
        exec: exec.into(),
        detach,
        size,
    };
    let sent = link.send(&request, None);
    sent.context("cannot reach the container's keeper")?;
    Ok(link)
}

/// How one is, or how it was at the last end of its container, also for a while after that was removed.
///
/// # Errors
/// When there is none, or its container has been gone for long.
pub fn exec_inspect(exec: &str, directories: &Directories) -> crate::Result<ExecState> {
    let inspected = container_of(exec, directories).and_then(|container| {
        // Its keeper has forgotten it, is gone, or ends just now: all of them have written it down first.
        inspect(&container, exec).or_else(|error| ended(container.ended_execs(), exec, error))
    });
    inspected.or_else(|error| {
        let digits = exec.get(..SHARED_DIGITS).ok_or_else(|| no_such(exec))?;
        let all = Containers::new(directories).ended_execs_of_removed(digits);
        ended(all, exec, error)
    })
}

/// One of those that have ended; `error` where it is none.
fn ended(all: Vec<ExecState>, exec: &str, error: Error) -> crate::Result<ExecState> {
    let found = all.into_iter().find(|state| state.exec == exec);
    found.ok_or(error)
}

fn inspect(container: &Container, exec: &str) -> crate::Result<ExecState> {
    let link = reached(container)?.map_err(|_| no_such(exec))?;
    match asked(&link, &Request::ExecInspect { exec: exec.into() })? {
        Event::ExecState(state) => Ok(*state),
        other => Err(unexpected(&other)),
    }
}

/// Gives the terminal of one that runs a size.
///
/// # Errors
/// When it does not run.
pub fn exec_resize(exec: &str, size: TerminalSize, directories: &Directories) -> crate::Result<()> {
    let link = keeper_of_exec(exec, directories)?;
    let exec = exec.into();
    asked(&link, &Request::ExecResize { exec, size }).map(drop)
}

/// IDs of a container's that have not ended, the oldest first; none where it does not run.
///
/// # Errors
/// When its keeper cannot be asked.
pub fn execs(container: &Container) -> crate::Result<Vec<String>> {
    let state = container.state()?;
    if !state.status.is_live() || state.wire == 0 {
        return Ok(Vec::new());
    }
    let Some(link) = socket::connect(&state.socket, state.wire)? else {
        return Ok(Vec::new());
    };
    let container = container.config.id.clone();
    match asked(&link, &Request::Execs { container })? {
        Event::Execs { execs } => Ok(execs),
        other => Err(unexpected(&other)),
    }
}

/// The keeper of a container that runs, and knows programs that have an ID.
fn keeper_of(container: &Container) -> crate::Result<Socket> {
    let reached = reached(container)?;
    reached.map_err(|words| Error::new(ErrorKind::Conflict, words))
}

/// The same, or that there is none in words.
fn reached(container: &Container) -> crate::Result<Result<Socket, String>> {
    let state = container.state()?;
    let name = &container.config.name;
    if state.status == Status::Restarting {
        let words = container.config.is_restarting();
        return Err(Error::new(ErrorKind::Conflict, words));
    }
    if !state.status.is_live() {
        return Ok(Err(format!("container {name} is not running")));
    }
    if state.wire == 0 {
        let words = too_old(&format!("container {name}"), &format!("restart {name}"));
        return Err(Error::new(ErrorKind::Unavailable, words));
    }
    let link = socket::connect(&state.socket, state.wire)?;
    Ok(link.ok_or_else(|| format!("container {name} is stopping")))
}

/// The container of one, if it is one's ID.
fn container_of(exec: &str, directories: &Directories) -> crate::Result<Container> {
    let digits = exec.get(..SHARED_DIGITS).filter(|_| exec.len() == 64);
    let found = digits.map(|digits| Containers::new(directories).beginning_with(digits));
    found.transpose()?.flatten().ok_or_else(|| no_such(exec))
}

/// The keeper that knows one, if any does.
fn keeper_of_exec(exec: &str, directories: &Directories) -> crate::Result<Socket> {
    let container = container_of(exec, directories)?;
    // With its container all of them are gone.
    reached(&container)?.map_err(|_| no_such(exec))
}

/// Asks for something that is answered at once.
fn asked(link: &Socket, request: &Request) -> crate::Result<Event> {
    let sent = link.send(request, None);
    sent.context("cannot reach the container's keeper")?;
    let received = link.receive::<Event>();
    match received.context("lost connection to the container's keeper")? {
        Some((Event::Refused { message, reason }, _)) => Err(refused(message, reason)),
        Some((event, _)) => Ok(event),
        None => Err(Error::new(
            ErrorKind::Conflict,
            "the container has just exited",
        )),
    }
}

/// What a keeper refuses, as an error of its kind.
pub fn refused(message: String, reason: Reason) -> Error {
    Error::new(reason.into(), message)
}

fn unexpected(event: &Event) -> Error {
    let words = format!("unexpected reply from the container's keeper: {event:?}");
    Error::new(ErrorKind::Internal, words)
}
