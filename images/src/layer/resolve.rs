//! Where the directories in a name lead. An entry below a symbolic link is where the link leads, inside the root, as
//! containerd, umoci and docker have it; the link may be of this layer or of one below.
//!
//! Nothing of this machine is ever looked at: links are followed in the tree of names, and in the images of the layers
//! below.

use super::LayerError;
use super::below::{Place, Seen};
use super::build::{Builder, Onto, read_error, write_error};
use super::error::{kind_name, printable};
use super::limits::{MAX_LINK_STEPS, MAX_LINKS, MAX_NAME, MAX_PATH};
use super::path::WHITEOUT;
use super::tar::{Input, Stop};
use super::tree::{Node, ROOT};
use crate::erofs::file_type;

/// A directory on the way, which need not exist yet.
struct Step {
    name: Vec<u8>,
    /// In the tree.
    tree: Option<u32>,
    /// In the layers below, where nothing hides them.
    below: Option<Place>,
    /// It is no directory but this, which only matters when something is placed below it.
    blocked: Option<u16>,
}

/// A way being gone.
struct Way {
    /// What is still to go, the next one last.
    pending: Vec<Vec<u8>>,
    done: Vec<Step>,
    root: Option<Place>,
    links: u32,
}

impl Way {
    fn here(&self) -> (Option<u32>, Option<&Place>) {
        self.done
            .last()
            .map_or((Some(ROOT), self.root.as_ref()), |step| {
                (step.tree, step.below.as_ref())
            })
    }

    /// Goes where a link leads.
    fn follow(&mut self, target: &[u8]) -> Option<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return None;
        }
        if target.starts_with(b"/") {
            self.done.clear();
        }
        let parts = target.split(|byte| *byte == b'/');
        let parts = parts.filter(|part| !part.is_empty() && *part != b".");
        let start = self.pending.len();
        self.pending.extend(parts.map(<[u8]>::to_vec));
        self.pending[start..].reverse();
        Some(())
    }
}

impl<R: Input> Builder<'_, '_, R> {
    /// The directory that components lead to; what is missing is made.
    pub(super) fn directory(&mut self, components: &[&[u8]]) -> Result<u32, Stop> {
        let mut current = ROOT;
        for name in components {
            match self.tree.child(current, name) {
                Some(Node::Directory(child)) => current = child,
                // Nearly all entries end up here only for directories that nothing describes.
                _ => return self.led_to(components),
            }
        }
        Ok(current)
    }

    fn led_to(&mut self, components: &[&[u8]]) -> Result<u32, Stop> {
        let resolved = self.resolve(components)?;
        let resolved: Vec<&[u8]> = resolved.iter().map(Vec::as_slice).collect();
        Ok(self.tree.parent(&resolved)?)
    }

    /// The same directory by a name without links, whether it exists or not.
    pub(super) fn resolve(&mut self, components: &[&[u8]]) -> Result<Vec<Vec<u8>>, Stop> {
        let mut way = Way {
            pending: components.iter().rev().map(|name| name.to_vec()).collect(),
            done: Vec::new(),
            root: self.below_root()?,
            links: 0,
        };
        while let Some(name) = way.pending.pop() {
            self.link_steps += 1 + way.here().1.map_or(0, Place::layers);
            if self.link_steps > MAX_LINK_STEPS {
                let what = "more steps along names and links".to_owned();
                let limit = MAX_LINK_STEPS;
                return Err(LayerError::Limit { what, limit }.into());
            }
            if name == b".." {
                way.done.pop();
                continue;
            }
            self.step(components, &mut way, name)?;
        }
        if let Some(at) = way.done.iter().position(|step| step.blocked.is_some()) {
            let names: Vec<&[u8]> = way.done.iter().map(|step| &step.name[..]).collect();
            return Err(LayerError::Through {
                path: printable(&components.join(&b'/')),
                parent: printable(&names[..=at].join(&b'/')),
                kind: kind_name(way.done[at].blocked.unwrap_or_default()),
            }
            .into());
        }
        let names: Vec<Vec<u8>> = way.done.into_iter().map(|step| step.name).collect();
        let refused = |reason| LayerError::Name {
            path: printable(&components.join(&b'/')),
            reason,
        };
        if names.iter().map(|name| name.len() + 1).sum::<usize>() > MAX_PATH {
            return Err(refused("what it leads to is too long").into());
        }
        if names.iter().any(|name| name.len() > MAX_NAME) {
            return Err(refused("a component of what it leads to is too long").into());
        }
        if names.iter().any(|name| name.starts_with(WHITEOUT)) {
            return Err(refused("it leads to a directory that is a whiteout").into());
        }
        Ok(names)
    }

    fn step(&mut self, components: &[&[u8]], way: &mut Way, name: Vec<u8>) -> Result<(), Stop> {
        let circle = || LayerError::Circle {
            path: printable(&components.join(&b'/')),
        };
        let (tree, below) = way.here();
        let below = match (below, self.onto) {
            (Some(place), Onto::Layers(layers)) => {
                layers.child(place, &name).map_err(read_error)?
            }
            _ => Seen::Nothing,
        };
        let mut step = Step {
            name,
            tree: None,
            below: None,
            blocked: None,
        };
        let node = tree.and_then(|tree| self.tree.child(tree, &step.name));
        let target = match (node, below, self.onto) {
            (Some(Node::Directory(directory)), below, _) => {
                step.tree = Some(directory);
                if let Seen::Directory(place) = below
                    && !self.tree.is_opaque(directory)
                {
                    step.below = Some(place);
                }
                None
            }
            (Some(Node::Leaf(leaf)), ..) => {
                let leaf = *self.tree.leaf(leaf);
                if leaf.mode & file_type::MASK == file_type::SYMLINK {
                    Some(self.writer.target(leaf.inode).map_err(write_error)?)
                } else {
                    step.blocked = (!leaf.whiteout).then_some(leaf.mode);
                    None
                }
            }
            (None, Seen::Directory(place), _) => {
                step.below = Some(place);
                None
            }
            (None, Seen::Leaf(number, found), Onto::Layers(layers))
                if found.kind() == file_type::SYMLINK =>
            {
                let target = layers.layer(number).and_then(|layer| layer.target(&found));
                Some(target.map_err(read_error)?)
            }
            (None, Seen::Leaf(_, found), _) => {
                step.blocked = Some(found.mode);
                None
            }
            (None, Seen::Nothing, _) => None,
        };
        match target {
            Some(target) => way.follow(&target).ok_or_else(circle)?,
            None => way.done.push(step),
        }
        Ok(())
    }

    fn below_root(&self) -> Result<Option<Place>, Stop> {
        match self.onto {
            Onto::Layers(_) if self.tree.is_opaque(ROOT) => Ok(None),
            Onto::Layers(layers) => layers.root().map(Some).map_err(read_error),
            Onto::Nothing | Onto::Unknown => Ok(None),
        }
    }

    /// What a name means in the layers below, where nothing of this layer hides it.
    pub(super) fn seen_below(&mut self, path: &[Vec<u8>]) -> Result<Seen, Stop> {
        let Onto::Layers(layers) = self.onto else {
            return Ok(Seen::Nothing);
        };
        let mut tree = Some(ROOT);
        let mut seen = match self.below_root()? {
            Some(root) => Seen::Directory(root),
            None => Seen::Nothing,
        };
        for name in path {
            let Seen::Directory(place) = seen else {
                return Ok(Seen::Nothing);
            };
            let node = tree.and_then(|tree| self.tree.child(tree, name));
            tree = match node {
                Some(Node::Directory(directory)) if self.tree.is_opaque(directory) => {
                    return Ok(Seen::Nothing);
                }
                Some(Node::Directory(directory)) => Some(directory),
                Some(Node::Leaf(_)) => return Ok(Seen::Nothing),
                None => None,
            };
            seen = layers.child(&place, name).map_err(read_error)?;
        }
        Ok(seen)
    }
}
