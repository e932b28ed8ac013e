//! `coracle wait`.

use anyhow::Result;

use super::{Names, each, engine};

pub(super) fn main(arguments: &Names) -> Result<u8> {
    let containers = engine()?.containers();
    each(&arguments.containers, |name| {
        outln!("{}", containers.find(name)?.wait()?.finish()?);
        Ok(())
    })
}
