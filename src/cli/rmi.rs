//! `coracle rmi`.

use anyhow::{Result, anyhow};
use images::store::Store;

use coracle_engine::state::{
    Directories,
    container::{Container, Containers},
};
use coracle_terminal::report;

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
    let directories = Directories::from_environment()?;
    let store = Store::open(&directories.data)?;
    let containers = Containers::new(&directories).list()?;
    let mut code = 0;
    for image in &arguments.images {
        if let Some(user) = user_of(&store, image, &containers) {
            report::error(&user);
            code = 1;
            continue;
        }
        match store.remove(image, arguments.force) {
            Ok(removed) => {
                for name in removed.untagged {
                    outln!("Untagged: {name}");
                }
                for digest in removed.deleted {
                    outln!("Deleted: {digest}");
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

/// Words about a container that needs the layers of an image that would go.
fn user_of(store: &Store, image: &str, containers: &[Container]) -> Option<anyhow::Error> {
    let found = store.resolve(image).ok()?;
    let id = found.id.to_string();
    let user = containers
        .iter()
        .find(|container| container.config.image_id == id)?;
    // With another name left, only the name goes.
    let names = store
        .list()
        .ok()?
        .into_iter()
        .find(|one| one.id == found.id)?
        .names;
    let only_a_name = names.len() > 1 && !id.trim_start_matches("sha256:").starts_with(image);
    (!only_a_name).then(|| {
        anyhow!(
            "cannot remove image {image}: it is used by container {} ({}); 'coracle rm {}' removes that",
            user.config.name,
            user.short_id(),
            user.config.name
        )
    })
}
