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
    /// Remove images
    Rm(rmi::Arguments),
    /// Remove images without a name, and what nobody needs
    Prune(prune::Arguments),
    /// Give an image another name
    Tag(tag::Arguments),
    /// Show all that is known of images, as JSON
    Inspect(inspect::Arguments),
    /// Show how an image was made
    History(history::Arguments),
    /// Load images from an archive, an OCI layout or a root file system
    Load(load::Arguments),
    /// Save images to an archive
    Save(save::Arguments),
    /// Compare images with their digests, and take out what is damaged
    Verify(verify::Arguments),
}

pub(super) fn image(arguments: &Image) -> Result<u8> {
    match &arguments.command {
        ImageCommand::Ls(arguments) => images::main(arguments)?,
        ImageCommand::Pull(arguments) => pull::main(arguments)?,
        ImageCommand::Rm(arguments) => return rmi::main(arguments),
        ImageCommand::Prune(arguments) => prune::main(arguments)?,
        ImageCommand::Tag(arguments) => tag::main(arguments)?,
        ImageCommand::Inspect(arguments) => return inspect::main(arguments),
        ImageCommand::History(arguments) => history::main(arguments)?,
        ImageCommand::Load(arguments) => load::main(arguments)?,
        ImageCommand::Save(arguments) => save::main(arguments)?,
        ImageCommand::Verify(arguments) => return verify::main(arguments),
    }
    Ok(0)
}

/// Manage what is on the disk, and all containers at once
#[derive(clap::Args)]
pub(super) struct System {
    #[command(subcommand)]
    command: SystemCommand,
}

#[derive(Subcommand)]
enum SystemCommand {
    /// Show what images take on the disk
    Df(df::Arguments),
    /// Remove images without a name, and what nobody needs
    Prune(prune::Arguments),
    /// Start the containers whose restart policy wants it, as after the system's start
    Start,
    /// Stop all containers, in good order; those with a restart policy start again by 'start'
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
