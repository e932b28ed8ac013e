//! `coracle rm`.

use anyhow::Result;
use coracle_engine::{Error, ErrorKind, containers::RemoveOptions};
use coracle_terminal::report;

use super::{each, engine};

/// Remove one or more containers
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes associated with the container (there are none)
    #[arg(short, long)]
    volumes: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let containers = engine()?.containers();
    let force = arguments.force;
    if force {
        let names = arguments.containers.iter();
        // What is not found is told below.
        let found: Vec<_> = names.flat_map(|name| containers.find(name)).collect();
        containers.kill_all(&found);
    }
    each(&arguments.containers, |name| {
        let container = match containers.find(name) {
            Err(error) if force && error.kind() == ErrorKind::NotFound => {
                pass_over(&error);
                return Ok(());
            }
            found => found?,
        };
        container.remove(RemoveOptions { force })?;
        outln!("{name}");
        Ok(())
    })
}

/// As docker's `--force`: what is not there is no error, but not passed over in silence.
pub(super) fn pass_over(error: &Error) {
    report::warn(&format!("{error:#}"));
}
