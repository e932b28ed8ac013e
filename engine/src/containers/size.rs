//! How large containers are.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt};

use super::{Container, Containers};
use crate::{
    Engine, Result,
    state::{container::Summary, disk},
};

/// Bytes in a block of `stat(2)`.
const BLOCK: u64 = 512;

/// Bytes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// What it has written, as far as that is known: what its own disk takes, and nothing of one that has ended and had
    /// none. What a container that runs, or a host, has in a guest is not known outside.
    pub written: Option<u64>,
    /// Its image.
    pub image: u64,
}

impl Container {
    /// Its size.
    ///
    /// # Errors
    /// When it was removed meanwhile, or the image store cannot be read.
    pub fn size(&self) -> Result<Size> {
        let one = Summary {
            name: self.name().into(),
            state: self.state()?,
        };
        Ok(size(&self.engine, &one, &images(&self.engine)?))
    }
}

impl Containers {
    /// The sizes of containers, by their IDs. It looks at the image store and at a file of each, which a list without
    /// sizes does not.
    ///
    /// # Errors
    /// When the image store cannot be read.
    pub fn sizes(&self, list: &[Summary]) -> Result<BTreeMap<String, Size>> {
        let images = images(&self.engine)?;
        let sizes = list.iter().map(|one| {
            let id = one.state.shown.id.clone();
            (id, size(&self.engine, one, &images))
        });
        Ok(sizes.collect())
    }
}

/// The sizes of images, by their IDs.
fn images(engine: &Engine) -> Result<BTreeMap<String, u64>> {
    let images = engine.images().list()?.into_iter();
    let sizes = images.map(|image| (image.id.to_string(), image.size));
    Ok(sizes.collect())
}

fn size(engine: &Engine, one: &Summary, images: &BTreeMap<String, u64>) -> Size {
    let image = images.get(&one.state.shown.image_id);
    Size {
        written: written(engine, one),
        image: image.copied().unwrap_or(0),
    }
}

fn written(engine: &Engine, one: &Summary) -> Option<u64> {
    let shown = &one.state.shown;
    let disk = disk::path(&engine.directories.data, &shown.id);
    match fs::symlink_metadata(disk) {
        Ok(metadata) => Some(metadata.blocks() * BLOCK),
        Err(_) if shown.host.is_some() || one.state.status.is_live() => None,
        Err(_) => Some(0),
    }
}
