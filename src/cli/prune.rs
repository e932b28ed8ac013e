//! `coracle prune`.

use std::io::{self, BufRead};

use anyhow::{Context, Result};
use images::store::Store;

use super::table::size;
use crate::{
    output::{self, Stream},
    state::{Directories, container::Containers},
};

/// Remove images without a name, and what nobody needs
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Remove all images that no container has
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    if !arguments.force && !agreed(arguments.all)? {
        return Ok(());
    }
    let directories = Directories::new()?;
    // Those that do not run need their layers, too.
    let containers = Containers::new(&directories).list()?;
    let held: Vec<_> = containers
        .iter()
        .map(|container| container.config.hold_layers())
        .collect();
    let pruned = Store::open(&directories.data)?.prune(arguments.all)?;
    drop(held);
    if !pruned.untagged.is_empty() || !pruned.deleted.is_empty() {
        outln!("Deleted Images:");
    }
    for name in pruned.untagged {
        outln!("untagged: {name}");
    }
    for digest in pruned.deleted {
        outln!("deleted: {digest}");
    }
    out!("\nTotal reclaimed space: {}\n", size(pruned.bytes));
    Ok(())
}

fn agreed(all: bool) -> Result<bool> {
    let what = if all {
        "all images that no container has"
    } else {
        "all images without a name"
    };
    out!(
        "WARNING! This will remove {what}, and downloads that were broken off.\n\
         Are you sure you want to continue? [y/N] "
    );
    output::flush(Stream::Output);
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the answer")?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
