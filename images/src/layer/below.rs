//! The layers below one that is being made, joined as overlayfs joins them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use super::limits::MAX_LOOK_STEPS;
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
    /// something else: what it is means where that leads. Where finding out takes more than [`MAX_LOOK_STEPS`], it is
    /// taken for one: making the layer again is bounded.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn contradicts(&self, layer: &Reader) -> io::Result<bool> {
        self.contradicts_within(layer, MAX_LOOK_STEPS)
    }

    fn contradicts_within(&self, layer: &Reader, mut steps: u64) -> io::Result<bool> {
        // What waits was counted when it was found, so that it is bounded with the steps.
        let mut waiting = vec![(layer.root()?, self.root()?)];
        while let Some((directory, place)) = waiting.pop() {
            for entry in layer.names(&directory)? {
                let found = layer.inode(entry.inode)?;
                let is_directory = found.kind() == file_type::DIRECTORY;
                let looked_at = if is_directory { place.layers() } else { 0 };
                let Some(left) = steps.checked_sub(1 + looked_at) else {
                    return Ok(true);
                };
                steps = left;
                if !is_directory {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Compression, Limits, convert};

    /// A layer of empty files.
    fn layer(names: &[&str]) -> File {
        let mut tar = Vec::new();
        for name in names {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[100..107].copy_from_slice(b"0000644");
            header[156] = b'0';
            header[257..265].copy_from_slice(b"ustar\x0000");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            tar.extend(header);
        }
        tar.resize(tar.len() + 1024, 0);
        let file = tempfile::tempfile().unwrap();
        let (none, limits) = (Compression::None, Limits::default());
        convert(&tar[..], none, None, &file, &limits, &mut |_| {}).unwrap();
        file
    }

    #[test]
    fn look_at_the_layers_below_ends_where_it_takes_too_long() {
        let below = Below::new([layer(&["a/x", "b"]), layer(&["a/y"])]).unwrap();
        let good = Reader::new(layer(&["a/z", "c/d/z"])).unwrap();
        // The directories a and c upon two layers, and a file of a: nothing is below c.
        for (steps, takes_too_long) in [(7, false), (6, true), (0, true)] {
            let found = below.contradicts_within(&good, steps).unwrap();
            assert_eq!(found, takes_too_long, "{steps}");
        }
        let bad = Reader::new(layer(&["b/z"])).unwrap();
        assert!(below.contradicts(&bad).unwrap());
    }
}
