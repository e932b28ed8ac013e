//! `coracle host`: microVMs with a name, which stay up and hold many containers.

mod create;
mod exec;
mod list;
mod scale;

use std::collections::BTreeMap;

use crate::kernel_build::Display;
use anyhow::{Context, Result, bail};
use clap::Subcommand;

use super::{each, lifecycle, moment::Seconds, start::until_taken, together};
use coracle_engine::keeper::{
    self,
    wire::{Event, Request},
};
use coracle_engine::state::{
    Directories, NotFound,
    container::{Container, Containers, Summary},
    disk,
    host::{Host, Hosts, State, Status},
};
use coracle_terminal::report;

/// Manage named hosts: microVMs that hold many containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a host and start it
    Create(create::Arguments),
    /// List hosts
    #[command(visible_alias = "ps")]
    Ls(list::Arguments),
    /// Return low-level information on hosts, as JSON
    Inspect(list::Inspect),
    /// Start one or more hosts, with the containers whose restart policy says so
    Start(Names),
    /// Stop one or more hosts, with all their containers
    Stop(Stop),
    /// Remove one or more hosts
    Rm(Remove),
    /// Execute a command as root of a host
    Exec(exec::Arguments),
    /// Set the number of containers of an image in a host
    Scale(scale::Arguments),
}

#[derive(clap::Args)]
struct Names {
    /// Names or IDs
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
}

#[derive(clap::Args)]
struct Stop {
    /// Names or IDs
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// Time to wait before killing a container; -1 to wait forever [default: the container's]
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "DURATION",
        allow_negative_numbers = true
    )]
    time: Option<Seconds>,
}

#[derive(clap::Args)]
struct Remove {
    /// Names or IDs
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// Force the removal of a running host, and of its containers
    #[arg(short, long)]
    force: bool,
}

pub(super) fn main(arguments: &Arguments, begun: u64) -> Result<u8> {
    match &arguments.command {
        Command::Create(arguments) => create::main(arguments).map(|()| 0),
        Command::Ls(arguments) => list::main(arguments).map(|()| 0),
        Command::Inspect(arguments) => list::inspect(arguments),
        Command::Start(arguments) => start(arguments),
        Command::Stop(arguments) => stop(arguments),
        Command::Rm(arguments) => remove(arguments),
        Command::Exec(arguments) => exec::main(arguments, begun),
        Command::Scale(arguments) => scale::main(arguments),
    }
}

fn start(arguments: &Names) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let hosts = Hosts::new(&directories);
    each(&arguments.hosts, |name| {
        start_one(&hosts.find(name)?, &directories)?;
        outln!("{name}");
        Ok(())
    })
}

/// Starts a host, unless it is up, and waits until its guest is.
///
/// # Errors
/// When it cannot be started.
fn start_one(host: &Host, directories: &Directories) -> Result<()> {
    let _edit = host.edit()?;
    if host.state()?.status == Status::Running {
        return Ok(());
    }
    let prepared = keeper::prepare_host(&host.config, directories, &mut Display::new())?;
    boot(host, prepared, directories)
}

/// Starts a host that is not up, and waits until its guest is.
///
/// # Errors
/// When it cannot be started.
fn boot(host: &Host, prepared: keeper::Prepared, directories: &Directories) -> Result<()> {
    if let Some(size) = host.config.disk {
        let own = (&*host.config.name, &*host.config.id);
        disk::create_for_host(&directories.data, own, size)?;
    }
    let link = keeper::start_host(host, prepared, directories)?;
    until_taken(&link)?;
    let received = link.receive::<Event>();
    match received.context("lost connection to the host's keeper")? {
        Some((Event::Started, _)) => Ok(()),
        Some((Event::Failed { message, .. }, _)) => {
            // It is gone with all that it had when this returns.
            drop(host.keeper_lock());
            bail!("host {}: {message}", host.config.name)
        }
        _ => bail!(
            "the keeper of host {} ended while the host started; see {}",
            host.config.name,
            host.directory().join("keeper.log").display()
        ),
    }
}

fn stop(arguments: &Stop) -> Result<u8> {
    let hosts = Hosts::new(&Directories::from_environment()?);
    let begin = |name: &String| {
        let host = hosts.find(name)?;
        let running = begin_stop(&host, arguments.time.map(|Seconds(time)| time))?;
        Ok((host, running))
    };
    together(&arguments.hosts, begin, |name, (host, running)| {
        if running {
            drop(host.keeper_lock());
        }
        outln!("{name}");
        Ok(())
    })
}

/// Asks a host to stop; whether it is up, and its keeper's lock is free when it is not.
///
/// # Errors
/// When its keeper cannot be reached.
fn begin_stop(host: &Host, seconds: Option<u64>) -> Result<bool> {
    let state = host.state()?;
    if state.status != Status::Running {
        return Ok(false);
    }
    if let Some(link) = keeper::connect(&state.socket, state.wire)? {
        // A keeper that is just ending is what is wanted.
        let _ = link.send(&Request::StopHost { seconds }, None);
    }
    Ok(true)
}

fn remove(arguments: &Remove) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let hosts = Hosts::new(&directories);
    let containers = Containers::new(&directories);
    if arguments.force {
        // All of them at once; what cannot be stopped is told when it is removed.
        for host in arguments
            .hosts
            .iter()
            .filter_map(|name| hosts.find(name).ok())
        {
            let _ = begin_stop(&host, Some(0));
        }
    }
    each(&arguments.hosts, |name| {
        let host = match hosts.find(name) {
            Err(error) if arguments.force && error.is::<NotFound>() => {
                return lifecycle::passed_over(&error);
            }
            found => found?,
        };
        remove_one(&host, arguments.force, &hosts, &containers, &directories)?;
        outln!("{name}");
        Ok(())
    })
}

fn remove_one(
    host: &Host,
    force: bool,
    hosts: &Hosts,
    containers: &Containers,
    directories: &Directories,
) -> Result<()> {
    let _edit = host.edit()?;
    let name = &host.config.name;
    let up = host.state()?.status == Status::Running;
    let own = containers_of(host, containers)?;
    if !force && up {
        bail!(
            "cannot remove host {name}: it is running; stop it first ('coracle host stop {name}'), or use --force"
        );
    }
    if !force && !own.is_empty() {
        bail!(
            "cannot remove host {name}: it has {} containers ('coracle ps -a --filter host={name}'); \
             remove them first, or use --force",
            own.len()
        );
    }
    if begin_stop(host, Some(0))? {
        drop(host.keeper_lock());
    }
    for container in own {
        if container.directory().is_dir() {
            lifecycle::remove_one(containers, &container, true, directories)?;
        }
    }
    let lock = host.keeper_lock()?;
    // A keeper that was killed could not.
    disk::remove_of_host(&directories.data, name);
    hosts.remove(host, &lock)
}

/// The containers of a host, newest first.
///
/// # Errors
/// When they cannot be listed.
fn containers_of(host: &Host, containers: &Containers) -> Result<Vec<Container>> {
    let all = containers.list()?.into_iter();
    let id = &host.config.id;
    Ok(all
        .filter(|container| container.config.host.as_ref() == Some(id))
        .collect())
}

/// How many containers of each host there are, and how many of them run.
fn counts(containers: &[Summary]) -> BTreeMap<String, (usize, usize)> {
    let mut counts = BTreeMap::new();
    for Summary { state, .. } in containers {
        if let Some(host) = &state.shown.host {
            let (all, running): &mut (usize, usize) = counts.entry(host.clone()).or_default();
            *all += 1;
            *running += usize::from(state.status.is_live());
        }
    }
    counts
}

/// Starts the hosts that were up when the system ended.
pub(super) fn start_all(directories: &Directories) -> Result<u8> {
    let mut names = Vec::new();
    let hosts = Hosts::new(directories);
    for host in hosts.list()? {
        if host.state().is_ok_and(|state| starts_with_system(&state)) {
            names.push(host.config.name);
        }
    }
    each(&names, |name| {
        start_one(&hosts.find(name)?, directories)?;
        outln!("{name}");
        Ok(())
    })
}

fn starts_with_system(state: &State) -> bool {
    state.status == Status::Exited && !state.stopped
}

/// Has all hosts stop; not as a person would, so that they start again with the system. Gives those that are up.
///
/// # Errors
/// When they cannot be listed.
pub(super) fn begin_stop_all(directories: &Directories) -> Result<Vec<Host>> {
    let mut stopping = Vec::new();
    for host in Hosts::new(directories).list()? {
        let Ok(state) = host.state() else {
            continue;
        };
        if state.status == Status::Running {
            if let Err(error) = lifecycle::terminate(state.keeper) {
                report::warn(&format!("cannot stop host {}: {error}", host.config.name));
                continue;
            }
            stopping.push(host);
        }
    }
    Ok(stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_that_a_person_stopped_stays_down_when_the_system_starts() {
        let mut state = State {
            status: Status::Exited,
            ..State::new()
        };
        assert!(starts_with_system(&state));
        state.stopped = true;
        assert!(!starts_with_system(&state));
        assert!(!starts_with_system(&State::new()));
    }
}
