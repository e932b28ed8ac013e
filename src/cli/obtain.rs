//! The image that a command needs: from the store, or first from a registry.

use anyhow::{Context, Result};
use clap::ValueEnum;
use images::{
    image::Platform,
    reference::Reference,
    source::registry::{Registry, Settings},
    store::{Held, Image, Store, StoreError},
};

use super::pull::{self, Options};
use coracle_engine::state::Directories;
use coracle_terminal::output::Stream;
use coracle_terminal::report;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// Each time.
    Always,
    /// When it is not here.
    Missing,
    /// Not at all.
    Never,
}

/// An image, and its layers, which stay in the store as long as this value lives.
pub(super) struct Obtained {
    pub(super) image: Image,
    _layers: Vec<Held>,
}

/// Times that an image is looked up again because it was removed meanwhile.
const ROUNDS: usize = 3;

/// Finds an image, and pulls it when that is wanted.
pub(super) fn obtain(
    name: &str,
    when: When,
    options: &Options,
    directories: &Directories,
) -> Result<Obtained> {
    let store = options.store(directories)?;
    let wanted = options
        .platform
        .clone()
        .unwrap_or_else(Platform::of_this_machine);
    if !Platform::of_this_machine().runs(&wanted) {
        anyhow::bail!(
            "cannot run an image for {wanted}: this machine's processor is {}",
            Platform::of_this_machine()
        );
    }
    if when == When::Always {
        pull_image(&store, name, options)?;
    }
    for _ in 0..ROUNDS {
        let image = match store.resolve(name) {
            Err(error @ StoreError::NotFound { .. }) => {
                let Some(reference) = reference(name).filter(|_| when == When::Missing) else {
                    return Err(error.into());
                };
                errln!("Unable to find image '{}' locally", reference.familiar());
                pull_image(&store, name, options)?;
                continue;
            }
            image => image?,
        };
        match store.hold(&image) {
            Ok(layers) => {
                return Ok(Obtained {
                    image,
                    _layers: layers,
                });
            }
            Err(StoreError::Missing(path)) => {
                report::debug(|| format!("{} is gone", path.display()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let image = store.resolve(name)?;
    let layers = store.hold(&image)?;
    Ok(Obtained {
        image,
        _layers: layers,
    })
}

fn reference(name: &str) -> Option<Reference> {
    name.parse::<Reference>()
        .ok()
        .map(Reference::with_default_tag)
}

fn pull_image(store: &Store, name: &str, options: &Options) -> Result<()> {
    let name = reference(name).with_context(|| format!("invalid image name {name:?}"))?;
    let registry = Registry::new(&name, Settings::from_environment(options.tls_verify)?)?;
    pull::pull(store, &registry, Stream::Error)
        .with_context(|| format!("cannot pull {}", name.familiar()))?;
    Ok(())
}
