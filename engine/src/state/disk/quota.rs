//! Quotas of projects on a disk that containers share, as the guest's kernel wants to find them: two features in
//! the superblocks, and a file that nobody sees, whose inode the superblock names.
//!
//! The file is a tree in blocks of 1 KiB by the projects' numbers (`vfsv1`, linux/fs/quota/quota_tree.h and
//! quotaio_v2.h): four levels of 256 references, and a block of records. It begins with one record, of what
//! is there from the beginning and belongs to no project; the kernel adds the others.

use std::{borrow::Cow, io};

use mkext4::{
    FsBuilder, InodeHandle, Meta, ROOT, RegionSink, csum,
    spec::{BLOCK_SIZE, BLOCKS_PER_GROUP, Superblock},
};

/// Name of the file until its name is taken away.
const NAME: &str = "quota";

/// Number of the first inode that is given out, after those of the file system itself.
const INODE: u32 = 12;

/// Bytes of a block of the file.
const BLOCK: usize = 1024;

/// Blocks of the file: its head, four of references, and one of records.
const BLOCKS: u8 = 6;

/// Bytes of the file.
const SIZE: u64 = BLOCK as u64 * BLOCKS as u64;

/// What a file of project quotas begins with, and its version.
const MAGIC: u32 = 0xd9c0_3f14;
const VERSION: u32 = 1;

/// Seconds for which a soft limit may be exceeded, a week as anywhere; nobody has one.
const GRACE: u32 = 7 * 24 * 60 * 60;

/// Inodes and bytes of the empty file system: the root directory, and `lost+found`, of four blocks.
const INODES: u64 = 2;
const BYTES: u64 = 5 * BLOCK_SIZE as u64;

/// `EXT4_FEATURE_RO_COMPAT_QUOTA` and `_PROJECT`.
const FEATURES: u32 = 0x100 | 0x2000;

/// Where the superblock has its magic number, the features, the inode of the file and the checksum.
const AT_MAGIC: usize = 0x38;
const AT_FEATURES: usize = 0x64;
const AT_INODE: usize = 0x26c;
const AT_CHECKSUM: usize = 0x3fc;

/// `s_magic`.
const EXT4: [u8; 2] = [0x53, 0xef];

/// Number of the root directory's inode, and what its block begins with: itself, by the name `.`.
const ROOT_INODE: u32 = 2;
const ROOT_DIRECTORY: [u8; 9] = [2, 0, 0, 0, 12, 0, 1, 2, b'.'];

/// Bytes of a directory's block after its last name, which end with its checksum.
const DIRECTORY_TAIL: usize = 12;

/// Adds the file, which has to be the first one.
pub(super) fn declare(builder: &mut FsBuilder, epoch: i64) -> mkext4::Result<InodeHandle> {
    builder.file(ROOT, NAME, Meta::new(0o600, 0, 0, (epoch, 0)), SIZE)
}

/// What the file begins with.
pub(super) fn file() -> Vec<u8> {
    let records = u32::from(BLOCKS) - 1;
    // Magic, version; graces, flags, number of blocks, first free block, first block with free records.
    let head = [
        MAGIC,
        VERSION,
        GRACE,
        GRACE,
        0,
        u32::from(BLOCKS),
        0,
        records,
    ];
    let mut file = head.map(u32::to_le_bytes).concat();
    // The way to project 0.
    for next in 2..=records {
        file.resize(file.len().next_multiple_of(BLOCK), 0);
        file.extend(next.to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    // How many records there are, after the list of blocks with free ones; then the first.
    file.extend([0, 0, 1, 0].map(u32::to_le_bytes).concat());
    file.extend(
        [0, 0, 0, INODES, 0, 0, BYTES, 0, 0]
            .map(u64::to_le_bytes)
            .concat(),
    );
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    file
}

/// Writes what a builder makes of a file system with that file, but for the superblocks, which say what they have,
/// and the root directory, in which the file has no name.
pub(super) struct Corrected<S> {
    pub(super) sink: S,
    pub(super) uuid: [u8; 16],
}

impl<S: RegionSink> RegionSink for Corrected<S> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // The first one lies behind the boot sector; its copies begin their groups.
        let group = BLOCK_SIZE as u64 * u64::from(BLOCKS_PER_GROUP);
        let at = if offset == 0 { Superblock::LEN } else { 0 };
        let magic = bytes.get(at + AT_MAGIC..at + AT_MAGIC + EXT4.len());
        let mut bytes = Cow::Borrowed(bytes);
        if offset.is_multiple_of(group) && magic == Some(&EXT4) {
            describe(&mut bytes.to_mut()[at..]);
        } else if bytes.starts_with(&ROOT_DIRECTORY) {
            hide(bytes.to_mut(), &self.uuid);
        }
        self.sink.data(offset, &bytes)
    }

    fn zeros(&mut self, offset: u64, length: u64) -> io::Result<()> {
        self.sink.zeros(offset, length)
    }
}

/// Says in a superblock what it has.
fn describe(superblock: &mut [u8]) {
    put(
        superblock,
        AT_FEATURES,
        get(superblock, AT_FEATURES) | FEATURES,
    );
    put(superblock, AT_INODE, INODE);
    let superblock = &mut superblock[..Superblock::LEN];
    let checksum = csum::superblock(superblock);
    put(superblock, AT_CHECKSUM, checksum);
}

/// Takes the last name away from the block of the root directory: the one before it lasts until the block's tail.
fn hide(block: &mut [u8], uuid: &[u8; 16]) {
    let end = block.len() - DIRECTORY_TAIL;
    let length =
        |block: &[u8], at: usize| usize::from(u16::from_le_bytes([block[at + 4], block[at + 5]]));
    let (mut before, mut last) = (0, 0);
    while last + length(block, last) < end {
        (before, last) = (last, last + length(block, last));
    }
    block[last..end].fill(0);
    let lasts = u16::try_from(end - before).expect("a block has 4096 bytes");
    block[before + 4..before + 6].copy_from_slice(&lasts.to_le_bytes());
    let seed = csum::inode_seed(csum::fs_seed(uuid), ROOT_INODE, 0);
    let checksum = csum::dirent_block(seed, block);
    put(block, end + DIRECTORY_TAIL - 4, checksum);
}

fn get(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
