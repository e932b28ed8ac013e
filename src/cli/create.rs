//! `coracle create`.

use anyhow::Result;

use super::{
    engine,
    flags::{self, Flags, How},
    told::Told,
};
use coracle_platform::sys;
use coracle_terminal::output::Stream;

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
    let flags = &arguments.flags;
    let request = flags.request(How::Attached)?;
    let told = Told::new(Stream::Error);
    let container = flags::create(&engine()?, &request, flags.cidfile.as_deref(), &told)?;
    outln!("{}", container.id());
    Ok(())
}
