//! From the entries of an archive to files of an image.

use std::io;

use super::LayerError;
use super::error::printable;
use super::limits::{Limits, MAX_DIRECTORY_XATTR_BYTES, MAX_PATH, MAX_XATTR_BYTES};
use super::path::components;
use super::tar::{Archive, Entry, Input, Kind, Sparse, Stop};
use super::tree::{Leaf, Node, ROOT, Tree};
use crate::erofs::{MAX_ROOT_XATTRS, Meta, Writer, Xattrs, device_number, file_type};

/// Starts the names of files that say what a layer hides (image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Says that a directory shows nothing of lower layers.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Starts the names of other files that only AUFS knew; docker leaves them out as well.
const AUFS: &[u8] = b".wh..wh.";
/// Starts the names of attributes that mean something to overlayfs, which would take a layer's
/// own for ours; one more `overlay.` makes them plain attributes again (Linux,
/// `Documentation/filesystems/overlayfs.rst`, "Nesting overlayfs mounts").
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Puts the entries of an archive into an image and their names into a tree.
pub(super) struct Builder<'a, 'b, R> {
    pub(super) archive: Archive<R>,
    pub(super) writer: &'b mut Writer<'a>,
    pub(super) tree: Tree,
    pub(super) limits: &'b Limits,
    /// The inode of all whiteouts, once there is one.
    whiteout: Option<u32>,
    directory_xattrs: u64,
    /// Bytes of the files with holes so far, as a program sees them.
    sparse_bytes: u64,
}

impl<'a, 'b, R: Input> Builder<'a, 'b, R> {
    pub(super) fn new(input: R, writer: &'b mut Writer<'a>, limits: &'b Limits) -> Self {
        Self {
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
            self.add(&entry)?;
        }
        Ok(self.tree)
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
        let (meta, parent) = (self.meta(entry)?, self.tree.parent(parents)?);
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
        // The mark for opaque directories may still be added.
        let length = meta.xattrs.bytes().len() + 64;
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
        let parent = self.tree.parent(parents)?;
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

    fn link_target(&self, entry: &Entry) -> Result<u32, LayerError> {
        let refused = |reason| LayerError::HardLink {
            path: printable(&entry.path),
            target: printable(&entry.link),
            reason,
        };
        let target =
            components(&entry.link).map_err(|_| refused("not the name of a file in the tree"))?;
        match self.tree.find(&target) {
            Some(Node::Leaf(leaf)) if !self.tree.leaf(leaf).whiteout => Ok(leaf),
            Some(Node::Leaf(_)) => Err(refused("removed by this layer")),
            Some(Node::Directory(_)) => Err(refused("a directory")),
            None => Err(refused("not in this layer before it")),
        }
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

    fn sparse(&mut self, entry: &Entry, meta: &Meta, sparse: &Sparse) -> Result<u64, Stop> {
        self.sparse_bytes = self.sparse_bytes.saturating_add(sparse.size);
        if self.sparse_bytes > self.limits.sparse_bytes {
            let what = format!(
                "files with holes up to {:?}, of {} bytes, of {} bytes together",
                printable(&entry.path),
                sparse.size,
                self.sparse_bytes
            );
            return Err(LayerError::Limit {
                what,
                limit: self.limits.sparse_bytes,
            }
            .into());
        }
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
