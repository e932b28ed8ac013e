//! `coracle start`.

use anyhow::{Context, Result, bail};
use vmm::control::Socket;

use crate::attached::{Attached, Ended};
use crate::kernel_build::Display;
use coracle_engine::keeper::{
    self, Start,
    wire::{Event, Request},
};
use coracle_engine::state::{
    Directories,
    container::{Container, Containers, State, Status},
    host::{self, Hosts},
};
use coracle_terminal::raw::{DetachKeys, Terminal};
use coracle_terminal::report;

/// Start one or more stopped containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Attach standard output and error, and exit with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Attach standard input, too
    #[arg(short, long)]
    interactive: bool,
    /// Override the key sequence for detaching from a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let containers = Containers::new(&directories);
    if arguments.attach || arguments.interactive {
        let [name] = &arguments.containers[..] else {
            bail!("you cannot start and attach multiple containers at once; omit -a and -i");
        };
        return attach(arguments, &containers.find(name)?, &directories);
    }
    super::each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        if container.state()?.status.is_live() {
            outln!("{name}");
            return Ok(());
        }
        let link = match start(&container, &directories, None) {
            // Somebody else was as quick.
            Err(_) if container.state().is_ok_and(|state| state.status.is_live()) => {
                outln!("{name}");
                return Ok(());
            }
            begun => begun?,
        };
        match until_started(&link)? {
            None => outln!("{name}"),
            Some(Ended::Failed { message, .. }) => bail!("{name}: {message}"),
            Some(_) => outln!("{name}"),
        }
        Ok(())
    })
}

/// Starts a container: in a keeper of its own, or in the named host that it belongs to.
///
/// # Errors
/// When it runs, or cannot be started.
pub(super) fn start(
    container: &Container,
    directories: &Directories,
    attach: Option<bool>,
) -> Result<Socket> {
    let _edit = container.edit()?;
    keeper::refuse_running(container)?;
    let link = begin(container, directories, attach, false, || {})?;
    // Until the keeper has the container, no other command may start it.
    until_taken(&link)?;
    Ok(link)
}

/// Begins a start; `planned` is called when it is known what machine it needs.
///
/// # Errors
/// When its machine cannot be, or the named host is not up.
///
/// The caller has the container's lock of those who start it until [`until_taken`] returns.
pub(super) fn begin(
    container: &Container,
    directories: &Directories,
    attach: Option<bool>,
    owner: bool,
    planned: impl FnOnce(),
) -> Result<Socket> {
    let Some(host) = &container.config.host else {
        let held = keeper::client::start_held(container, attach, owner, directories)?;
        if let Some(link) = held {
            planned();
            return Ok(link);
        }
        let prepared = keeper::prepare(&container.config, directories, &mut Display::new())?;
        planned();
        let start = Start {
            container: container.clone(),
            prepared,
            attach,
            owner,
        };
        return keeper::start(start, directories);
    };
    let host = Hosts::new(directories).find(host).context(
        "the host of this container was removed; create the container again in another host",
    )?;
    planned();
    let link = keeper_of_host(&host)?;
    let request = Request::Start {
        container: container.config.id.clone(),
        attach,
        owner,
    };
    link.send(&request, None)
        .context("cannot reach the host's keeper")?;
    Ok(link)
}

/// Waits until a keeper has taken over what it was asked to.
///
/// # Errors
/// When it refuses, or ends.
pub(super) fn until_taken(link: &Socket) -> Result<()> {
    match link
        .receive::<Event>()
        .context("lost connection to the keeper")?
    {
        Some((Event::Done, _)) => Ok(()),
        Some((Event::Failed { message, .. } | Event::Refused { message, .. }, _)) => bail!(message),
        _ => bail!("the keeper ended while starting"),
    }
}

/// Waits until a container's process runs; how it ended, if it ended first.
///
/// # Errors
/// When its keeper dies.
pub(super) fn until_started(link: &Socket) -> Result<Option<Ended>> {
    loop {
        match link
            .receive::<Event>()
            .context("lost connection to the keeper")?
        {
            Some((Event::Started, _)) => return Ok(None),
            Some((Event::Exited(exit), _)) => return Ok(Some(Ended::Exited(exit))),
            Some((Event::Failed { message, code }, _)) => {
                return Ok(Some(Ended::Failed { message, code }));
            }
            Some((Event::Refused { message, .. }, _)) => bail!(message),
            Some(_) => {}
            None => bail!("the container's keeper ended during the start"),
        }
    }
}

/// A container that was made for this command could not be started.
pub(super) fn give_up(container: &Container, directories: &Directories) {
    if !container.config.remove {
        return;
    }
    let removed = container
        .keeper_lock()
        .and_then(|lock| Containers::new(directories).remove(container, &lock));
    if let Err(error) = removed {
        report::warn(&format!("{error:#}"));
    }
}

fn attach(arguments: &Arguments, container: &Container, directories: &Directories) -> Result<u8> {
    let signals = crate::attached::take_signals()?;
    let config = &container.config;
    let tty = config.spec.process.terminal.is_some();
    let input = arguments.interactive && config.interactive;
    let link = start(container, directories, Some(input))?;
    let raw = match tty && input && coracle_terminal::raw::standard_input_is_terminal() {
        true => Some(Terminal::raw()?),
        false => None,
    };
    let keys = arguments.detach_keys.clone().unwrap_or_default();
    let keys = (tty && input).then_some(keys);
    let ended = Attached::new(link, signals, false, tty, keys)?.run()?;
    drop(raw);
    code_of(ended)
}

/// The exit code for how an attached container ended.
///
/// # Errors
/// When it failed.
pub(super) fn code_of(ended: Ended) -> Result<u8> {
    match ended {
        Ended::Exited(exit) => Ok(exit.code),
        Ended::Failed { message, code } => {
            report::error(&anyhow::Error::msg(message));
            Ok(code)
        }
        Ended::Detached => Ok(0),
    }
}

/// A connection to the keeper of a host that is up.
///
/// # Errors
/// When it is not up.
pub(super) fn keeper_of_host(host: &host::Host) -> Result<Socket> {
    let state = host.state()?;
    let link = match state.status {
        host::Status::Running => keeper::connect(&state.socket, state.wire)?,
        host::Status::Created | host::Status::Exited => None,
    };
    let name = &host.config.name;
    link.with_context(|| format!("host {name} is not up; 'coracle host start {name}' starts it"))
}

/// What is said of a container that would have to run.
pub(super) fn not_running(name: &str) -> String {
    format!("container {name} is not running; 'coracle start {name}' starts it")
}

/// The keeper of a container that runs.
///
/// # Errors
/// When it does not run.
pub(super) fn keeper_of(container: &Container) -> Result<(State, Socket)> {
    let state = container.state()?;
    let name = &container.config.name;
    if !state.status.is_live() {
        bail!(not_running(name));
    }
    if state.status == Status::Restarting {
        bail!(container.config.is_restarting());
    }
    match keeper::connect(&state.socket, state.wire)? {
        Some(link) => Ok((state, link)),
        None => bail!("container {name} is stopping"),
    }
}
