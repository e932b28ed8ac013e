//! `coracle restart`.

use anyhow::{Context, Result};

use super::{each, engine, stop::Arguments};
use crate::kernel_build::Display;

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let containers = engine()?.containers();
    let names = arguments.containers.iter();
    let found: Vec<_> = names.map(|name| containers.find(name)).collect();
    let there: Vec<_> = found.iter().flatten().cloned().collect();
    let restarted = containers.restart(&there, arguments.options(), &mut Display::new())?;
    let mut restarted = restarted.into_iter();
    let mut found = found.into_iter();
    each(&arguments.containers, |name| {
        if let Some(found) = found.next() {
            found?;
        }
        if let Some(restarting) = restarted.next() {
            restarting?.finish().with_context(|| name.clone())?;
        }
        outln!("{name}");
        Ok(())
    })
}
