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
        let images = self.engine.images().list()?;
        let image = images
            .iter()
            .find(|image| image.id.to_string() == one.state.shown.image_id);
        Ok(Size {
            written: written(&self.engine, &one),
            image: image.map_or(0, |image| image.size),
        })
    }
}

impl Containers {
    /// The sizes of containers, by their IDs. It looks at the image store and at a file of each, which a list without
    /// sizes does not.
    ///
    /// # Errors
    /// When the image store cannot be read.
    pub fn sizes(&self, list: &[Summary]) -> Result<BTreeMap<String, Size>> {
        let images = self.engine.images().list()?.into_iter();
        let images: BTreeMap<String, u64> = images
            .map(|image| (image.id.to_string(), image.size))
            .collect();
        let size = |one: &Summary| {
            let shown = &one.state.shown;
            let size = Size {
                written: written(&self.engine, one),
                image: images.get(&shown.image_id).copied().unwrap_or(0),
            };
            (shown.id.clone(), size)
        };
        Ok(list.iter().map(size).collect())
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
