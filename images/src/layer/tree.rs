//! The names of a layer. Files are already in the image when they get here; of them there is only
//! the number of an inode.
//!
//! A hostile layer decides how many names there are, so that each takes little: some 50 bytes with
//! the name itself, for a directory some 70.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::LayerError;
use super::error::{kind_name, printable};
use super::limits::{Limits, MAX_NAME_BYTES, MAX_NODES};
use crate::erofs::{Meta, Xattrs, file_type};

/// Permissions of directories that no entry describes, as docker makes them.
const IMPLIED_MODE: u16 = file_type::DIRECTORY | 0o755;

/// Attribute of directories that show nothing of lower layers (overlayfs).
pub(super) const OPAQUE: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");

/// The mark of a directory that no entry of the layer describes, and of the root of a layer that has such: what a
/// lower layer says of the directory counts, for which the guest sees.
pub(super) const IMPLIED: (&[u8], &[u8]) = (b"trusted.coracle.implied", b"y");

/// The mark of the root of a layer that means different things on different layers, in a way that its names do not tell
/// any more: an entry of it was left out, a hard link to what is not in it perhaps; or something was placed in a
/// directory before an entry described, removed or replaced that.
pub(super) const UNSETTLED: (&[u8], &[u8]) = (b"trusted.coracle.unsettled", b"y");

/// Something with a name: a directory, or an inode of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory(u32),
    Leaf(u32),
}

impl Node {
    /// What tells the kinds apart where a node is kept; there are at most [`MAX_NODES`] of each.
    const IS_LEAF: u32 = 1 << 31;

    fn pack(self) -> u32 {
        match self {
            Self::Directory(index) => index,
            Self::Leaf(index) => index | Self::IS_LEAF,
        }
    }

    fn unpack(packed: u32) -> Self {
        if packed & Self::IS_LEAF == 0 {
            Self::Directory(packed)
        } else {
            Self::Leaf(packed & !Self::IS_LEAF)
        }
    }
}

/// A directory, but for its extended attributes.
#[derive(Debug)]
struct Directory {
    seconds: i64,
    nanoseconds: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    /// Nothing of lower layers is seen in it.
    opaque: bool,
    /// No entry describes it.
    implied: bool,
    parent: u32,
    /// The name that was made last in it, or [`NONE`].
    last: u32,
}

/// Something else, which is in the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) inode: u64,
    pub(super) mode: u16,
    /// Number of its names.
    pub(super) links: u32,
    /// It is a mark that hides a name of lower layers.
    pub(super) whiteout: bool,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
struct Name {
    directory: u32,
    /// The one that was made before it in the same directory, or [`NONE`].
    before: u32,
    /// Where its bytes are in [`Tree::bytes`], behind one byte with their number.
    start: u32,
    /// A packed [`Node`].
    node: u32,
}

/// No name.
const NONE: u32 = u32::MAX;

/// All names of a layer.
#[derive(Debug)]
pub(super) struct Tree {
    directories: Vec<Directory>,
    leaves: Vec<Leaf>,
    /// Attributes of the few directories that have any.
    xattrs: BTreeMap<u32, Xattrs>,
    names: Vec<Name>,
    bytes: Vec<u8>,
    /// Places in `names`, by directory and bytes.
    table: HashTable<u32>,
    /// Has a secret, so that nobody can choose names whose hashes are the same.
    hasher: RandomState,
    max_nodes: u64,
    max_name_bytes: usize,
    /// Names ever made; what is replaced still takes memory.
    nodes: u64,
    /// See [`UNSETTLED`].
    unsettled: bool,
}

/// The root's place among the directories.
pub(super) const ROOT: u32 = 0;

impl Tree {
    /// A tree of the root, which grows within these limits.
    pub(super) fn new(limits: &Limits) -> Self {
        let mut tree = Self {
            directories: Vec::new(),
            leaves: Vec::new(),
            xattrs: BTreeMap::new(),
            names: Vec::new(),
            bytes: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            max_nodes: limits.entries.min(MAX_NODES),
            max_name_bytes: limits.name_bytes.min(MAX_NAME_BYTES),
            nodes: 0,
            unsettled: false,
        };
        tree.push_directory(ROOT, implied_meta(), false);
        tree
    }

    /// Counts one entry or implied directory.
    pub(super) fn count(&mut self) -> Result<(), LayerError> {
        self.nodes += 1;
        if self.nodes > self.max_nodes {
            let what = format!("{} entries or more", self.nodes);
            return Err(LayerError::Limit {
                what,
                limit: self.max_nodes,
            });
        }
        Ok(())
    }

    /// The directory of these components; what is missing is made. No link is followed here.
    pub(super) fn parent(&mut self, components: &[&[u8]]) -> Result<u32, LayerError> {
        let mut current = ROOT;
        for (depth, name) in components.iter().enumerate() {
            current = match self.child(current, name) {
                Some(Node::Directory(child)) => child,
                Some(Node::Leaf(leaf)) if !self.leaf(leaf).whiteout => {
                    return Err(LayerError::Through {
                        path: printable(&components.join(&b'/')),
                        parent: printable(&components[..=depth].join(&b'/')),
                        kind: kind_name(self.leaf(leaf).mode),
                    });
                }
                hidden => {
                    self.count()?;
                    let made = self.set_directory(current, name, implied_meta())?;
                    // What a whiteout hid does not say what takes its place.
                    self.directories[made as usize].implied = hidden.is_none();
                    made
                }
            };
        }
        Ok(current)
    }

    pub(super) fn leaf(&self, index: u32) -> &Leaf {
        &self.leaves[index as usize]
    }

    /// Everything that is no directory, what lost its last name included.
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Number of directories, those without a name included.
    pub(super) fn directories(&self) -> usize {
        self.directories.len()
    }

    /// The directory that a directory was made in; the root's is itself.
    pub(super) fn parent_of(&self, directory: u32) -> u32 {
        self.directories[directory as usize].parent
    }

    /// A directory's attributes, the mark of an opaque one among them.
    pub(super) fn meta(&self, directory: u32) -> Meta {
        let known = &self.directories[directory as usize];
        let mut xattrs = self.xattrs.get(&directory).cloned().unwrap_or_default();
        if known.opaque {
            xattrs.add(OPAQUE.0, OPAQUE.1);
        }
        let below = || self.directories.iter().any(|directory| directory.implied);
        if known.implied || directory == ROOT && below() {
            xattrs.add(IMPLIED.0, IMPLIED.1);
        }
        if directory == ROOT && self.unsettled {
            xattrs.add(UNSETTLED.0, UNSETTLED.1);
        }
        Meta {
            mode: known.mode,
            uid: known.uid,
            gid: known.gid,
            mtime: (known.seconds, known.nanoseconds),
            xattrs,
        }
    }

    /// Says that no name will be looked up any more, which gives memory back.
    pub(super) fn seal(&mut self) {
        self.table = HashTable::new();
    }

    /// What is in a directory, in no order.
    pub(super) fn children(&self, directory: u32) -> impl Iterator<Item = (&[u8], Node)> {
        let mut next = self.directories[directory as usize].last;
        std::iter::from_fn(move || {
            let name = self.names.get(next as usize)?;
            next = name.before;
            Some((self.text(name), Node::unpack(name.node)))
        })
    }

    /// What has this name in a directory.
    pub(super) fn child(&self, directory: u32, name: &[u8]) -> Option<Node> {
        let index = self.index(directory, name)?;
        Some(Node::unpack(self.names[index as usize].node))
    }

    /// What has this name, without making or following anything.
    pub(super) fn find(&self, components: &[Vec<u8>]) -> Option<Node> {
        components
            .iter()
            .try_fold(Node::Directory(ROOT), |node, name| match node {
                Node::Directory(directory) => self.child(directory, name),
                Node::Leaf(_) => None,
            })
    }

    /// Whether a directory shows nothing of lower layers.
    pub(super) fn is_opaque(&self, directory: u32) -> bool {
        self.directories[directory as usize].opaque
    }

    /// Says that what the layer means depends on those below. Where these are known, nothing does.
    pub(super) fn unsettle(&mut self) {
        self.unsettled = true;
    }

    /// Says that nothing depends on layers below any more.
    pub(super) fn settle(&mut self) {
        self.unsettled = false;
    }

    /// Lets a directory show nothing of lower layers.
    pub(super) fn set_opaque(&mut self, directory: u32) {
        self.directories[directory as usize].opaque = true;
    }

    /// Gives a directory attributes in place of those that it has.
    pub(super) fn set_meta(&mut self, directory: u32, meta: Meta) {
        let known = &mut self.directories[directory as usize];
        (known.mode, known.uid, known.gid) = (meta.mode, meta.uid, meta.gid);
        (known.seconds, known.nanoseconds) = meta.mtime;
        self.unsettled |= std::mem::take(&mut known.implied);
        self.xattrs.remove(&directory);
        if !meta.xattrs.bytes().is_empty() {
            self.xattrs.insert(directory, meta.xattrs);
        }
    }

    /// Gives a directory attributes, and makes it where there is none yet.
    pub(super) fn set_directory(
        &mut self,
        parent: u32,
        name: &[u8],
        meta: Meta,
    ) -> Result<u32, LayerError> {
        let known = self.child(parent, name);
        if let Some(Node::Directory(known)) = known {
            self.set_meta(known, meta);
            return Ok(known);
        }
        // A name that the layer hid, or made something else, shows nothing of lower layers when it is a directory
        // after that.
        let opaque = matches!(known, Some(Node::Leaf(_)));
        let index = self.push_directory(parent, meta, opaque);
        self.put(parent, name, Node::Directory(index))?;
        Ok(index)
    }

    /// Gives an inode of the image its first name.
    pub(super) fn add_leaf(
        &mut self,
        parent: u32,
        name: &[u8],
        leaf: Leaf,
    ) -> Result<u32, LayerError> {
        let index = u32::try_from(self.leaves.len()).expect("at most MAX_NODES");
        self.leaves.push(leaf);
        self.put(parent, name, Node::Leaf(index))?;
        Ok(index)
    }

    /// Gives it one more name.
    pub(super) fn link_leaf(
        &mut self,
        parent: u32,
        name: &[u8],
        leaf: u32,
    ) -> Result<(), LayerError> {
        self.leaves[leaf as usize].links += 1;
        self.put(parent, name, Node::Leaf(leaf))
    }

    fn push_directory(&mut self, parent: u32, meta: Meta, opaque: bool) -> u32 {
        let index = u32::try_from(self.directories.len()).expect("at most MAX_NODES");
        self.directories.push(Directory {
            seconds: 0,
            nanoseconds: 0,
            uid: 0,
            gid: 0,
            mode: 0,
            opaque,
            implied: false,
            parent,
            last: NONE,
        });
        self.set_meta(index, meta);
        index
    }

    /// Lets a name mean a node, in place of what it meant.
    fn put(&mut self, directory: u32, name: &[u8], node: Node) -> Result<(), LayerError> {
        if let Some(index) = self.index(directory, name) {
            let known = &mut self.names[index as usize];
            let old = Node::unpack(known.node);
            known.node = node.pack();
            self.drop_names_of(old);
            return Ok(());
        }
        let text = u8::try_from(name.len()).expect("at most MAX_NAME");
        let start = self.bytes.len();
        if start + name.len() >= self.max_name_bytes {
            let what = "more bytes of names".to_owned();
            let limit = self.max_name_bytes as u64;
            return Err(LayerError::Limit { what, limit });
        }
        self.bytes.push(text);
        self.bytes.extend_from_slice(name);
        let index = u32::try_from(self.names.len()).expect("at most MAX_NODES");
        let last = &mut self.directories[directory as usize].last;
        let before = std::mem::replace(last, index);
        self.names.push(Name {
            directory,
            before,
            start: u32::try_from(start).expect("at most MAX_NAME_BYTES"),
            node: node.pack(),
        });
        let (names, bytes, hasher) = (&self.names, &self.bytes, &self.hasher);
        let hash_of = |index: &u32| {
            let name = &names[*index as usize];
            hasher.hash_one((name.directory, text_of(bytes, name)))
        };
        self.table.insert_unique(hash_of(&index), index, hash_of);
        Ok(())
    }

    /// What a replaced node held is gone with it. Names in a directory that is gone stay where they
    /// are: nothing leads to them any more.
    fn drop_names_of(&mut self, node: Node) {
        let mut gone = vec![node];
        while let Some(node) = gone.pop() {
            match node {
                Node::Leaf(leaf) => self.leaves[leaf as usize].links -= 1,
                Node::Directory(directory) => {
                    self.unsettled |= self.directories[directory as usize].implied;
                    gone.extend(self.children(directory).map(|(_, node)| node));
                    self.xattrs.remove(&directory);
                }
            }
        }
    }

    fn index(&self, directory: u32, name: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one((directory, name));
        let same = |index: &u32| {
            let known = &self.names[*index as usize];
            known.directory == directory && self.text(known) == name
        };
        self.table.find(hash, same).copied()
    }

    fn text(&self, name: &Name) -> &[u8] {
        text_of(&self.bytes, name)
    }
}

fn text_of<'a>(bytes: &'a [u8], name: &Name) -> &'a [u8] {
    let start = name.start as usize + 1;
    &bytes[start..start + usize::from(bytes[start - 1])]
}

impl Leaf {
    /// An inode with one name.
    pub(super) fn new(inode: u64, mode: u16) -> Self {
        Self {
            inode,
            mode,
            links: 1,
            whiteout: false,
        }
    }
}

/// Attributes of a directory that no entry describes.
fn implied_meta() -> Meta {
    Meta {
        mode: IMPLIED_MODE,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Xattrs::default(),
    }
}
