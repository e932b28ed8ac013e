//! `coracle stop`, `kill`, `restart`, `wait`, `rm`, `rename`, `pause` and `unpause`.

use anyhow::{Context, Result, bail};
use rustix::process::Pid;

use super::{
    each,
    options::Signal,
    start::{self, keeper_of},
};
use crate::{
    keeper::{
        self,
        wire::{Event, Request},
    },
    state::{
        Directories,
        container::{Container, Containers},
        journal,
    },
};

/// Ask containers to stop, and kill those that have not when their time is over
#[derive(clap::Args)]
pub(super) struct Stop {
    /// Names or identifiers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Seconds until it is killed [default: those given to 'run']
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    time: Option<u64>,
    /// Signal to send [default: the container's]
    #[arg(short, long)]
    signal: Option<Signal>,
}

/// Kill containers, or send them another signal
#[derive(clap::Args)]
pub(super) struct Kill {
    /// Names or identifiers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Signal to send
    #[arg(short, long, default_value = "KILL")]
    signal: Signal,
}

/// Names of containers
#[derive(clap::Args)]
pub(super) struct Names {
    /// Names or identifiers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Remove containers
#[derive(clap::Args)]
pub(super) struct Remove {
    /// Names or identifiers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Kill those that run
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes, too (there are none)
    #[arg(short, long)]
    volumes: bool,
}

/// Give a container another name
#[derive(clap::Args)]
pub(super) struct Rename {
    /// The container
    container: String,
    /// Its new name
    name: String,
}

pub(super) fn stop(arguments: &Stop) -> Result<u8> {
    let containers = Containers::new(&Directories::new()?);
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        stop_one(&container, arguments.signal, arguments.time)?;
        outln!("{name}");
        Ok(())
    })
}

/// Stops a container, if it runs, and waits until it has.
///
/// # Errors
/// When its keeper refuses.
pub(super) fn stop_one(
    container: &Container,
    signal: Option<Signal>,
    seconds: Option<u64>,
) -> Result<()> {
    let state = container.state()?;
    if !state.status.is_live() {
        return Ok(());
    }
    let request = Request::Stop {
        container: container.config.id.clone(),
        signal: signal.map(|Signal(number)| number),
        seconds,
    };
    ask(container, &request)?;
    // Its keeper is gone with it, and a restart may follow at once.
    drop(container.keeper_lock());
    Ok(())
}

/// Asks a container's keeper for something, and waits until it is done. A container that ends
/// meanwhile is the answer, too.
///
/// # Errors
/// When the keeper refuses.
fn ask(container: &Container, request: &Request) -> Result<Option<u8>> {
    let state = container.state()?;
    let Some(link) = keeper::connect(&state.socket)? else {
        return Ok(None);
    };
    if link.send(request, None).is_err() {
        return Ok(None);
    }
    loop {
        let received = link.receive::<Event>();
        match received.context("cannot hear from the container's keeper")? {
            Some((Event::Exited(exit), _)) => return Ok(Some(exit.code)),
            Some((Event::Failed { code, .. }, _)) => return Ok(Some(code)),
            Some((Event::Refused { message }, _)) => bail!(message),
            Some((Event::Done, _)) | None => return Ok(None),
            Some(_) => {}
        }
    }
}

pub(super) fn kill(arguments: &Kill) -> Result<u8> {
    let containers = Containers::new(&Directories::new()?);
    let Signal(signal) = arguments.signal;
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        // It says so when the container does not run.
        let _ = keeper_of(&container)?;
        let request = Request::Signal {
            container: container.config.id.clone(),
            signal,
        };
        ask(&container, &request)?;
        outln!("{name}");
        Ok(())
    })
}

pub(super) fn restart(arguments: &Stop) -> Result<u8> {
    let directories = Directories::new()?;
    let containers = Containers::new(&directories);
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        stop_one(&container, arguments.signal, arguments.time)?;
        let link = start::start(&container, &directories, None)?;
        match start::until_started(&link)? {
            Some(crate::engine::Ended::Failed { message, .. }) => bail!("{name}: {message}"),
            _ => outln!("{name}"),
        }
        journal::note(&directories.data, &container.config, "restart", &[]);
        Ok(())
    })
}

pub(super) fn wait(arguments: &Names) -> Result<u8> {
    let containers = Containers::new(&Directories::new()?);
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        outln!("{}", wait_one(&container)?);
        Ok(())
    })
}

/// Waits until a container does not run; its exit code.
fn wait_one(container: &Container) -> Result<i32> {
    let state = container.state()?;
    if state.status.is_live() {
        let request = Request::Wait {
            container: container.config.id.clone(),
        };
        if let Ok(Some(code)) = ask(container, &request) {
            return Ok(code.into());
        }
        // It ended just now, in whatever way; its keeper has the last word.
        drop(container.keeper_lock());
    }
    Ok(container.state()?.exit_code)
}

pub(super) fn remove(arguments: &Remove) -> Result<u8> {
    let directories = Directories::new()?;
    let containers = Containers::new(&directories);
    each(&arguments.containers, |name| {
        let container = match containers.find(name) {
            Err(_) if arguments.force => return Ok(()),
            found => found?,
        };
        remove_one(&containers, &container, arguments.force, &directories)?;
        outln!("{name}");
        Ok(())
    })
}

/// Removes a container, with `force` even one that runs, or that is gone meanwhile.
///
/// # Errors
/// When it runs, or cannot be removed.
pub(super) fn remove_one(
    containers: &Containers,
    container: &Container,
    force: bool,
    directories: &Directories,
) -> Result<()> {
    match remove_now(containers, container, force, directories) {
        // Its keeper was as quick.
        Err(_) if force && !container.directory().exists() => Ok(()),
        done => done,
    }
}

fn remove_now(
    containers: &Containers,
    container: &Container,
    force: bool,
    directories: &Directories,
) -> Result<()> {
    let _edit = container.edit()?;
    let state = container.state()?;
    if state.status.is_live() {
        if !force {
            let name = &container.config.name;
            bail!(
                "container {name} is {}; 'coracle stop {name}' stops it, and --force removes it \
                 anyway",
                state.status.word()
            );
        }
        let request = Request::Stop {
            container: container.config.id.clone(),
            signal: Some(9),
            seconds: Some(0),
        };
        // A keeper that is gone already is what is wanted.
        let _ = ask(container, &request);
    }
    if !container.directory().is_dir() {
        // Its keeper removed it, as it was told when it was made.
        return Ok(());
    }
    let lock = container.keeper_lock()?;
    containers.remove(container, &lock)?;
    journal::note(&directories.data, &container.config, "destroy", &[]);
    Ok(())
}

pub(super) fn rename(arguments: &Rename) -> Result<()> {
    let directories = Directories::new()?;
    let containers = Containers::new(&directories);
    let mut container = containers.find(&arguments.container)?;
    containers.rename(&mut container, &arguments.name)?;
    journal::note(&directories.data, &container.config, "rename", &[]);
    if container.state()?.status.is_live() {
        let id = container.config.id.clone();
        // One that has just ended is known to nobody.
        let _ = ask(&container, &Request::Rename { container: id });
    }
    Ok(())
}

/// Pauses containers, or lets them go on.
pub(super) fn pause(arguments: &Names, paused: bool) -> Result<u8> {
    let containers = Containers::new(&Directories::new()?);
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        let _ = keeper_of(&container)?;
        let request = Request::Pause {
            container: container.config.id.clone(),
            paused,
        };
        ask(&container, &request)?;
        outln!("{name}");
        Ok(())
    })
}

/// Asks a keeper to end, as the system does. Its lock is held, so the number is still its own.
///
/// # Errors
/// As `kill(2)`.
pub(super) fn terminate(keeper: u32) -> Result<()> {
    let keeper = i32::try_from(keeper).ok().and_then(Pid::from_raw);
    let keeper = keeper.context("there is no keeper")?;
    Ok(rustix::process::kill_process(
        keeper,
        rustix::process::Signal::TERM,
    )?)
}

/// Stops all containers; not as a person would, so that they start again with the system.
pub(super) fn stop_all(containers: &Containers) -> Result<u8> {
    let mut stopping = Vec::new();
    for container in containers.list()? {
        let Ok(state) = container.state() else {
            continue;
        };
        // Those of a named host end with it.
        if state.status.is_live() && container.config.host.is_none() {
            // One that is gone already is what is wanted.
            let _ = terminate(state.keeper);
            stopping.push(container);
        }
    }
    for container in stopping {
        drop(container.keeper_lock());
        outln!("{}", container.config.name);
    }
    Ok(0)
}
