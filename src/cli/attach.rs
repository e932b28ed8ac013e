//! `coracle attach`.

use anyhow::Result;
use coracle_engine::{containers::AttachOptions, state::container::Status};
use coracle_terminal::raw::DetachKeys;

use super::{engine, start::code_of};
use crate::attached::{self, Attached};

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
    let container = engine()?.containers().find(&arguments.container)?;
    let signals = attached::take_signals()?;
    let input = !arguments.no_stdin;
    let link = container.attach(AttachOptions {
        input,
        // One that was only created is attached before its start.
        hold: container.state()?.status == Status::Created,
    })?;
    let tty = container.config().spec.process.terminal.is_some();
    let input = input && container.config().interactive;
    let keys = (tty && input).then(|| arguments.detach_keys.clone().unwrap_or_default());
    let raw = attached::raw_terminal(tty && input)?;
    let ended = Attached::new(link, signals, false, tty, keys)?.run();
    drop(raw);
    code_of(ended?)
}
