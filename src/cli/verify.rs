//! `coracle image verify`.

use anyhow::Result;
use images::store::short_id;

use super::{engine, table::size};
use coracle_terminal::report;

/// Read images and compare every byte with its digests; what is damaged is taken out of the
/// store, and pulling or loading the image again brings it back
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs [default: all]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// Verifies each; 1 when something is damaged.
pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let images = engine()?.images();
    let mut names = arguments.images.clone();
    if names.is_empty() {
        names = images
            .list()?
            .iter()
            .map(|image| image.id.to_string())
            .collect();
    }
    let mut code = 0;
    for name in &names {
        match images.verify(name) {
            Ok(verified) => {
                let id = verified.id.as_ref().map(short_id).unwrap_or_default();
                for words in &verified.damage {
                    outln!("{id}: {words}");
                }
                if verified.unknown > 0 {
                    report::warn(&format!(
                        "{} layers of {id} were stored by an earlier version without a root hash",
                        verified.unknown
                    ));
                }
                if verified.damage.is_empty() {
                    outln!("{id}: OK, {} read", size(verified.bytes));
                } else {
                    outln!("{id}: damaged; pull or load it again");
                    code = 1;
                }
            }
            Err(error) => {
                report::error(&error.into());
                code = 1;
            }
        }
    }
    Ok(code)
}
