//! `coracle host`: microVMs with a name, which stay up and hold many containers.

mod create;
mod exec;
mod list;
mod scale;

use anyhow::Result;
use clap::Subcommand;
use coracle_engine::ErrorKind;

use super::{each, engine, moment::Seconds, rm, together};
use crate::kernel_build::Display;

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
    let hosts = engine()?.hosts();
    each(&arguments.hosts, |name| {
        hosts.find(name)?.start(&mut Display::new())?;
        outln!("{name}");
        Ok(())
    })
}

fn stop(arguments: &Stop) -> Result<u8> {
    let hosts = engine()?.hosts();
    let seconds = arguments.time.map(|Seconds(time)| time);
    let begin = |name: &String| Ok(hosts.find(name)?.stop(seconds)?);
    together(&arguments.hosts, begin, |name, ending| {
        ending.finish();
        outln!("{name}");
        Ok(())
    })
}

fn remove(arguments: &Remove) -> Result<u8> {
    let hosts = engine()?.hosts();
    let force = arguments.force;
    if force {
        // All of them at once; what is not found or cannot be stopped is told when it is removed.
        let found = arguments.hosts.iter().flat_map(|name| hosts.find(name));
        found.for_each(|host| drop(host.stop(Some(0))));
    }
    each(&arguments.hosts, |name| {
        let host = match hosts.find(name) {
            Err(error) if force && error.kind() == ErrorKind::NotFound => {
                rm::pass_over(&error);
                return Ok(());
            }
            found => found?,
        };
        host.remove(force)?;
        outln!("{name}");
        Ok(())
    })
}
