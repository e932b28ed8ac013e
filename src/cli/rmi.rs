//! `coracle rmi`.

use anyhow::Result;

use super::{each, engine};

/// Remove one or more images; a layer is deleted with the last image that uses it
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Force removal of all tags of an image that is given by its ID
    #[arg(short, long)]
    force: bool,
}

/// Removes each; 1 when one of them could not be.
pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let images = engine()?.images();
    each(&arguments.images, |image| {
        let removed = images.remove(image, arguments.force)?;
        for name in removed.untagged {
            outln!("Untagged: {name}");
        }
        for digest in removed.deleted {
            outln!("Deleted: {digest}");
        }
        Ok(())
    })
}
