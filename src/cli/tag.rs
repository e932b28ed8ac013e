//! `coracle tag`.

use anyhow::Result;
use images::reference::Reference;

use super::engine;

/// Create a tag that refers to an existing image
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name or ID of the image
    image: String,
    /// New name
    #[arg(value_name = "NAME[:TAG]")]
    name: Reference,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    let images = engine()?.images();
    images.tag(&arguments.image, &arguments.name)?;
    Ok(())
}
