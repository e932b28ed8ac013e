//! `coracle rename`.

use anyhow::Result;

use super::engine;

/// Rename a container
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The container
    container: String,
    /// Its new name
    name: String,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let mut container = engine()?.containers().find(&arguments.container)?;
    Ok(container.rename(&arguments.name)?)
}
