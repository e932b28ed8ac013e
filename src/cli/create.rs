//! `coracle create`.

use anyhow::Result;

use super::flags::{self, Flags};
use coracle_engine::state::Directories;
use coracle_platform::sys;

/// Create a new container, and print its ID
#[derive(clap::Args)]
#[command(
    disable_help_flag = true,
    override_usage = "coracle create [OPTIONS] IMAGE [COMMAND] [ARG...]"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    // As 'run' does: the image may have to be pulled first.
    sys::show("coracle create");
    let directories = Directories::from_environment()?;
    let container = flags::create(&arguments.flags, &directories, true, &mut |_| {})?;
    outln!("{}", container.config.id);
    Ok(())
}
