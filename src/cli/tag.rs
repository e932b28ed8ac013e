//! `coracle tag`.

use anyhow::Result;
use images::{reference::Reference, store::Store};

use crate::state::Directories;

/// Give an image another name
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name or identifier of the image
    image: String,
    /// The other name
    #[arg(value_name = "NAME[:TAG]")]
    name: Reference,
}

pub(super) fn main(arguments: &Arguments) -> Result<()> {
    Store::open(&Directories::new()?.data)?.tag(&arguments.image, &arguments.name)?;
    Ok(())
}
