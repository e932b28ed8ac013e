//! `coracle kill`.

use anyhow::Result;

use super::{engine, options::Signal, stop, together};

/// Kill one or more running containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Signal to send to the container
    #[arg(short, long, default_value = "KILL")]
    signal: Signal,
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let containers = engine()?.containers();
    let Signal(signal) = arguments.signal;
    let begin = |name: &String| Ok(containers.find(name)?.kill(signal)?);
    together(&arguments.containers, begin, stop::finish)
}
