//! `coracle exec`.

use anyhow::{Result, bail};
use coracle_engine::containers::{ExecRequest, ExecStreams};
use coracle_platform::sys;
use coracle_terminal::raw::{self, DetachKeys};

use super::{engine, options, start::code_of};
use crate::attached::{self, Attached, Ended};

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
    let program = &arguments.program;
    let is_terminal = raw::standard_input_is_terminal();
    if program.tty && program.interactive && !program.detach && !is_terminal {
        bail!("the input device is not a TTY; omit -t, or run in a terminal");
    }
    let signals = attached::take_signals()?;
    let container = engine()?.containers().find(name)?;
    let link = container.exec(&program.request(command)?)?;
    if program.detach {
        return match link.until_started()?.map(Ended::from) {
            None | Some(Ended::Exited(_) | Ended::Detached) => Ok(0),
            Some(failed) => code_of(failed),
        };
    }
    let raw = attached::raw_terminal(program.tty)?;
    let keys = arguments.detach_keys.clone().unwrap_or_default();
    let keys = (program.tty && program.interactive).then_some(keys);
    let attached = Attached::new(link, signals, false, program.tty, keys)?;
    let ended = attached.beside().run();
    drop(raw);
    code_of(ended?)
}

impl Program {
    /// What is asked of the engine.
    fn request(&self, command: &[String]) -> Result<ExecRequest> {
        let env = self.env.iter().map(|entry| options::environment(entry));
        let env: Result<_, String> = env.collect();
        Ok(ExecRequest {
            command: command.to_vec(),
            terminal: self.tty.then(raw::size),
            env: env.map_err(anyhow::Error::msg)?,
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            streams: ExecStreams {
                stdin: self.interactive && !self.detach,
                stdout: !self.detach,
                stderr: !self.detach,
            },
        })
    }
}
