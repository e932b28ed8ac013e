//! `coracle container`, `system start` and `system stop`: what concerns all containers.

use anyhow::{Result, bail};
use clap::Subcommand;
use docker_model::filters::Filters;

use super::{
    filter,
    lifecycle::{self, remove_one},
    moment::Moment,
    ps, start,
};
use coracle_engine::keeper;
use coracle_engine::state::{
    Directories,
    container::{Container, Containers},
};
use coracle_terminal::output::{self, Stream};
use coracle_terminal::report;

/// Manage containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List containers
    #[command(visible_alias = "ps")]
    Ls(ps::Arguments),
    /// Remove all stopped containers
    Prune(Prune),
}

#[derive(clap::Args)]
struct Prune {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Filter output based on conditions: until=TIME, label=NAME[=VALUE]
    #[arg(long, value_name = "NAME=VALUE", value_parser = |text: &str| super::options::pair(text, '='))]
    filter: Vec<(String, String)>,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Ls(arguments) => ps::main(arguments),
        Command::Prune(arguments) => prune(arguments),
    }
}

fn prune(arguments: &Prune) -> Result<()> {
    if !arguments.force && !asked()? {
        return Ok(());
    }
    let directories = Directories::from_environment()?;
    let containers = Containers::new(&directories);
    let filters = filter::filters(&arguments.filter, &["until", "label"])?;
    let until = filters.values("until").map(str::parse);
    let until = until.collect::<Result<Vec<Moment>, _>>();
    let until = until.map_err(anyhow::Error::msg)?;
    let mut removed = Vec::new();
    for container in containers.list()? {
        let Ok(state) = container.state() else {
            continue;
        };
        if state.status.is_live() || !is_meant(&container, &filters, &until) {
            continue;
        }
        match remove_one(&containers, &container, false, &directories) {
            Ok(()) => removed.push(container.config.id),
            Err(error) => report::warn(&format!("{error:#}")),
        }
    }
    if !removed.is_empty() {
        out!("Deleted Containers:\n{}\n\n", removed.join("\n"));
    }
    outln!("Total reclaimed space: 0B");
    Ok(())
}

fn asked() -> Result<bool> {
    out!(
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? \
         [y/N] "
    );
    output::flush(Stream::Output);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

fn is_meant(container: &Container, filters: &Filters, until: &[Moment]) -> bool {
    let config = &container.config;
    let mut until = until.iter();
    until.all(|Moment(until)| config.created < *until) && filters.labels(&config.labels)
}

/// Starts the containers whose restart policy wants it.
pub(super) fn start_all() -> Result<u8> {
    let directories = Directories::from_environment()?;
    let containers = Containers::new(&directories);
    let mut ids = Vec::new();
    for container in containers.list()? {
        let Ok(state) = container.state() else {
            continue;
        };
        // Those of a named host are started by its keeper.
        let own = container.config.host.is_none();
        if own && keeper::wants_start(container.config.restart, &state) {
            ids.push(container.config.id);
        }
    }
    let hosts = super::host::start_all(&directories)?;
    let started = super::each(&ids, |id| {
        let container = containers.open(id)?;
        let link = start::start(&container, &directories, None)?;
        match start::until_started(&link)? {
            Some(crate::attached::Ended::Failed { message, .. }) => bail!(message),
            _ => outln!("{}", container.config.name),
        }
        Ok(())
    })?;
    Ok(hosts.max(started))
}

/// Stops all containers.
pub(super) fn stop_all() -> Result<u8> {
    let directories = Directories::from_environment()?;
    let containers = lifecycle::begin_stop_all(&Containers::new(&directories))?;
    let hosts = super::host::begin_stop_all(&directories)?;
    for container in containers {
        drop(container.keeper_lock());
        outln!("{}", container.config.name);
    }
    for host in hosts {
        drop(host.keeper_lock());
        outln!("{}", host.config.name);
    }
    Ok(0)
}
