//! `coracle machine`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use super::{engine, options::Bytes, table};
use coracle_engine::{
    containers::{Container, values},
    state::Directories,
};
use coracle_software_host::{
    self,
    virtual_time::{self, Addition, Job, MIN_MEMORY_MIB},
};
use coracle_terminal::output;
use coracle_terminal::report;

/// The software host, in which containers run where KVM cannot run a guest
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start the software host, and wait until it is up
    Start,
    /// Stop the software host, with all that runs in it
    Stop,
    /// Show whether it is running; exits with 1 if it is not
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Open a root shell in it
    Shell,
    /// Run a command in a virtual machine whose clock counts instructions, 2 ns each: the same work
    /// takes the same time, however busy this machine is. It contains busybox and the named files only
    VirtualTime(VirtualTime),
}

#[derive(clap::Args)]
struct VirtualTime {
    /// File or directory to add, and its path there; programs bring their shared libraries
    #[arg(long, value_name = "PATH[:TARGET]")]
    file: Vec<Addition>,
    /// Copy what the command leaves in /out to this directory
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
    /// Memory of the machine, which holds all files, too
    #[arg(long, value_name = "SIZE", default_value = "2g", value_parser = memory_mib)]
    memory: u64,
    /// Debian's kernel for the machine, by its series
    #[arg(long, value_name = "MAJOR.MINOR", value_parser = series)]
    kernel_series: Option<String>,
    /// Command to run as root; its exit code is passed on
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn memory_mib(text: &str) -> Result<u64, String> {
    let Bytes(bytes) = text.parse()?;
    values::at_least(bytes, MIN_MEMORY_MIB << 20).map(|bytes| bytes >> 20)
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let directories = Directories::from_environment()?;
    match &arguments.action {
        Action::Start => coracle_software_host::start(&directories)?,
        Action::Stop => stop()?,
        Action::Status { json } => return status(&directories, *json),
        Action::Shell => return coracle_software_host::shell(&directories),
        Action::VirtualTime(arguments) => {
            let job = Job {
                additions: arguments.file.clone(),
                output: arguments.output.clone(),
                memory_mib: arguments.memory,
                series: arguments.kernel_series.clone(),
                command: arguments.command.clone(),
            };
            return virtual_time::run(&directories, &job);
        }
    }
    Ok(0)
}

/// Stops it, and tells of the containers that would start again by their policy, and now do not.
fn stop() -> Result<()> {
    let ended = engine()?.stop_software_host()?;
    let names: Vec<&str> = ended.iter().map(Container::name).collect();
    if !names.is_empty() {
        report::info(&format!(
            "{} ended with the software host, and will not start again by {} restart policy before \
             'coracle system start'",
            names.join(", "),
            if names.len() == 1 { "its" } else { "their" }
        ));
    }
    Ok(())
}

/// Two numbers with a dot between, which also become a part of paths.
fn series(text: &str) -> Result<String, String> {
    let number = |text: &str| text.parse::<u16>().is_ok();
    match text.split_once('.') {
        Some((major, minor)) if number(major) && number(minor) => Ok(text.into()),
        _ => Err("it is two numbers, as 6.12".into()),
    }
}

fn status(directories: &Directories, as_json: bool) -> Result<u8> {
    let status = coracle_software_host::status(directories)?;
    let code = u8::from(!status.running);
    if as_json {
        output::json_pretty(&status)?;
        return Ok(code);
    }
    if !status.running {
        outln!("stopped");
        return Ok(code);
    }
    let pid = status.pid.map_or("?".into(), |pid| pid.to_string());
    outln!("running     for {} s (process {pid})", status.seconds);
    outln!(
        "machine     {} processor, {}",
        status.processors,
        table::binary_size(status.memory_mib << 20)
    );
    outln!("kernel      {}", status.kernel);
    outln!("in use by   {} monitors and shells", status.clients);
    outln!("stops       after {} s without any", status.idle_seconds);
    Ok(code)
}
