//! `coracle wait`.

use anyhow::Result;
use coracle_engine::containers::WaitCondition;

use super::{Names, each, engine};

pub(super) fn main(arguments: &Names) -> Result<u8> {
    let containers = engine()?.containers();
    each(&arguments.containers, |name| {
        let waiter = containers.find(name)?.wait(WaitCondition::NotRunning)?;
        outln!("{}", waiter.finish()?.code);
        Ok(())
    })
}
