//! `coracle pause` and `unpause`.

use anyhow::Result;

use super::{Names, each, engine};

/// Pauses containers, or lets them go on.
pub(super) fn main(arguments: &Names, paused: bool) -> Result<u8> {
    let containers = engine()?.containers();
    each(&arguments.containers, |name| {
        let container = containers.find(name)?;
        match paused {
            true => container.pause()?,
            false => container.unpause()?,
        }
        outln!("{name}");
        Ok(())
    })
}
