//! `coracle diff`.

use anyhow::Result;

use super::{engine, top::Arguments};

/// Lists what a container has changed of its image's files.
pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let container = engine()?.containers().find(&arguments.container)?;
    for change in container.diff()? {
        outln!("{} {}", change.kind.letter(), change.path);
    }
    Ok(())
}
