//! Directories: blocks of sorted entries, each block with its names behind its entries.

use super::format::{BLOCK, BLOCK_LEN, DIRENT_LEN, file_type};

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectoryEntry<'a> {
    /// Its name.
    pub(crate) name: &'a [u8],
    /// Number of its inode.
    pub(crate) inode: u64,
    /// Mode of its inode.
    pub(crate) mode: u16,
}

/// The entries of each block of a directory. They are sorted by name, `.` and `..` among them.
pub(super) fn blocks<'a, 'b>(
    mut entries: &'a [DirectoryEntry<'b>],
) -> impl Iterator<Item = &'a [DirectoryEntry<'b>]> {
    std::iter::from_fn(move || {
        let mut used = 0;
        let fitting = entries.iter().take_while(|entry| {
            used += DIRENT_LEN + entry.name.len();
            used <= BLOCK_LEN
        });
        let (block, rest) = entries.split_at(fitting.count());
        entries = rest;
        (!block.is_empty()).then_some(block)
    })
}

/// Number of whole blocks, and bytes of the last one; together the size of a directory.
pub(super) fn measure(entries: &[DirectoryEntry<'_>]) -> (u64, usize) {
    blocks(entries).fold((0, 0), |(whole, last), block| {
        let length = block
            .iter()
            .map(|entry| DIRENT_LEN + entry.name.len())
            .sum();
        (whole + u64::from(last > 0), length)
    })
}

/// Size of a directory in bytes.
pub(super) fn size(entries: &[DirectoryEntry<'_>]) -> u64 {
    let (whole, last) = measure(entries);
    whole * BLOCK + last as u64
}

/// The bytes of a block, without what fills it up.
pub(super) fn encode(entries: &[DirectoryEntry<'_>]) -> Vec<u8> {
    let mut content = Vec::with_capacity(BLOCK_LEN);
    let mut name_offset = entries.len() * DIRENT_LEN;
    for entry in entries {
        content.extend(entry.inode.to_le_bytes());
        content.extend(
            u16::try_from(name_offset)
                .expect("within a block")
                .to_le_bytes(),
        );
        content.extend([file_type::of_entry(entry.mode), 0]);
        name_offset += entry.name.len();
    }
    for entry in entries {
        content.extend(entry.name);
    }
    content
}
