//! From the entries of an archive to files of an image.

use std::io;

use super::LayerError;
use super::below::{Below, Seen};
use super::error::printable;
use super::limits::{
    Limits, MAX_DIRECTORY_XATTR_BYTES, MAX_LINKED_BYTES, MAX_PATH, MAX_XATTR_BYTES,
};
use super::path::{WHITEOUT, components};
use super::tar::{Archive, Entry, Input, Kind, Sparse, Stop};
use super::tree::{Leaf, Node, ROOT, Tree};
use crate::erofs::{Found, MAX_ROOT_XATTRS, Meta, Writer, Xattrs, device_number, file_type};

/// Says that a directory shows nothing of lower layers.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Starts the names of other files that only AUFS knew; docker leaves them out as well.
const AUFS: &[u8] = b".wh..wh.";
/// Starts the names of attributes that mean something to overlayfs, which would take a layer's
/// own for ours; one more `overlay.` makes them plain attributes again (Linux,
/// `Documentation/filesystems/overlayfs.rst`, "Nesting overlayfs mounts").
const OVERLAY: &[u8] = b"trusted.overlay.";

/// What a layer is put upon.
#[derive(Debug, Clone, Copy)]
pub enum Onto<'a> {
    /// Nothing: it is the only one.
    Nothing,
    /// Something that is not known: where that matters, the layer says so of itself, and is made again when it is.
    Unknown,
    /// These.
    Layers(&'a Below),
}

/// Room for our own marks among the attributes of the root.
const MARKS: usize = 128;

/// Puts the entries of an archive into an image and their names into a tree.
pub(super) struct Builder<'a, 'b, R> {
    pub(super) archive: Archive<R>,
    pub(super) writer: &'b mut Writer<'a>,
    pub(super) tree: Tree,
    pub(super) limits: &'b Limits,
    pub(super) onto: Onto<'b>,
    /// Steps along names and links so far.
    pub(super) link_steps: u64,
    /// Bytes of lower layers that were copied.
    linked_bytes: u64,
    /// The inode of all whiteouts, once there is one.
    whiteout: Option<u32>,
    directory_xattrs: u64,
    /// Bytes of the files with holes so far, as a program sees them.
    sparse_bytes: u64,
}

impl<'a, 'b, R: Input> Builder<'a, 'b, R> {
    pub(super) fn new(
        input: R,
        writer: &'b mut Writer<'a>,
        limits: &'b Limits,
        onto: Onto<'b>,
    ) -> Self {
        Self {
            onto,
            link_steps: 0,
            linked_bytes: 0,
            archive: Archive::new(input),
            writer,
            tree: Tree::new(limits),
            limits,
            whiteout: None,
            directory_xattrs: 0,
            sparse_bytes: 0,
        }
    }

    /// Takes all entries.
    pub(super) fn run(mut self) -> Result<Tree, Stop> {
        while let Some(entry) = self.archive.next()? {
            self.tree.count()?;
            match self.add(&entry) {
                // It may lead somewhere else when it is known what is below, and is refused then or never.
                Err(Stop::Layer(error))
                    if matches!(self.onto, Onto::Unknown) && error.depends_on_below() =>
                {
                    self.tree.unsettle();
                }
                other => other?,
            }
        }
        self.settle()?;
        Ok(self.tree)
    }

    /// The layers below are known now or never.
    fn settle(&mut self) -> Result<(), Stop> {
        let layers = match self.onto {
            Onto::Unknown => return Ok(()),
            Onto::Nothing => {
                self.tree.settle();
                return Ok(());
            }
            // Its mark stays: where nothing else differs, neither does that, and the layer made before is good.
            Onto::Layers(layers) => layers,
        };
        if !self.tree.is_opaque(ROOT) {
            return Ok(());
        }
        // Overlayfs asks the root of no layer whether it is opaque.
        let below = layers.root().map_err(read_error)?;
        for name in layers.names(&below).map_err(read_error)? {
            match self.tree.child(ROOT, &name) {
                Some(Node::Directory(directory)) => self.tree.set_opaque(directory),
                Some(Node::Leaf(_)) => {}
                None => {
                    self.tree.count()?;
                    self.hide(ROOT, &name)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: &Entry) -> Result<(), Stop> {
        let path = components(&entry.path)?;
        let Some((name, parents)) = path.split_last() else {
            if entry.kind != Kind::Directory {
                return Err(refused(entry, "the root is always a directory").into());
            }
            return self.add_root(entry);
        };
        if path
            .iter()
            .any(|component| component.starts_with(AUFS) && *component != OPAQUE)
        {
            return Ok(());
        }
        if parents
            .iter()
            .any(|component| component.starts_with(WHITEOUT))
        {
            return Err(refused(entry, "it is in a directory that is a whiteout").into());
        }
        if name.starts_with(WHITEOUT) {
            return self.add_whiteout(entry, name, parents);
        }
        let (meta, parent) = (self.meta(entry)?, self.directory(parents)?);
        match entry.kind {
            Kind::Directory => {
                self.count_directory_xattrs(&meta)?;
                self.tree.set_directory(parent, name, meta)?;
                return Ok(());
            }
            Kind::HardLink => {
                let leaf = self.link_target(entry)?;
                return Ok(self.tree.link_leaf(parent, name, leaf)?);
            }
            _ => {}
        }
        let inode = match entry.kind {
            Kind::Symlink => self.symlink(entry, &meta)?,
            Kind::File => self.file(entry, &meta)?,
            _ => {
                let (major, minor) = entry.device;
                let device = device_number(major, minor).ok_or_else(|| {
                    refused(entry, format!("Linux has no device number {major}:{minor}"))
                })?;
                self.writer.special(&meta, device).map_err(write_error)?
            }
        };
        self.tree
            .add_leaf(parent, name, Leaf::new(inode, meta.mode))?;
        Ok(())
    }

    fn add_root(&mut self, entry: &Entry) -> Result<(), Stop> {
        let meta = self.meta(entry)?;
        let length = meta.xattrs.bytes().len() + MARKS;
        if length > MAX_ROOT_XATTRS {
            let what = format!("{length} bytes of extended attributes of the root directory");
            return Err(LayerError::Limit {
                what,
                limit: MAX_ROOT_XATTRS as u64,
            }
            .into());
        }
        self.tree.set_meta(ROOT, meta);
        Ok(())
    }

    fn add_whiteout(&mut self, entry: &Entry, name: &[u8], parents: &[&[u8]]) -> Result<(), Stop> {
        let parent = self.directory(parents)?;
        if name == OPAQUE {
            self.tree.set_opaque(parent);
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(entry, "this whiteout hides no name").into());
        }
        // What the same layer brings is not hidden, only what lower layers have (image
        // specification, "Whiteouts").
        match self.tree.child(parent, hidden) {
            Some(Node::Directory(directory)) => self.tree.set_opaque(directory),
            Some(Node::Leaf(_)) => {}
            None => self.hide(parent, hidden)?,
        }
        Ok(())
    }

    fn hide(&mut self, parent: u32, name: &[u8]) -> Result<(), Stop> {
        if let Some(leaf) = self.whiteout {
            return Ok(self.tree.link_leaf(parent, name, leaf)?);
        }
        let mode = file_type::CHARACTER;
        let meta = Meta {
            mode,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Xattrs::default(),
        };
        let inode = self.writer.special(&meta, 0).map_err(write_error)?;
        let whiteout = Leaf {
            whiteout: true,
            ..Leaf::new(inode, mode)
        };
        self.whiteout = Some(self.tree.add_leaf(parent, name, whiteout)?);
        Ok(())
    }

    fn meta(&self, entry: &Entry) -> Result<Meta, LayerError> {
        let kind = match entry.kind {
            Kind::File | Kind::HardLink => file_type::REGULAR,
            Kind::Symlink => file_type::SYMLINK,
            Kind::CharacterDevice => file_type::CHARACTER,
            Kind::BlockDevice => file_type::BLOCK,
            Kind::Directory => file_type::DIRECTORY,
            Kind::Fifo => file_type::FIFO,
        };
        // Linux has no other permissions for them.
        let mode = if entry.kind == Kind::Symlink {
            0o777
        } else {
            entry.mode
        };
        let mut xattrs = Xattrs::default();
        for (name, value) in &entry.xattrs {
            match name.strip_prefix(OVERLAY) {
                Some(rest) => xattrs.add(&[OVERLAY, b"overlay.", rest].concat(), value),
                None => xattrs.add(name, value),
            };
            if xattrs.bytes().len() > MAX_XATTR_BYTES {
                let what = format!("extended attributes of {:?}", printable(&entry.path));
                return Err(LayerError::Limit {
                    what,
                    limit: MAX_XATTR_BYTES as u64,
                });
            }
        }
        let (uid, gid, mtime) = (entry.uid, entry.gid, entry.mtime);
        Ok(Meta {
            mode: kind | mode,
            uid,
            gid,
            mtime,
            xattrs,
        })
    }

    fn count_directory_xattrs(&mut self, meta: &Meta) -> Result<(), LayerError> {
        self.directory_xattrs += meta.xattrs.bytes().len() as u64;
        if self.directory_xattrs > MAX_DIRECTORY_XATTR_BYTES {
            let what = "more bytes of extended attributes of directories".to_owned();
            return Err(LayerError::Limit {
                what,
                limit: MAX_DIRECTORY_XATTR_BYTES,
            });
        }
        Ok(())
    }

    /// What a hard link is one more name of. Links in the way to it are followed, it itself is not.
    fn link_target(&mut self, entry: &Entry) -> Result<u32, Stop> {
        let refused = |reason| LayerError::HardLink {
            path: printable(&entry.path),
            target: printable(&entry.link),
            reason,
        };
        let target =
            components(&entry.link).map_err(|_| refused("not the name of a file in the tree"))?;
        let Some((name, parents)) = target.split_last() else {
            return Err(refused("a directory").into());
        };
        let mut target = self.resolve(parents)?;
        target.push(name.to_vec());
        match self.tree.find(&target) {
            Some(Node::Leaf(leaf)) if !self.tree.leaf(leaf).whiteout => return Ok(leaf),
            Some(Node::Leaf(_)) => return Err(refused("removed by this layer").into()),
            Some(Node::Directory(_)) => return Err(refused("a directory").into()),
            None => {}
        }
        match self.onto {
            Onto::Nothing | Onto::Unknown => Err(refused("not in this layer before it").into()),
            Onto::Layers(below) => match self.seen_below(&target)? {
                Seen::Leaf(layer, found) => self.copy_up(below, layer, &found, &target),
                Seen::Directory(_) => Err(refused("a directory").into()),
                Seen::Nothing => {
                    Err(refused("neither in this layer before it nor in one below").into())
                }
            },
        }
    }

    /// Brings a file of a lower layer into this one under its own name, as overlayfs does when it is linked to, so that
    /// both names are the same file.
    fn copy_up(
        &mut self,
        below: &Below,
        layer: usize,
        found: &Found,
        path: &[Vec<u8>],
    ) -> Result<u32, Stop> {
        let meta = below.meta(layer, found).map_err(read_error)?;
        let inode = match found.kind() {
            file_type::REGULAR => self.copy(below, layer, found, &meta, path)?,
            file_type::SYMLINK => {
                let target = below.layer(layer).and_then(|layer| layer.target(found));
                let target = target.map_err(read_error)?;
                self.writer.symlink(&meta, &target).map_err(write_error)?
            }
            _ => self
                .writer
                .special(&meta, found.device())
                .map_err(write_error)?,
        };
        let Some((name, parents)) = path.split_last() else {
            return Err(write_error(io::ErrorKind::InvalidInput.into()));
        };
        self.tree.count()?;
        let parents: Vec<&[u8]> = parents.iter().map(Vec::as_slice).collect();
        let parent = self.tree.parent(&parents)?;
        Ok(self
            .tree
            .add_leaf(parent, name, Leaf::new(inode, meta.mode))?)
    }

    /// Copies the data of a file, and its holes.
    fn copy(
        &mut self,
        below: &Below,
        layer: usize,
        found: &Found,
        meta: &Meta,
        path: &[Vec<u8>],
    ) -> Result<u64, Stop> {
        /// Bytes copied at once.
        const PIECE: usize = 256 << 10;
        let layer = below.layer(layer).map_err(read_error)?;
        let runs = layer.runs(found).map_err(read_error)?;
        self.linked_bytes += runs.iter().map(|run| run.length).sum::<u64>();
        if self.linked_bytes > MAX_LINKED_BYTES {
            let what = "more bytes of files of lower layers that it has links to".to_owned();
            let limit = MAX_LINKED_BYTES;
            return Err(LayerError::Limit { what, limit }.into());
        }
        let whole = runs.iter().map(|run| run.length).sum::<u64>() == found.size;
        if !whole {
            // Its holes cost a map here as well.
            let name = path.join(&b'/');
            self.count_sparse(&name, found.size)?;
        }
        let mut piece = vec![0; PIECE];
        let mut sparse = (!whole).then(|| self.writer.start_sparse(found.size));
        let mut plain = match sparse {
            None => Some(self.writer.start(meta, found.size).map_err(write_error)?),
            Some(_) => None,
        };
        for run in runs {
            let mut done = 0;
            while done < run.length {
                let room = usize::try_from(run.length - done)
                    .unwrap_or(PIECE)
                    .min(PIECE);
                let bytes = &mut piece[..room];
                layer.read(bytes, run.place + done).map_err(read_error)?;
                match (&mut plain, &mut sparse) {
                    (Some(file), _) => self.writer.data(file, bytes),
                    (None, Some(file)) => self.writer.sparse_data(file, run.offset + done, bytes),
                    (None, None) => Ok(()),
                }
                .map_err(write_error)?;
                done += room as u64;
            }
        }
        match (plain, sparse) {
            (Some(file), _) => self.writer.end(meta, file),
            (None, Some(file)) => self.writer.end_sparse(meta, file),
            (None, None) => Err(io::ErrorKind::InvalidInput.into()),
        }
        .map_err(write_error)
    }

    fn symlink(&mut self, entry: &Entry, meta: &Meta) -> Result<u64, Stop> {
        // The target is only data here: nothing ever looks where it leads.
        if entry.link.is_empty() || entry.link.len() > MAX_PATH || entry.link.contains(&0) {
            let length = entry.link.len();
            let reason = format!("a symbolic link cannot have this target of {length} bytes");
            return Err(refused(entry, reason).into());
        }
        self.writer.symlink(meta, &entry.link).map_err(write_error)
    }

    fn file(&mut self, entry: &Entry, meta: &Meta) -> Result<u64, Stop> {
        if let Some(sparse) = &entry.sparse {
            return self.sparse(entry, meta, sparse);
        }
        if entry.size > self.limits.tar_bytes {
            let what = format!(
                "a file {:?} of {} bytes",
                printable(&entry.path),
                entry.size
            );
            let limit = self.limits.tar_bytes;
            return Err(LayerError::Limit { what, limit }.into());
        }
        let mut file = self.writer.start(meta, entry.size).map_err(write_error)?;
        loop {
            let data = self.archive.data()?;
            if data.is_empty() {
                break;
            }
            self.writer.data(&mut file, data).map_err(write_error)?;
            let length = data.len();
            self.archive.consume(length);
        }
        self.writer.end(meta, file).map_err(write_error)
    }

    /// Counts a file with holes, whose map takes room however little data it has.
    fn count_sparse(&mut self, path: &[u8], size: u64) -> Result<(), LayerError> {
        self.sparse_bytes = self.sparse_bytes.saturating_add(size);
        if self.sparse_bytes <= self.limits.sparse_bytes {
            return Ok(());
        }
        let what = format!(
            "files with holes up to {:?}, of {size} bytes, of {} bytes together",
            printable(path),
            self.sparse_bytes
        );
        let limit = self.limits.sparse_bytes;
        Err(LayerError::Limit { what, limit })
    }

    fn sparse(&mut self, entry: &Entry, meta: &Meta, sparse: &Sparse) -> Result<u64, Stop> {
        self.count_sparse(&entry.path, sparse.size)?;
        let mut file = self.writer.start_sparse(sparse.size);
        for (offset, length) in &sparse.runs {
            let (mut offset, mut left) = (*offset, *length);
            while left > 0 {
                let data = self.archive.data()?;
                let length = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.writer
                    .sparse_data(&mut file, offset, &data[..length])
                    .map_err(write_error)?;
                self.archive.consume(length);
                offset += length as u64;
                left -= length as u64;
            }
        }
        self.writer.end_sparse(meta, file).map_err(write_error)
    }
}

fn refused(entry: &Entry, reason: impl Into<String>) -> LayerError {
    LayerError::Entry {
        path: printable(&entry.path),
        reason: reason.into(),
    }
}

pub(super) fn write_error(error: io::Error) -> Stop {
    Stop::Layer(LayerError::Write(error))
}

pub(super) fn read_error(error: io::Error) -> Stop {
    Stop::Layer(LayerError::Below(error))
}
