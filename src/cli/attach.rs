//! `coracle attach`.

use anyhow::Result;

use super::start::{code_of, keeper_of};
use crate::attached::Attached;
use coracle_engine::keeper::{self, wire::Request};
use coracle_engine::state::{
    Directories,
    container::{Containers, Status},
};
use coracle_terminal::raw::{DetachKeys, Terminal};

/// Attach local standard input, output, and error streams to a running container
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name or ID
    container: String,
    /// Do not attach standard input
    #[arg(long)]
    no_stdin: bool,
    /// Override the key sequence for detaching from a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let container = Containers::new(&directories).find(&arguments.container)?;
    let signals = crate::attached::take_signals()?;
    let config = &container.config;
    let tty = config.spec.process.terminal.is_some();
    let input = config.interactive && !arguments.no_stdin;
    // One that was only created is attached before its start.
    let link = if container.state()?.status == Status::Created {
        keeper::client::attach(&container, input, &directories)?
    } else {
        let (_, link) = keeper_of(&container)?;
        let id = config.id.clone();
        let attach = Request::Attach {
            container: id,
            input,
        };
        link.send(&attach, None)?;
        link
    };
    let raw = match tty && input && coracle_terminal::raw::standard_input_is_terminal() {
        true => Some(Terminal::raw()?),
        false => None,
    };
    let keys = arguments.detach_keys.clone().unwrap_or_default();
    let keys = (tty && input).then_some(keys);
    let ended = Attached::new(link, signals, false, tty, keys)?.run();
    drop(raw);
    code_of(ended?)
}
