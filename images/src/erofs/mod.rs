//! A writer of EROFS images that takes files as they come.
//!
//! File data goes to the image at once, in order. Inodes go into reserved blocks in between, so
//! that nothing but the tree of names is kept in memory. Directories come last, when the numbers
//! of all other inodes are known; the root's inode has its place behind the superblock.

mod directory;
mod format;
mod output;
mod read;
mod slots;
mod xattr;

use std::fs::File;
use std::io;

pub(crate) use directory::DirectoryEntry;
pub(crate) use format::{device_number, file_type};
pub(crate) use read::{Found, Reader};
pub(crate) use xattr::Xattrs;

use self::format::{
    BLOCK, BLOCK_LEN, HOLE, INODE_LEN, Inode, LINKS_OFFSET, Layout, ROOT_OFFSET, SLOT, Superblock,
};
use self::output::Output;
use self::slots::Slots;

/// Files from this size on have no tail behind their inode: a page of padding weighs little there,
/// and a file in whole pages can be mapped into a guest without a copy.
const WHOLE_BLOCKS_FROM: u64 = 64 << 10;

/// Most entries of a map of chunks, 1 MiB: larger files with holes get larger chunks.
const MAX_CHUNKS: u64 = 1 << 18;

/// Bytes that the root's inode, attributes and the tail of its entries may take.
const ROOT_LEN: usize = BLOCK_LEN - ROOT_OFFSET;

/// What every inode has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Type and permissions.
    pub(crate) mode: u16,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Extended attributes.
    pub(crate) xattrs: Xattrs,
}

/// A file whose data is being written.
#[derive(Debug)]
pub(crate) struct Regular {
    size: u64,
    layout: Layout,
    /// Bytes that still go into blocks.
    in_blocks: u64,
    tail: Vec<u8>,
}

/// A file with holes whose data is being written.
#[derive(Debug)]
pub(crate) struct Sparse {
    size: u64,
    /// Bytes of a chunk as a power of two.
    bits: u32,
    /// First block of each chunk.
    map: Vec<u32>,
    /// Offset in the file of the next byte of the open chunk.
    position: u64,
    open: bool,
}

/// An image that is being written.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    output: Output<'a>,
    slots: Slots,
    /// Content of the reserved blocks.
    reserved: Vec<u8>,
    inodes: u32,
    root: [u8; ROOT_LEN],
    chunked: bool,
}

/// Number of the root's inode.
pub(crate) const ROOT: u64 = ROOT_OFFSET as u64 / SLOT;

/// Bytes of extended attributes that the root can have.
pub(crate) const MAX_ROOT_XATTRS: usize = ROOT_LEN - INODE_LEN;

impl<'a> Writer<'a> {
    /// An image in `file`, which is empty.
    pub(crate) fn new(file: &'a File) -> io::Result<Self> {
        let mut output = Output::new(file);
        output.zeros(BLOCK)?;
        Ok(Self {
            output,
            slots: Slots::new(),
            reserved: Vec::new(),
            inodes: 0,
            root: [0; ROOT_LEN],
            chunked: false,
        })
    }

    /// Number of inodes so far.
    pub(crate) fn inodes(&self) -> u64 {
        u64::from(self.inodes)
    }

    fn block(&self) -> io::Result<u32> {
        // 16 TiB of image; the last number means a hole.
        u32::try_from(self.output.position() / BLOCK)
            .ok()
            .filter(|block| *block < HOLE)
            .ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }

    /// Starts a file of `size` bytes.
    pub(crate) fn start(&mut self, meta: &Meta, size: u64) -> io::Result<Regular> {
        let tail = usize::try_from(size % BLOCK).expect("less than a block");
        // Readers take the last block of an inline file for its tail even when it is a whole one.
        let inline = tail > 0 && size < WHOLE_BLOCKS_FROM && fits(meta, tail);
        let block = self.block()?;
        Ok(if inline {
            let in_blocks = size - tail as u64;
            let tail = Vec::with_capacity(tail);
            Regular {
                size,
                layout: Layout::Inline(block),
                in_blocks,
                tail,
            }
        } else {
            Regular {
                size,
                layout: Layout::Plain(block),
                in_blocks: size,
                tail: Vec::new(),
            }
        })
    }

    /// Adds data to a file.
    pub(crate) fn data(&mut self, file: &mut Regular, bytes: &[u8]) -> io::Result<()> {
        let room = usize::try_from(file.in_blocks).unwrap_or(usize::MAX);
        let (blocks, tail) = bytes.split_at(bytes.len().min(room));
        self.output.write(blocks)?;
        file.in_blocks -= blocks.len() as u64;
        file.tail.extend_from_slice(tail);
        Ok(())
    }

    /// Ends a file all of whose data is there; the result is the number of its inode.
    pub(crate) fn end(&mut self, meta: &Meta, file: Regular) -> io::Result<u64> {
        debug_assert_eq!(file.in_blocks, 0);
        self.output.align()?;
        self.inode(meta, file.size, file.layout, &file.tail)
    }

    /// Writes something without data: a device (with its number), a FIFO.
    pub(crate) fn special(&mut self, meta: &Meta, device: u32) -> io::Result<u64> {
        self.inode(meta, 0, Layout::Device(device), &[])
    }

    /// Writes a symbolic link.
    pub(crate) fn symlink(&mut self, meta: &Meta, target: &[u8]) -> io::Result<u64> {
        let mut file = self.start(meta, target.len() as u64)?;
        self.data(&mut file, target)?;
        self.end(meta, file)
    }

    /// Where a symbolic link leads that was written before; looking it up costs less than keeping all in memory.
    pub(crate) fn target(&mut self, inode: u64) -> io::Result<Vec<u8>> {
        let mut bytes = [0; INODE_LEN];
        self.read_at(&mut bytes, inode * SLOT)?;
        let found = Found::decode(inode, &bytes).ok_or(io::ErrorKind::InvalidData)?;
        let mut target = Vec::new();
        for run in found.plain_runs() {
            let start = target.len();
            let length = usize::try_from(run.length).expect("at most MAX_PATH");
            target.resize(start + length, 0);
            self.read_at(&mut target[start..], run.place)?;
        }
        Ok(target)
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let reserved = offset
            .checked_sub(self.slots.start)
            .and_then(|start| usize::try_from(start).ok())
            .and_then(|start| self.reserved.get(start..start + buffer.len()));
        match reserved {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => self.output.read_at(buffer, offset),
        }
    }

    /// Starts a file with holes of `size` bytes.
    pub(crate) fn start_sparse(&mut self, size: u64) -> Sparse {
        self.chunked = true;
        let mut bits = BLOCK.trailing_zeros();
        while size.div_ceil(1 << bits) > MAX_CHUNKS {
            bits += 1;
        }
        let chunks = usize::try_from(size.div_ceil(1 << bits)).expect("at most MAX_CHUNKS");
        Sparse {
            size,
            bits,
            map: vec![HOLE; chunks],
            position: 0,
            open: false,
        }
    }

    /// Adds data at `offset`, which is not before the end of the data so far.
    pub(crate) fn sparse_data(
        &mut self,
        file: &mut Sparse,
        offset: u64,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        let chunk = 1 << file.bits;
        let mut offset = offset;
        while !bytes.is_empty() {
            let start = offset / chunk * chunk;
            if !file.open || file.position <= start {
                self.close_chunk(file)?;
                let index = usize::try_from(offset / chunk).expect("at most MAX_CHUNKS");
                file.map[index] = self.block()?;
                (file.position, file.open) = (start, true);
            }
            self.output.zeros(offset - file.position)?;
            let room = usize::try_from(start + chunk - offset).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.output.write(now)?;
            offset += now.len() as u64;
            file.position = offset;
            bytes = later;
        }
        Ok(())
    }

    /// Fills up the open chunk, the last one of a file only to the end of a block.
    fn close_chunk(&mut self, file: &mut Sparse) -> io::Result<()> {
        if file.open {
            let end = file
                .position
                .next_multiple_of(1 << file.bits)
                .min(file.size);
            self.output.zeros(end - file.position)?;
            self.output.align()?;
            file.open = false;
        }
        Ok(())
    }

    /// Ends a file with holes.
    pub(crate) fn end_sparse(&mut self, meta: &Meta, mut file: Sparse) -> io::Result<u64> {
        self.close_chunk(&mut file)?;
        let bits = u8::try_from(file.bits - BLOCK.trailing_zeros()).expect("less than 64");
        let map: Vec<u8> = file
            .map
            .iter()
            .flat_map(|block| block.to_le_bytes())
            .collect();
        self.inode(meta, file.size, Layout::Chunks(bits), &map)
    }

    /// Writes an inode and what follows it.
    fn inode(&mut self, meta: &Meta, size: u64, layout: Layout, tail: &[u8]) -> io::Result<u64> {
        let mut bytes = self.encoded(meta, size, layout, 1);
        bytes.extend(tail);
        if bytes.len() > BLOCK_LEN {
            let offset = self.output.position();
            self.output.write(&bytes)?;
            self.output.align()?;
            return Ok(offset / SLOT);
        }
        let offset = match self.slots.take(bytes.len()) {
            Some(offset) => offset,
            None => {
                self.write_reserved()?;
                let length = self.slots.reserve(self.output.position());
                self.output.zeros(length)?;
                self.reserved
                    .resize(usize::try_from(length).expect("some blocks"), 0);
                self.slots.take(bytes.len()).expect("the blocks are empty")
            }
        };
        let start = usize::try_from(offset - self.slots.start).expect("within the reservation");
        self.reserved[start..start + bytes.len()].copy_from_slice(&bytes);
        Ok(offset / SLOT)
    }

    fn encoded(&mut self, meta: &Meta, size: u64, layout: Layout, links: u32) -> Vec<u8> {
        self.inodes += 1;
        Inode {
            meta,
            size,
            layout,
            number: self.inodes,
            links,
        }
        .encode()
    }

    fn write_reserved(&mut self) -> io::Result<()> {
        if !self.reserved.is_empty() {
            self.output.write_at(&self.reserved, self.slots.start)?;
            self.reserved.clear();
        }
        Ok(())
    }

    /// A plan of where directories will have their inodes. It has to be asked for all but the root,
    /// and [`Self::directory`] then called for the same directories in the same order, with
    /// nothing else in between.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            slots: self.slots.clone(),
            position: self.output.position(),
        }
    }

    /// Writes a directory with its entries, sorted and with `.` and `..`.
    pub(crate) fn directory(
        &mut self,
        meta: &Meta,
        entries: &[DirectoryEntry<'_>],
        links: u32,
    ) -> io::Result<u64> {
        let first = self.block()?;
        let tail = self.directory_blocks(entries, |tail| fits(meta, tail))?;
        let size = directory::size(entries);
        let inode = self.inode(meta, size, layout_of(first, &tail), &tail)?;
        self.set_links(inode, links)?;
        Ok(inode)
    }

    /// Writes the root.
    pub(crate) fn root_directory(
        &mut self,
        meta: &Meta,
        entries: &[DirectoryEntry<'_>],
        links: u32,
    ) -> io::Result<()> {
        let before = INODE_LEN + meta.xattrs.bytes().len();
        let first = self.block()?;
        let tail = self.directory_blocks(entries, |tail| before + tail <= ROOT_LEN)?;
        let size = directory::size(entries);
        let mut bytes = self.encoded(meta, size, layout_of(first, &tail), links);
        bytes.extend(tail);
        let room = self
            .root
            .get_mut(..bytes.len())
            .ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(&bytes);
        Ok(())
    }

    /// Writes the blocks of a directory, the last one only where it is no tail; else it is the
    /// result.
    fn directory_blocks(
        &mut self,
        entries: &[DirectoryEntry<'_>],
        is_tail: impl Fn(usize) -> bool,
    ) -> io::Result<Vec<u8>> {
        let mut blocks = directory::blocks(entries).peekable();
        while let Some(block) = blocks.next() {
            let bytes = directory::encode(block);
            if blocks.peek().is_none() && is_tail(bytes.len()) {
                return Ok(bytes);
            }
            self.output.write(&bytes)?;
            self.output.align()?;
        }
        Ok(Vec::new())
    }

    /// Sets the number of names of an inode, which is 1 otherwise.
    pub(crate) fn set_links(&mut self, inode: u64, links: u32) -> io::Result<()> {
        let offset = inode * SLOT + LINKS_OFFSET;
        let bytes = links.to_le_bytes();
        match offset
            .checked_sub(self.slots.start)
            .and_then(|start| usize::try_from(start).ok())
        {
            Some(start) if start < self.reserved.len() => {
                self.reserved[start..start + bytes.len()].copy_from_slice(&bytes);
                Ok(())
            }
            _ => self.output.write_at(&bytes, offset),
        }
    }

    /// Writes everything but the first block; the result is the image's length in bytes.
    pub(crate) fn end_blocks(&mut self) -> io::Result<u64> {
        self.write_reserved()?;
        self.block()?;
        self.output.finish()
    }

    /// Writes the first block, which makes the file an image.
    pub(crate) fn finish(mut self, uuid: [u8; 16]) -> io::Result<()> {
        let blocks = self.block()?;
        let mut first = [0; BLOCK_LEN];
        first[ROOT_OFFSET..].copy_from_slice(&self.root);
        Superblock {
            inodes: self.inodes(),
            blocks,
            uuid,
            chunked: self.chunked,
        }
        .put(&mut first);
        self.output.write_at(&first, 0)
    }
}

/// The places of directories that are not yet written.
#[derive(Debug)]
pub(crate) struct Plan {
    slots: Slots,
    position: u64,
}

impl Plan {
    /// Number of the inode of the next directory. Numbers in its entries do not matter yet.
    pub(crate) fn directory(&mut self, meta: &Meta, entries: &[DirectoryEntry<'_>]) -> u64 {
        let (whole, last) = directory::measure(entries);
        let inline = fits(meta, last);
        self.position += (whole + u64::from(!inline)) * BLOCK;
        let length = INODE_LEN + meta.xattrs.bytes().len() + if inline { last } else { 0 };
        if length > BLOCK_LEN {
            let offset = self.position;
            self.position += (length as u64).next_multiple_of(BLOCK);
            return offset / SLOT;
        }
        let offset = self.slots.take(length).unwrap_or_else(|| {
            self.position += self.slots.reserve(self.position);
            self.slots.take(length).expect("the blocks are empty")
        });
        offset / SLOT
    }
}

/// With a tail or without.
fn layout_of(first: u32, tail: &[u8]) -> Layout {
    if tail.is_empty() {
        Layout::Plain(first)
    } else {
        Layout::Inline(first)
    }
}

/// Whether an inode, its attributes and this tail are together in one block.
fn fits(meta: &Meta, tail: usize) -> bool {
    INODE_LEN + meta.xattrs.bytes().len() + tail <= BLOCK_LEN
}
