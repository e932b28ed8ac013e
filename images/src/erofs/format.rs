//! The on-disk format of EROFS, as far as it is written here: blocks of 4 KiB, extended inodes,
//! no compression (Linux, `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`).

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;
/// The same, in memory.
pub(super) const BLOCK_LEN: usize = 4096;
const BLOCK_BITS: u8 = 12;
/// Inodes start at multiples of this; an inode's number is its offset in this unit.
pub(super) const SLOT: u64 = 32;
/// Bytes of an extended inode.
pub(super) const INODE_LEN: usize = 64;
/// Offset of the number of links in it.
pub(super) const LINKS_OFFSET: u64 = 44;
/// Offset of the superblock.
pub(super) const SUPERBLOCK_OFFSET: usize = 1024;
const SUPERBLOCK_LEN: usize = 128;
/// The root's inode directly follows the superblock: its number has only 16 bits there.
pub(super) const ROOT_OFFSET: usize = SUPERBLOCK_OFFSET + SUPERBLOCK_LEN;
/// Address of a chunk that is a hole.
pub(super) const HOLE: u32 = u32::MAX;
/// Bytes of one directory entry without its name.
pub(super) const DIRENT_LEN: usize = 12;

const MAGIC: u32 = 0xe0f5_e1e2;
/// The superblock has a checksum.
const COMPAT_CHECKSUM: u32 = 1;
/// Times are those of the last change of content.
const COMPAT_MTIME: u32 = 2;
/// There are files in chunks.
const INCOMPAT_CHUNKED: u32 = 4;
/// Chunks have entries of 4 bytes, and their size is in the low bits.
const EXTENDED: u16 = 1;

/// File types in modes and in directory entries (Linux, `include/uapi/linux/stat.h`, `fs_types.h`).
pub(crate) mod file_type {
    /// Mask of the type in a mode.
    pub(crate) const MASK: u16 = 0o170_000;
    /// Named pipe.
    pub(crate) const FIFO: u16 = 0o010_000;
    /// Character device.
    pub(crate) const CHARACTER: u16 = 0o020_000;
    /// Directory.
    pub(crate) const DIRECTORY: u16 = 0o040_000;
    /// Block device.
    pub(crate) const BLOCK: u16 = 0o060_000;
    /// Regular file.
    pub(crate) const REGULAR: u16 = 0o100_000;
    /// Symbolic link.
    pub(crate) const SYMLINK: u16 = 0o120_000;

    /// The type of a mode as directory entries have it.
    pub(in crate::erofs) fn of_entry(mode: u16) -> u8 {
        match mode & MASK {
            REGULAR => 1,
            DIRECTORY => 2,
            CHARACTER => 3,
            BLOCK => 4,
            FIFO => 5,
            SYMLINK => 7,
            _ => 0,
        }
    }
}

/// Where a file's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In blocks from this one on.
    Plain(u32),
    /// In blocks from this one on, except for a tail behind the inode.
    Inline(u32),
    /// In chunks of 2 to the power of 12 + this bytes, whose map is behind the inode.
    Chunks(u8),
    /// There is none: this device number.
    Device(u32),
}

/// An inode without what follows it.
#[derive(Debug)]
pub(super) struct Inode<'a> {
    pub(super) meta: &'a super::Meta,
    pub(super) size: u64,
    pub(super) layout: Layout,
    pub(super) number: u32,
    pub(super) links: u32,
}

impl Inode<'_> {
    /// Its bytes, and behind them its extended attributes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (layout, address) = match self.layout {
            Layout::Plain(block) => (0, block),
            Layout::Inline(block) => (2, block),
            Layout::Chunks(bits) => (4, u32::from(bits)),
            Layout::Device(number) => (0, number),
        };
        let xattrs = self.meta.xattrs.bytes();
        let mut bytes = Vec::with_capacity(INODE_LEN + xattrs.len());
        bytes.extend((EXTENDED | layout << 1).to_le_bytes());
        bytes.extend(self.meta.xattrs.count_field().to_le_bytes());
        bytes.extend(self.meta.mode.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(address.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.meta.uid.to_le_bytes());
        bytes.extend(self.meta.gid.to_le_bytes());
        bytes.extend(self.meta.mtime.0.to_le_bytes());
        bytes.extend(self.meta.mtime.1.to_le_bytes());
        bytes.extend(self.links.to_le_bytes());
        bytes.resize(INODE_LEN, 0);
        bytes.extend(xattrs);
        bytes
    }
}

/// A superblock.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) uuid: [u8; 16],
    pub(super) chunked: bool,
}

impl Superblock {
    /// Puts it into the first block, which holds everything else already.
    pub(super) fn put(&self, block: &mut [u8; BLOCK_LEN]) {
        let mut bytes = Vec::with_capacity(SUPERBLOCK_LEN);
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend((COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes());
        bytes.extend([BLOCK_BITS, 0]);
        let root = u16::try_from(ROOT_OFFSET as u64 / SLOT).expect("in the first block");
        bytes.extend(root.to_le_bytes());
        bytes.extend(self.inodes.to_le_bytes());
        // Made in 1970: the same layer is always the same image.
        bytes.extend([0; 12]);
        bytes.extend(self.blocks.to_le_bytes());
        // Inodes are counted from the start of the image; no shared attributes.
        bytes.extend([0; 8]);
        bytes.extend(self.uuid);
        bytes.extend([0; 16]);
        bytes.extend(if self.chunked { INCOMPAT_CHUNKED } else { 0 }.to_le_bytes());
        bytes.resize(SUPERBLOCK_LEN, 0);
        block[SUPERBLOCK_OFFSET..ROOT_OFFSET].copy_from_slice(&bytes);
        let check = crate::crc::update(
            &crate::crc::CASTAGNOLI,
            u32::MAX,
            &block[SUPERBLOCK_OFFSET..],
        );
        block[SUPERBLOCK_OFFSET + 4..SUPERBLOCK_OFFSET + 8].copy_from_slice(&check.to_le_bytes());
    }
}

/// A device number as Linux writes it to disks (`new_encode_dev`); `None` beyond 12 and 20 bits.
pub(crate) fn device_number(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20)
        .then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}
