//! `coracle exec`.

use anyhow::{Result, bail};
use coracle_protocol::Process;
use vmm::control::Socket;

use super::{
    options,
    start::{code_of, keeper_of, until_started},
};
use crate::attached::{Attached, Ended};
use coracle_engine::keeper::wire::{Request, Work};
use coracle_engine::state::{Directories, container::Container, container::Containers};
use coracle_platform::sys;
use coracle_terminal::raw::{DetachKeys, Terminal};

/// Execute a command in a running container
#[derive(clap::Args)]
#[command(override_usage = "coracle exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(super) struct Arguments {
    /// Container, and the command with its arguments
    #[arg(
        required = true,
        num_args = 2..,
        trailing_var_arg = true,
        value_name = "CONTAINER COMMAND [ARG...]"
    )]
    container_and_command: Vec<String>,
    #[command(flatten)]
    program: Program,
    /// Override the key sequence for detaching from the command
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
}

/// How a program is run beside others.
#[derive(clap::Args)]
pub(super) struct Program {
    /// Keep standard input open even if not attached
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Detached mode: run command in the background
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Set an environment variable, or pass on one of this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,
    /// Working directory [default: the container's]
    #[arg(short, long, value_name = "DIRECTORY")]
    pub(super) workdir: Option<String>,
    /// User name or UID, and group name or GID [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let Some((name, command)) = arguments.container_and_command.split_first() else {
        bail!("no container specified");
    };
    // As 'run' does.
    sys::show(&format!("coracle exec {name}"));
    let is_terminal = coracle_terminal::raw::standard_input_is_terminal();
    if arguments.program.tty
        && arguments.program.interactive
        && !arguments.program.detach
        && !is_terminal
    {
        bail!("the input device is not a TTY; omit -t, or run in a terminal");
    }
    let signals = crate::attached::take_signals()?;
    let container = Containers::new(&Directories::from_environment()?).find(name)?;
    let (_, link) = keeper_of(&container)?;
    ask(&link, &container, arguments, command)?;
    if arguments.program.detach {
        return match until_started(&link)? {
            None | Some(Ended::Exited(_) | Ended::Detached) => Ok(0),
            Some(failed) => code_of(failed),
        };
    }
    let raw = match arguments.program.tty && is_terminal {
        true => Some(Terminal::raw()?),
        false => None,
    };
    let keys = arguments.detach_keys.clone().unwrap_or_default();
    let keys = (arguments.program.tty && arguments.program.interactive).then_some(keys);
    let attached = Attached::new(link, signals, false, arguments.program.tty, keys)?;
    let ended = attached.beside().run();
    drop(raw);
    code_of(ended?)
}

fn ask(
    link: &Socket,
    container: &Container,
    arguments: &Arguments,
    command: &[String],
) -> Result<()> {
    let request = Request::Exec {
        container: container.config.id.clone(),
        work: Box::new(Work::Program(process(container, arguments, command)?)),
        input: arguments.program.interactive && !arguments.program.detach,
        output: !arguments.program.detach,
    };
    link.send(&request, None)?;
    Ok(())
}

/// The container's own process with another command.
fn process(container: &Container, arguments: &Arguments, command: &[String]) -> Result<Process> {
    let mut process = container.config.spec.process.clone();
    process.args = command.to_vec();
    process.init = false;
    process.terminal = arguments.program.tty.then(coracle_terminal::raw::size);
    if arguments.program.tty && !process.env.iter().any(|line| line.starts_with("TERM=")) {
        process.env.push("TERM=xterm".into());
    }
    for entry in &arguments.program.env {
        let entry = options::environment(entry).map_err(anyhow::Error::msg)?;
        coracle_engine::set_variable(&mut process.env, &entry);
    }
    if let Some(directory) = &arguments.program.workdir {
        if !directory.starts_with('/') {
            bail!("working directory {directory:?} is not an absolute path");
        }
        process.cwd.clone_from(directory);
    }
    if let Some(user) = &arguments.program.user {
        process.user.clone_from(user);
        process.groups.clear();
    }
    Ok(process)
}
