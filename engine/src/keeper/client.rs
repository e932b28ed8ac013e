//! A client's side of the wire: how any process reaches whoever keeps a container, whether it runs or not.

mod execs;

use std::{io, os::fd::AsFd};

use anyhow::{Context, Result, bail};
use contracts::keeper::{Event, Request, Until, VERSION};
use packets::Socket;
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

pub use execs::{exec_create, exec_inspect, exec_resize, exec_start, execs, refused};

use super::{
    begin::{Work, begin},
    socket,
};
use crate::state::{
    Directories,
    container::Container,
    host::{self, Hosts},
};

/// Reaches a container's keeper before or after its start; one that does not run is held from here on, until the
/// last client that has reached it so is gone. A named host's container is held by its host.
///
/// # Errors
/// When the container was removed, its named host is not up, or its keeper cannot be started or is of a release that
/// cannot hold it.
pub fn reach(container: &Container, directories: &Directories) -> Result<Socket> {
    let _edit = container.edit()?;
    reach_now(container, directories)
}

/// The same, and asks for something before anybody else can start or remove the container.
fn ask(container: &Container, directories: &Directories, request: &Request) -> Result<Socket> {
    let _edit = container.edit()?;
    let link = reach_now(container, directories)?;
    let sent = link.send(request, None);
    sent.context("cannot reach the container's keeper")?;
    Ok(link)
}

fn reach_now(container: &Container, directories: &Directories) -> Result<Socket> {
    let state = container.state()?;
    if state.status.is_live() {
        if let Some(link) = socket::connect(&state.socket, state.wire)? {
            return Ok(link);
        }
        // It has just ended: its keeper is gone when its lock is free.
        drop(container.keeper_lock()?);
    }
    let id = container.config.id.clone();
    let hold = Request::Hold { container: id };
    let link = match &container.config.host {
        Some(host) => {
            let (link, wire) = host_of(host, directories)?;
            if wire == 0 {
                bail!(too_old("its host", "host stop"));
            }
            link.send(&hold, None)
                .context("cannot reach the host's keeper")?;
            link
        }
        None => match held(container, directories, &hold)? {
            Some(link) => link,
            None => begin(Work::Hold(Box::new(container.clone())), directories, false)?,
        },
    };
    until_done(&link)?;
    Ok(link)
}

/// Is attached to the streams of a container, before its start or while it runs: the streams come as
/// [`Event::Stream`], then [`Event::Done`], and the end as [`Event::Exited`]. Nothing that it writes after the
/// start is lost. With `input`, standard input comes too, where the container keeps that open.
///
/// # Errors
/// As [`reach`].
pub fn attach(container: &Container, input: bool, directories: &Directories) -> Result<Socket> {
    let id = container.config.id.clone();
    let attach = Request::Attach {
        container: id,
        input,
    };
    ask(container, directories, &attach)
}

/// Waits for a container's end, which may be of a start that is still to come: [`Event::Exited`] or
/// [`Event::Failed`] comes on the connection.
///
/// # Errors
/// As [`reach`].
pub fn wait(container: &Container, until: Until, directories: &Directories) -> Result<Socket> {
    let id = container.config.id.clone();
    let wait = Request::Wait {
        container: id,
        until,
    };
    ask(container, directories, &wait)
}

/// Whether a keeper of its own may hold a container.
pub fn may_be_held(container: &Container, directories: &Directories) -> bool {
    socket::path(&directories.runtime, &container.config.id).exists()
}

/// Starts a container that is held by a keeper of its own; `None` when nobody holds it. The answer is still to come.
/// The caller has its lock of those who start it.
///
/// # Errors
/// When the keeper cannot be asked.
pub fn start_held(
    container: &Container,
    attach: Option<bool>,
    owner: bool,
    directories: &Directories,
) -> Result<Option<Socket>> {
    let start = Request::Start {
        container: container.config.id.clone(),
        attach,
        owner,
    };
    held(container, directories, &start)
}

/// Has whoever holds a container that does not run let go of it, as it is to be removed. The caller has its lock of
/// those who remove it.
///
/// # Errors
/// When its keeper refuses: it runs.
pub fn release(container: &Container, directories: &Directories) -> Result<()> {
    let id = container.config.id.clone();
    let release = Request::Release { container: id };
    let link = match &container.config.host {
        None => held(container, directories, &release)?,
        // A host that is not up holds nothing, nor does one of an earlier release.
        Some(host) => match host_of(host, directories) {
            Ok((link, 1..)) => Some(link).filter(|link| link.send(&release, None).is_ok()),
            Ok(_) | Err(_) => None,
        },
    };
    link.map_or(Ok(()), |link| until_done(&link))
}

/// Asks the keeper that holds a container for something; `None` when there is none, or none any more.
fn held(
    container: &Container,
    directories: &Directories,
    request: &Request,
) -> Result<Option<Socket>> {
    let path = socket::path(&directories.runtime, &container.config.id);
    let link = socket::connect(&path, VERSION)?;
    let asked = link.filter(|link| link.send(request, None).is_ok());
    // One whose last holder has just left ends without an answer.
    Ok(asked.filter(|link| has_answer(link).unwrap_or(false)))
}

/// Waits for the first answer, and leaves it where it is; false at the end of the connection.
fn has_answer(link: &Socket) -> io::Result<bool> {
    let mut byte = [0];
    loop {
        return match recv(link.as_fd(), &mut byte, RecvFlags::PEEK) {
            Ok((length, _)) => Ok(length > 0),
            Err(Errno::INTR) => continue,
            Err(Errno::CONNRESET) => Ok(false),
            Err(error) => Err(error.into()),
        };
    }
}

/// A connection to the keeper of a host that is up, and the version of what it understands.
fn host_of(id: &str, directories: &Directories) -> Result<(Socket, u16)> {
    let host = Hosts::new(directories).find(id).context(
        "the host of this container was removed; create the container again in another host",
    )?;
    let state = host.state()?;
    let link = match state.status {
        host::Status::Running => socket::connect(&state.socket, state.wire)?,
        host::Status::Created | host::Status::Exited => None,
    };
    let name = &host.config.name;
    let link = link
        .with_context(|| format!("host {name} is not up; 'coracle host start {name}' starts it"))?;
    Ok((link, state.wire))
}

/// Waits until a keeper has done what it was asked for.
fn until_done(link: &Socket) -> Result<()> {
    let received = link.receive::<Event>();
    match received.context("lost connection to the keeper")? {
        Some((Event::Done, _)) => Ok(()),
        Some((Event::Refused { message, reason }, _)) => Err(refused(message, reason).into()),
        Some((Event::Failed { message, .. }, _)) => bail!(message),
        _ => bail!("the keeper ended before it had answered"),
    }
}

/// What is said where a keeper's release knows less than is needed.
pub(super) fn too_old(whose: &str, command: &str) -> String {
    format!(
        "{whose} was started by an earlier release of Coracle, which cannot do this; stop and start it again \
         ('coracle {command}')"
    )
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::state::container::{Config, Containers, State, Status};

    const CONTAINER: &str = include_str!("fuzzing/container.json");

    fn scene() -> (tempfile::TempDir, Directories, Container) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let directories = Directories {
            data: path.into(),
            cache: path.into(),
            runtime: path.into(),
        };
        let config: Config = serde_json::from_str(CONTAINER).unwrap();
        let container = Containers::new(&directories).create(config).unwrap();
        (directory, directories, container)
    }

    /// A keeper whose last client has left ends, and says nothing to who came too late: that one starts another.
    #[test]
    fn keeper_that_ends_without_an_answer_is_none() {
        let (_directory, directories, container) = scene();
        let path = socket::path(&directories.runtime, &container.config.id);
        let listener = socket::listener(&path).unwrap();
        let ending = thread::spawn(move || drop(rustix::net::accept(&listener).unwrap()));
        let started = start_held(&container, None, false, &directories).unwrap();
        assert!(started.is_none());
        ending.join().unwrap();
        release(&container, &directories).unwrap();
    }

    /// State as a keeper of the first releases has written it, which knew of no versions.
    #[test]
    fn what_a_keeper_of_an_earlier_release_cannot_do_is_said_with_what_to_do() {
        let (_directory, _, container) = scene();
        let lock = container.keeper_lock().unwrap();
        let mut state: serde_json::Value =
            serde_json::to_value(container.state().unwrap()).unwrap();
        state.as_object_mut().unwrap().remove("wire");
        let mut state: State = serde_json::from_value(state).unwrap();
        assert_eq!(state.wire, 0);
        state.status = Status::Running;
        container.save(&state).unwrap();
        let process = container.config.spec.process.for_guest();
        let error = exec_create(&container, process, Default::default()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
        assert!(error.to_string().contains("coracle restart one"), "{error}");
        assert_eq!(execs(&container).unwrap(), Vec::<String>::new());
        drop(lock);
    }

    /// Only of those that do not run it is known that they have none.
    #[test]
    fn exec_of_a_container_that_restarts_or_cannot_be_read_conflicts() {
        let (_directory, directories, container) = scene();
        let id = format!("{}{}", &container.config.id[..32], "0".repeat(32));
        let lock = container.keeper_lock().unwrap();
        let mut state = container.state().unwrap();
        state.status = Status::Restarting;
        container.save(&state).unwrap();
        let error = exec_inspect(&id, &directories).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Conflict);
        assert!(error.to_string().contains("restarting"), "{error}");
        drop(lock);
        let path = container.directory().join("config.json");
        std::fs::write(path, r#"{"version": 99}"#).unwrap();
        let error = exec_inspect(&id, &directories).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Conflict);
        assert!(error.to_string().contains("later release"), "{error}");
    }

    #[test]
    fn exec_of_a_container_that_is_gone_is_not_found() {
        let (_directory, directories, container) = scene();
        let own = format!("{}{}", &container.config.id[..32], "0".repeat(32));
        for id in [&own, "", "ffff", &"f".repeat(64)] {
            let error = exec_inspect(id, &directories).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{id}: {error}");
        }
    }
}
