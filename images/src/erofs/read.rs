//! A reader of images that [`Writer`](super::Writer) made: blocks of 4 KiB, extended inodes, no compression.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{BLOCK, BLOCK_LEN, DIRENT_LEN, HOLE, INODE_LEN, SLOT, SUPERBLOCK_OFFSET};
use super::{Meta, Xattrs, file_type};

/// Where a superblock has its magic number and its root.
const MAGIC: &[u8; 4] = &0xe0f5_e1e2_u32.to_le_bytes();
const ROOT_FIELD: usize = 14;
/// Layouts of data, in the bits above the lowest of an inode's format.
const INLINE: u16 = 2;
const CHUNKED: u16 = 4;
/// Bytes of the header of extended attributes, and of the unit that their length is counted in beyond it.
const XATTR_HEADER: usize = 12;
const XATTR_UNIT: usize = 4;
/// Most bytes of a symbolic link's target, which Linux and so the writer has.
const MAX_TARGET: u64 = 4096;

/// An image.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    root: u64,
}

/// An inode.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    number: u64,
    format: u16,
    address: u32,
    /// Bytes of extended attributes behind it.
    xattrs: usize,
    pub(crate) mode: u16,
    pub(crate) size: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
}

/// Some of a file's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Offset in the file.
    pub(crate) offset: u64,
    /// Offset in the image.
    pub(crate) place: u64,
    /// Bytes.
    pub(crate) length: u64,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u64,
}

impl Found {
    /// From its bytes in an image.
    pub(super) fn decode(number: u64, bytes: &[u8; INODE_LEN]) -> Option<Self> {
        let count = usize::from(u16_at(bytes, 2)?);
        Some(Self {
            number,
            format: u16_at(bytes, 0)?,
            address: u32_at(bytes, 16)?,
            xattrs: match count {
                0 => 0,
                count => XATTR_HEADER + XATTR_UNIT * (count - 1),
            },
            mode: u16_at(bytes, 4)?,
            size: u64_at(bytes, 8)?,
            uid: u32_at(bytes, 24)?,
            gid: u32_at(bytes, 28)?,
            mtime: (u64_at(bytes, 32)?.cast_signed(), u32_at(bytes, 40)?),
        })
    }

    pub(crate) fn kind(&self) -> u16 {
        self.mode & file_type::MASK
    }

    /// Its device number as it is on the disk.
    pub(crate) fn device(&self) -> u32 {
        self.address
    }

    /// Whether it is what overlayfs takes for a mark that hides a name.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind() == file_type::CHARACTER && self.address == 0
    }

    fn layout(&self) -> u16 {
        self.format >> 1 & 7
    }

    fn offset(&self) -> u64 {
        self.number * SLOT
    }

    /// Where what follows the inode and its attributes is.
    fn behind(&self) -> u64 {
        self.offset() + (INODE_LEN + self.xattrs) as u64
    }

    /// Where its data is, but for that in chunks.
    pub(super) fn plain_runs(&self) -> Vec<Run> {
        let first = u64::from(self.address) * BLOCK;
        let tail = if self.layout() == INLINE {
            self.size % BLOCK
        } else {
            0
        };
        let whole = self.size - tail;
        let runs = [(0, first, whole), (whole, self.behind(), tail)];
        runs.into_iter()
            .filter(|(.., length)| *length > 0)
            .map(|(offset, place, length)| Run {
                offset,
                place,
                length,
            })
            .collect()
    }
}

impl Reader {
    /// Reads an image's first block.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let mut head = [0; 16];
        file.read_exact_at(&mut head, SUPERBLOCK_OFFSET as u64)?;
        if !head.starts_with(MAGIC) {
            return Err(damaged());
        }
        let root = u16_at(&head, ROOT_FIELD).ok_or_else(damaged)?.into();
        Ok(Self { file, root })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> io::Result<Found> {
        self.inode(self.root)
    }

    /// An inode by its number.
    pub(crate) fn inode(&self, number: u64) -> io::Result<Found> {
        let mut bytes = [0; INODE_LEN];
        let offset = number.checked_mul(SLOT).ok_or_else(damaged)?;
        self.file.read_exact_at(&mut bytes, offset)?;
        Found::decode(number, &bytes).ok_or_else(damaged)
    }

    /// All that an inode has beside its data.
    pub(crate) fn meta(&self, inode: &Found) -> io::Result<Meta> {
        let (mode, uid, gid, mtime) = (inode.mode, inode.uid, inode.gid, inode.mtime);
        let xattrs = self.xattrs(inode)?;
        Ok(Meta {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        })
    }

    /// Its extended attributes.
    pub(crate) fn xattrs(&self, inode: &Found) -> io::Result<Xattrs> {
        let mut bytes = vec![0; inode.xattrs];
        self.file
            .read_exact_at(&mut bytes, inode.offset() + INODE_LEN as u64)?;
        Ok(Xattrs::from_bytes(bytes))
    }

    /// Where a symbolic link leads.
    pub(crate) fn target(&self, inode: &Found) -> io::Result<Vec<u8>> {
        if inode.size > MAX_TARGET {
            return Err(damaged());
        }
        let mut target = Vec::new();
        for run in inode.plain_runs() {
            let start = target.len();
            target.resize(start + length(run.length)?, 0);
            self.read(&mut target[start..], run.place)?;
        }
        Ok(target)
    }

    /// Bytes of the image.
    pub(crate) fn read(&self, buffer: &mut [u8], place: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, place)
    }

    /// Where a file's data is, ascending; what lies between is holes.
    pub(crate) fn runs(&self, inode: &Found) -> io::Result<Vec<Run>> {
        if inode.layout() != CHUNKED {
            return Ok(inode.plain_runs());
        }
        let chunk = BLOCK << (inode.address & 0x1f);
        let mut map = vec![0; length(inode.size.div_ceil(chunk))?.saturating_mul(4)];
        self.read(&mut map, inode.behind())?;
        let blocks = map.chunks_exact(4).map(|bytes| u32_at(bytes, 0));
        let mut runs = Vec::new();
        for (number, block) in blocks.enumerate() {
            let block = block.ok_or_else(damaged)?;
            let offset = number as u64 * chunk;
            if block != HOLE {
                runs.push(Run {
                    offset,
                    place: u64::from(block) * BLOCK,
                    length: chunk.min(inode.size - offset),
                });
            }
        }
        Ok(runs)
    }

    /// The inode of a name in a directory.
    pub(crate) fn child(&self, directory: &Found, name: &[u8]) -> io::Result<Option<Found>> {
        // The last block whose first name is not behind this one.
        let (mut low, mut high) = (0, directory.size.div_ceil(BLOCK));
        while low < high {
            let middle = low.midpoint(high);
            let block = self.block(directory, middle)?;
            let names = names(&block)?;
            let found = names
                .iter()
                .find(|entry| entry.name == name)
                .map(|entry| entry.inode);
            if let Some(number) = found {
                return self.inode(number).map(Some);
            }
            let first = names.first().ok_or_else(damaged)?;
            match name.cmp(&first.name) {
                Ordering::Less => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(None)
    }

    /// All names in a directory but its own and its parent's.
    pub(crate) fn names(&self, directory: &Found) -> io::Result<Vec<Name>> {
        let mut all = Vec::new();
        for number in 0..directory.size.div_ceil(BLOCK) {
            let names = names(&self.block(directory, number)?)?;
            all.extend(
                names
                    .into_iter()
                    .filter(|entry| entry.name != b"." && entry.name != b".."),
            );
        }
        Ok(all)
    }

    /// A block of a directory without what fills it up.
    fn block(&self, directory: &Found, number: u64) -> io::Result<Vec<u8>> {
        let offset = number * BLOCK;
        let mut block = vec![0; length(directory.size - offset)?.min(BLOCK_LEN)];
        let place = directory
            .plain_runs()
            .into_iter()
            .find(|run| (run.offset..run.offset + run.length).contains(&offset))
            .map(|run| run.place + offset - run.offset)
            .ok_or_else(damaged)?;
        self.read(&mut block, place)?;
        Ok(block)
    }
}

/// The entries of a block of a directory.
fn names(block: &[u8]) -> io::Result<Vec<Name>> {
    // The first name's offset says how many entries there are.
    let count = u16_at(block, 8).ok_or_else(damaged)?;
    let count = usize::from(count) / DIRENT_LEN;
    let offset = |index: usize| u16_at(block, index * DIRENT_LEN + 8).map(usize::from);
    let entry = |index: usize| {
        let end = if index + 1 == count {
            block.len()
        } else {
            offset(index + 1)?
        };
        let name = block.get(offset(index)?..end)?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(Name {
            name: name.to_vec(),
            inode: u64_at(block, index * DIRENT_LEN)?,
        })
    };
    (0..count)
        .map(|index| entry(index).ok_or_else(damaged))
        .collect()
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the file system of a layer is damaged",
    )
}

fn length(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| damaged())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
