//! `coracle tag`.

use anyhow::Result;
use images::{reference::Reference, store::Store};

use coracle_engine::state::Directories;

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
    Store::open(&Directories::from_environment()?.data)?.tag(&arguments.image, &arguments.name)?;
    Ok(())
}
