//! `coracle container`, `system start` and `system stop`: what concerns all containers.

use anyhow::{Result, bail};
use clap::Subcommand;
use coracle_engine::{
    Everything,
    containers::{Container, Ended, StartOptions},
};
use coracle_terminal::{
    output::{self, Stream},
    report,
};
use docker_model::filters::Filters;

use super::{each, engine, filter, moment::Moment, ps};
use crate::kernel_build::Display;

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
    let filters = filter::filters(&arguments.filter, &["until", "label"])?;
    let until = filters.values("until").map(str::parse);
    let until = until.collect::<Result<Vec<Moment>, _>>();
    let until = until.map_err(anyhow::Error::msg)?;
    let is_meant = |container: &Container| is_meant(container, &filters, &until);
    let containers = engine()?.containers();
    let removed = containers.prune(is_meant, |error| report::warn(&format!("{error:#}")))?;
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
    let config = container.config();
    let mut until = until.iter();
    until.all(|Moment(until)| config.created < *until) && filters.labels(&config.labels)
}

/// Starts the hosts and containers whose restart policy wants it.
pub(super) fn start_all() -> Result<u8> {
    let Everything { hosts, containers } = engine()?.starts_with_system()?;
    let hosts = each(&hosts, |host| {
        host.start(&mut Display::new())?;
        outln!("{}", host.name());
        Ok(())
    })?;
    let containers = each(&containers, |container| {
        let link = container.start(StartOptions::default(), &mut Display::new())?;
        if let Some(Ended::Failed { message, .. }) = link.until_started()? {
            bail!(message);
        }
        outln!("{}", container.name());
        Ok(())
    })?;
    Ok(hosts.max(containers))
}

/// Stops all hosts and containers.
pub(super) fn stop_all() -> Result<u8> {
    let stopping = engine()?.stop_with_system(|text| report::warn(&text))?;
    for container in stopping.containers {
        container.until_left();
        outln!("{}", container.name());
    }
    for host in stopping.hosts {
        host.until_left();
        outln!("{}", host.name());
    }
    Ok(0)
}
