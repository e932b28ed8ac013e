//! `coracle image` and `coracle system`: docker's grouped spelling of the same commands.

use anyhow::Result;
use clap::Subcommand;

use super::{container, df, history, images, inspect, load, prune, pull, rmi, save, tag, verify};

/// Manage images
#[derive(clap::Args)]
pub(super) struct Image {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Subcommand)]
enum ImageCommand {
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::Arguments),
    /// Pull an image from a registry
    Pull(pull::Arguments),
    /// Remove one or more images
    Rm(rmi::Arguments),
    /// Remove unused images and data
    Prune(prune::Arguments),
    /// Create a tag that refers to an existing image
    Tag(tag::Arguments),
    /// Return low-level information on images, as JSON
    Inspect(inspect::Arguments),
    /// Show the history of an image
    History(history::Arguments),
    /// Load images from an archive, an OCI layout or a root file system
    Load(load::Arguments),
    /// Save one or more images to an archive
    Save(save::Arguments),
    /// Verify images against their digests, and remove damaged content
    Verify(verify::Arguments),
}

pub(super) fn image(arguments: &Image) -> Result<u8> {
    match &arguments.command {
        ImageCommand::Ls(arguments) => images::main(arguments)?,
        ImageCommand::Pull(arguments) => pull::main(arguments)?,
        ImageCommand::Rm(arguments) => return rmi::main(arguments),
        ImageCommand::Prune(arguments) => prune::main(arguments)?,
        ImageCommand::Tag(arguments) => tag::main(arguments)?,
        ImageCommand::Inspect(arguments) => return inspect::images(arguments),
        ImageCommand::History(arguments) => history::main(arguments)?,
        ImageCommand::Load(arguments) => load::main(arguments)?,
        ImageCommand::Save(arguments) => save::main(arguments)?,
        ImageCommand::Verify(arguments) => return verify::main(arguments),
    }
    Ok(0)
}

/// Manage Coracle
#[derive(clap::Args)]
pub(super) struct System {
    #[command(subcommand)]
    command: SystemCommand,
}

#[derive(Subcommand)]
enum SystemCommand {
    /// Show disk usage
    Df(df::Arguments),
    /// Remove unused images and data
    Prune(prune::Arguments),
    /// Start the hosts and containers whose restart policy says so, as at boot
    Start,
    /// Stop all hosts and containers, as at shutdown; 'start' starts those with a restart policy again
    Stop,
}

pub(super) fn system(arguments: &System) -> Result<u8> {
    match &arguments.command {
        SystemCommand::Df(arguments) => df::main(arguments)?,
        SystemCommand::Prune(arguments) => prune::main(arguments)?,
        SystemCommand::Start => return container::start_all(),
        SystemCommand::Stop => return container::stop_all(),
    }
    Ok(0)
}
