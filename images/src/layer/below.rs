//! The layers below one that is being made, joined as overlayfs joins them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use super::tree::{IMPLIED, OPAQUE};
use crate::erofs::{Found, Meta, Reader, file_type};

/// The layers below one that is being made.
#[derive(Debug)]
pub struct Below {
    /// The uppermost first.
    layers: Vec<Reader>,
}

/// A directory in some of them.
#[derive(Debug, Clone)]
pub(super) struct Place(Vec<(usize, Found)>);

impl Place {
    /// In how many of them it is.
    pub(super) fn layers(&self) -> u64 {
        self.0.len() as u64
    }
}

/// What a name means there.
#[derive(Debug)]
pub(super) enum Seen {
    Nothing,
    Directory(Place),
    /// Something else, in this layer.
    Leaf(usize, Found),
}

impl Below {
    /// Of the files of layers, the lowest first.
    ///
    /// # Errors
    /// Those of reading, and for a file that is not a layer.
    pub fn new(layers: impl IntoIterator<Item = File>) -> io::Result<Self> {
        let mut layers: Vec<Reader> = layers
            .into_iter()
            .map(Reader::new)
            .collect::<Result<_, _>>()?;
        layers.reverse();
        Ok(Self { layers })
    }

    /// The root, which is always a directory.
    pub(super) fn root(&self) -> io::Result<Place> {
        let mut parts = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let root = layer.root()?;
            let opaque = layer.xattrs(&root)?.has(OPAQUE.0);
            parts.push((number, root));
            if opaque {
                break;
            }
        }
        Ok(Place(parts))
    }

    /// What has this name in a directory.
    pub(super) fn child(&self, place: &Place, name: &[u8]) -> io::Result<Seen> {
        let mut parts = Vec::new();
        for (number, directory) in &place.0 {
            let layer = self.layer(*number)?;
            let Some(found) = layer.child(directory, name)? else {
                continue;
            };
            if found.kind() == file_type::DIRECTORY {
                let opaque = layer.xattrs(&found)?.has(OPAQUE.0);
                parts.push((*number, found));
                if opaque {
                    break;
                }
            } else if parts.is_empty() && !found.is_whiteout() {
                return Ok(Seen::Leaf(*number, found));
            } else {
                // It hides what lies below it.
                break;
            }
        }
        Ok(if parts.is_empty() {
            Seen::Nothing
        } else {
            Seen::Directory(Place(parts))
        })
    }

    /// The names in a directory.
    pub(super) fn names(&self, place: &Place) -> io::Result<BTreeSet<Vec<u8>>> {
        let mut names = BTreeSet::new();
        for (number, directory) in &place.0 {
            let all = self.layer(*number)?.names(directory)?;
            names.extend(all.into_iter().map(|entry| entry.name));
        }
        Ok(names)
    }

    pub(super) fn layer(&self, number: usize) -> io::Result<&Reader> {
        self.layers
            .get(number)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// All of an inode but its data.
    pub(super) fn meta(&self, layer: usize, inode: &Found) -> io::Result<Meta> {
        self.layer(layer)?.meta(inode)
    }

    /// Whether a layer, made without knowing these, has a directory that nothing in it describes where these have
    /// something else: what it is means where that leads.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn contradicts(&self, layer: &Reader) -> io::Result<bool> {
        let mut waiting = vec![(layer.root()?, self.root()?)];
        while let Some((directory, place)) = waiting.pop() {
            for entry in layer.names(&directory)? {
                let found = layer.inode(entry.inode)?;
                if found.kind() != file_type::DIRECTORY {
                    continue;
                }
                match self.child(&place, &entry.name)? {
                    Seen::Directory(below) => waiting.push((found, below)),
                    Seen::Leaf(..) if layer.xattrs(&found)?.has(IMPLIED.0) => return Ok(true),
                    _ => {}
                }
            }
        }
        Ok(false)
    }
}
