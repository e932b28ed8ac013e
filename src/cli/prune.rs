//! `coracle prune`.

use std::io::{self, BufRead};

use anyhow::{Context, Result};

use super::{engine, table::size};
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
    let pruned = engine()?.images().prune(arguments.all)?;
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
