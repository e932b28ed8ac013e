//! The command line: one file per subcommand.

mod api;
mod attach;
mod bench;
mod choices;
mod completion;
mod container;
mod copy;
mod create;
mod df;
mod diff;
mod doctor;
mod env_file;
mod events;
mod exec;
mod filter;
mod flags;
mod format;
mod history;
mod host;
mod image;
mod images;
mod inspect;
mod kernel;
mod kill;
mod lazy;
mod load;
mod login;
mod logs;
mod machine;
mod man;
mod moment;
mod options;
mod pause;
mod progress;
mod prune;
mod ps;
mod pull;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod start;
mod stats;
mod stop;
mod table;
mod tag;
mod told;
mod top;
mod verify;
mod wait;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ErrorKind},
};

use lazy::Lazy;

use crate::attached::Interrupted;
use ::images::source::registry;
use coracle_engine::{Engine, Settings, images::Registries, state::Directories};
use coracle_software_host::{agent, broker, virtual_time::inside};
use coracle_terminal::output::{self, Failed, Stream};
use coracle_terminal::report::{self, Level};

/// What the command ends with when it is Coracle that failed, as docker's.
pub(crate) const FAILURE: u8 = 125;

/// Run containers, each in a microVM of its own.
#[derive(Parser)]
#[command(
    name = "coracle",
    version,
    long_version = kernel::LONG_VERSION,
    max_term_width = 100,
    after_help = "Run 'coracle COMMAND --help' for more information on a command."
)]
struct Cli {
    /// Logging level on standard error
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", value_parser = choices::level())]
    log_level: Level,
    #[command(subcommand)]
    command: Command,
}

/// Names of containers
#[derive(clap::Args)]
struct Names {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command in a new container
    Run(Lazy<run::Arguments>),
    /// Create a new container
    Create(Lazy<create::Arguments>),
    /// Start one or more stopped containers
    Start(Lazy<start::Arguments>),
    /// Execute a command in a running container
    Exec(Lazy<exec::Arguments>),
    /// List containers
    Ps(Lazy<ps::Arguments>),
    /// Display the running processes of a container
    Top(Lazy<top::Arguments>),
    /// Display a live stream of container resource usage statistics
    Stats(Lazy<stats::Arguments>),
    /// Get real time events of containers and hosts
    Events(Lazy<events::Arguments>),
    /// Copy files between a container and the local file system
    Cp(Lazy<copy::Arguments>),
    /// Inspect changes to files or directories on a container's file system
    Diff(Lazy<top::Arguments>),
    /// Fetch the logs of a container
    Logs(Lazy<logs::Arguments>),
    /// Attach local standard input, output, and error streams to a running container
    Attach(Lazy<attach::Arguments>),
    /// Stop one or more running containers
    Stop(Lazy<stop::Arguments>),
    /// Restart one or more containers
    Restart(Lazy<stop::Arguments>),
    /// Kill one or more running containers
    Kill(Lazy<kill::Arguments>),
    /// Block until one or more containers stop, then print their exit codes
    Wait(Lazy<Names>),
    /// Pause all processes within one or more containers
    Pause(Lazy<Names>),
    /// Unpause all processes within one or more containers
    Unpause(Lazy<Names>),
    /// Rename a container
    Rename(Lazy<rename::Arguments>),
    /// Remove one or more containers
    Rm(Lazy<rm::Arguments>),
    /// Manage containers: list, prune
    Container(Lazy<container::Arguments>),
    /// Manage named hosts: microVMs that hold many containers
    Host(Lazy<host::Arguments>),
    /// Pull an image from a registry
    Pull(Lazy<pull::Arguments>),
    /// Log in to a registry
    Login(Lazy<login::Login>),
    /// Log out from a registry
    Logout(Lazy<login::Logout>),
    /// Load images from an archive, an OCI layout or a root file system
    Load(Lazy<load::Arguments>),
    /// List images
    Images(Lazy<images::Arguments>),
    /// Remove one or more images
    Rmi(Lazy<rmi::Arguments>),
    /// Create a tag that refers to an existing image
    Tag(Lazy<tag::Arguments>),
    /// Return low-level information on containers and images, as JSON
    Inspect(Lazy<inspect::Arguments>),
    /// Show the history of an image
    History(Lazy<history::Arguments>),
    /// Save one or more images to an archive
    Save(Lazy<save::Arguments>),
    /// Show disk usage
    Df(Lazy<df::Arguments>),
    /// Remove unused images and data
    Prune(Lazy<prune::Arguments>),
    /// Manage images: the commands above as docker groups them, and verify
    Image(Lazy<image::Image>),
    /// Manage Coracle: df, prune, start and stop everything
    System(Lazy<image::System>),
    /// Serve the Docker Engine API on a unix socket, for docker's clients
    Api(Lazy<api::Arguments>),
    /// Build and list guest kernels
    Kernel(Lazy<kernel::Arguments>),
    /// Manage the software host, for machines whose KVM cannot run a guest
    Machine(Lazy<machine::Arguments>),
    /// Benchmark container starts, step by step, against other runtimes
    #[command(disable_help_flag = true)]
    Bench(Lazy<bench::Arguments>),
    /// Check whether this machine can run containers, and how to fix what is wrong
    Doctor(Lazy<doctor::Arguments>),
    /// Generate a completion script for a shell
    Completion(Lazy<completion::Arguments>),
    /// Write manual pages into a directory
    Man(Lazy<man::Arguments>),
}

/// Parses the arguments and does what they say; `begun` is when the program began.
pub(crate) fn main(begun: u64) -> ExitCode {
    // The two ends of a software host, and the inside of another, are this same program.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|first| first.to_str()) {
        Some(broker::COMMAND) => return broker::main(arguments),
        Some(agent::COMMAND) => return agent::main(arguments),
        Some(inside::COMMAND) => return inside::main(),
        _ => {}
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    report::set_level(cli.log_level);
    report::listen();
    // As docker: other commands than run have no container's code to keep apart.
    let failure = if matches!(cli.command, Command::Run(_) | Command::Create(_)) {
        FAILURE
    } else {
        1
    };
    let result = dispatch(cli.command, begun);
    conclude(result, output::finish(), failure)
}

/// Prints what is asked for by `--help` or `--version`, on a terminal with its headings as such.
fn print_help(error: &clap::Error) {
    let text = error.render();
    if output::is_terminal(Stream::Output) && std::env::var_os("NO_COLOR").is_none() {
        // Nothing in it but our own words. A failure is noted.
        let _ = output::raw(Stream::Output).write_all(text.ansi().to_string().as_bytes());
    } else {
        output::write(Stream::Output, &text.to_string());
    }
}

/// The exit code for what a command did and what became of its output.
fn conclude(result: anyhow::Result<u8>, written: Result<(), Failed>, failure: u8) -> ExitCode {
    let closed = written
        .as_ref()
        .is_err_and(|failed| failed.is_closed_pipe());
    let code = match (result, written) {
        // As a program that the kernel ends when nobody reads its output, but what it did is done.
        (Ok(0), Err(_)) if closed => output::CLOSED_PIPE,
        (Err(error), _) if closed && is_of_output(&error) => output::CLOSED_PIPE,
        (Ok(code), Err(failed)) if !closed => {
            report::error(&failed.into());
            if code == 0 { failure } else { code }
        }
        (Ok(code), _) => code,
        (Err(error), _) => match error.downcast_ref::<Interrupted>() {
            Some(Interrupted(signal)) => u8::try_from(128 + signal).unwrap_or(failure),
            None => {
                report::error(&error);
                failure
            }
        },
    };
    ExitCode::from(code)
}

/// Whether a command failed only because its output cannot be written.
fn is_of_output(error: &anyhow::Error) -> bool {
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.is::<Failed>() || error.chain().any(is_broken_pipe)
}

fn parse() -> Result<Cli, ExitCode> {
    let mut command = Cli::command();
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print_help(&error);
            conclude(Ok(0), output::finish(), FAILURE)
        }
        _ => {
            let mut error = error;
            // "To pass '-o' as a value, use '-- -o'": no argument of ours begins with a dash.
            let _ = error.remove(ContextKind::Suggested);
            output::write(Stream::Error, &error.render().to_string());
            ExitCode::from(FAILURE)
        }
    })
}

fn dispatch(command: Command, begun: u64) -> anyhow::Result<u8> {
    match command {
        Command::Run(arguments) => return run::main(&arguments, begun),
        Command::Create(arguments) => create::main(&arguments)?,
        Command::Start(arguments) => return start::main(&arguments),
        Command::Exec(arguments) => return exec::main(&arguments),
        Command::Top(arguments) => top::main(&arguments)?,
        Command::Diff(arguments) => diff::main(&arguments)?,
        Command::Stats(arguments) => stats::main(&arguments)?,
        Command::Events(arguments) => events::main(&arguments)?,
        Command::Cp(arguments) => copy::main(&arguments)?,
        Command::Container(arguments) => container::main(&arguments)?,
        Command::Ps(arguments) => ps::main(&arguments)?,
        Command::Logs(arguments) => logs::main(&arguments)?,
        Command::Attach(arguments) => return attach::main(&arguments),
        Command::Stop(arguments) => return stop::main(&arguments),
        Command::Restart(arguments) => return restart::main(&arguments),
        Command::Kill(arguments) => return kill::main(&arguments),
        Command::Wait(arguments) => return wait::main(&arguments),
        Command::Pause(arguments) => return pause::main(&arguments, true),
        Command::Unpause(arguments) => return pause::main(&arguments, false),
        Command::Rename(arguments) => rename::main(&arguments)?,
        Command::Rm(arguments) => return rm::main(&arguments),
        Command::Host(arguments) => return host::main(&arguments, begun),
        Command::Pull(arguments) => pull::main(&arguments)?,
        Command::Login(arguments) => login::login(&arguments)?,
        Command::Logout(arguments) => login::logout(&arguments)?,
        Command::Load(arguments) => load::main(&arguments)?,
        Command::Images(arguments) => images::main(&arguments)?,
        Command::Rmi(arguments) => return rmi::main(&arguments),
        Command::Tag(arguments) => tag::main(&arguments)?,
        Command::Inspect(arguments) => return inspect::main(&arguments),
        Command::History(arguments) => history::main(&arguments)?,
        Command::Save(arguments) => save::main(&arguments)?,
        Command::Df(arguments) => df::main(&arguments)?,
        Command::Prune(arguments) => prune::main(&arguments)?,
        Command::Image(arguments) => return image::image(&arguments),
        Command::System(arguments) => return image::system(&arguments),
        Command::Api(arguments) => return api::main(&arguments),
        Command::Kernel(arguments) => kernel::main(&arguments)?,
        Command::Machine(arguments) => return machine::main(&arguments),
        Command::Bench(arguments) => return bench::main(&arguments),
        Command::Doctor(arguments) => return doctor::main(&arguments),
        Command::Completion(arguments) => completion::main(&arguments, &mut Cli::command()),
        Command::Man(arguments) => man::main(&arguments, Cli::command())?,
    }
    Ok(0)
}

/// The engine: all that it takes from the environment.
///
/// # Errors
/// When these cannot be used.
fn engine() -> anyhow::Result<Engine> {
    Ok(Engine::open(Settings {
        directories: Directories::from_environment()?,
        registries: Registries::new(registry::Settings::from_environment),
        // A command holds nothing that a container's keeper should not have, and of the 94 ms of a start to execute
        // that would take 3 more.
        may_fork: true,
        require_jail: is_set(std::env::var_os("CORACLE_REQUIRE_JAIL").as_deref()),
        environment: || std::env::vars_os().collect(),
    })?)
}

/// Whether a variable that is there or not is there; empty and `0` are as if it was not.
fn is_set(value: Option<&std::ffi::OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != "0")
}

/// Begins something with each of some things, and then ends it with each in their order: what takes time goes on
/// with all of them at once. 1 when one of them failed, which is told.
fn together<T>(
    names: &[String],
    begin: impl FnMut(&String) -> anyhow::Result<T>,
    mut end: impl FnMut(&String, T) -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    let begun: Vec<anyhow::Result<T>> = names.iter().map(begin).collect();
    let mut begun = begun.into_iter();
    each(names, |name| match begun.next() {
        Some(begun) => end(name, begun?),
        None => Ok(()),
    })
}

/// Applies `action` to each item; reports failures, and returns 1 if any failed.
fn each<T>(items: &[T], mut action: impl FnMut(&T) -> anyhow::Result<()>) -> anyhow::Result<u8> {
    let mut code = 0;
    for item in items {
        if let Err(error) = action(item) {
            report::error(&error);
            code = 1;
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_jail_is_required_by_a_word_in_the_environment() {
        for (value, expected) in [
            (None, false),
            (Some(""), false),
            (Some("0"), false),
            (Some("1"), true),
        ] {
            assert_eq!(
                is_set(value.map(std::ffi::OsStr::new)),
                expected,
                "{value:?}"
            );
        }
    }
}
