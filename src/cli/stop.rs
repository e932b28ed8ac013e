//! `coracle stop`.

use anyhow::Result;
use coracle_engine::containers::{Ending, StopOptions};

use super::{engine, moment::Seconds, options::Signal, together};

/// Stop one or more running containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    pub(super) containers: Vec<String>,
    /// Time to wait before killing the container; -1 to wait forever [default: the container's]
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "DURATION",
        allow_negative_numbers = true
    )]
    time: Option<Seconds>,
    /// Signal to send to the container [default: the container's stop signal]
    #[arg(short, long)]
    signal: Option<Signal>,
}

impl Arguments {
    /// What is asked of the engine.
    pub(super) fn options(&self) -> StopOptions {
        StopOptions {
            signal: self.signal.map(|Signal(number)| number),
            seconds: self.time.map(|Seconds(time)| time),
        }
    }
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let containers = engine()?.containers();
    let begin = |name: &String| Ok(containers.find(name)?.stop(arguments.options())?);
    together(&arguments.containers, begin, finish)
}

/// Waits for the end of a container, and says its name.
///
/// # Errors
/// When its keeper refuses.
pub(super) fn finish(name: &String, ending: Ending) -> Result<()> {
    ending.finish()?;
    outln!("{name}");
    Ok(())
}
