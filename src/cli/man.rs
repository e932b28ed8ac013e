//! `coracle man`.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Write manual pages, `coracle.1` and one per command, into a directory
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Directory to write to; created if missing
    directory: PathBuf,
}

pub(super) fn main(arguments: &Arguments, command: clap::Command) -> Result<()> {
    std::fs::create_dir_all(&arguments.directory)
        .with_context(|| format!("cannot create {}", arguments.directory.display()))?;
    clap_mangen::generate_to(command, &arguments.directory).with_context(|| {
        format!(
            "cannot write manual pages to {}",
            arguments.directory.display()
        )
    })
}
