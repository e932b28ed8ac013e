//! `coracle prune`.

use std::{
    collections::BTreeSet,
    io::{self, BufRead},
};

use anyhow::{Context, Result};
use images::{digest::Digest, store::Store};

use super::table::size;
use coracle_engine::state::{
    Directories,
    container::{Container, Containers},
};
use coracle_terminal::output::{self, Stream};

/// Remove dangling images, and downloads that were not completed
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Remove all images that no container uses, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    if !arguments.force && !agreed(arguments.all)? {
        return Ok(());
    }
    let directories = Directories::from_environment()?;
    // Those that do not run need their image and its layers, too.
    let containers = Containers::new(&directories).list()?;
    let used = images_of(&containers);
    let held: Vec<_> = containers
        .iter()
        .map(|container| container.config.hold_layers())
        .collect();
    let pruned = Store::open(&directories.data)?.prune(arguments.all, &used)?;
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

/// The images that containers are of.
pub(super) fn images_of(containers: &[Container]) -> BTreeSet<Digest> {
    let ids = containers
        .iter()
        .map(|container| &container.config.image_id);
    ids.filter_map(|id| id.parse().ok()).collect()
}

fn agreed(all: bool) -> Result<bool> {
    let what = if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    out!(
        "WARNING! This will remove {what}, and incomplete downloads.\n\
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
