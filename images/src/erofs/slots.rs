//! Where inodes go: into blocks that are reserved among the file data, each inode with the tail of
//! its file's data in one block.

use super::format::{BLOCK, BLOCK_LEN, SLOT};

/// Blocks of the first reservation, so that a small layer stays small.
const FIRST_BLOCKS: usize = 2;
/// Blocks of the largest reservation. More would pack tails a little better, and make the search
/// for a place longer.
const MAX_BLOCKS: usize = 32;

/// The blocks of one reservation.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// Offset of the first block.
    pub(super) start: u64,
    /// Bytes used in each block.
    used: Vec<usize>,
    /// Blocks of the next reservation.
    next: usize,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            start: 0,
            used: Vec::new(),
            next: FIRST_BLOCKS,
        }
    }

    /// Offset of `length` bytes, at most a block, in the fullest block that has room for them.
    pub(super) fn take(&mut self, length: usize) -> Option<u64> {
        let (index, used) = self
            .used
            .iter()
            .enumerate()
            .filter(|(_, used)| **used + length <= BLOCK_LEN)
            .max_by_key(|(index, used)| (**used, std::cmp::Reverse(*index)))?;
        let offset = self.start + index as u64 * BLOCK + *used as u64;
        let unit = usize::try_from(SLOT).expect("small");
        self.used[index] = (*used + length).next_multiple_of(unit);
        Some(offset)
    }

    /// Goes on to a new reservation at `start`; the result is its length in bytes.
    pub(super) fn reserve(&mut self, start: u64) -> u64 {
        self.start = start;
        self.used = vec![0; self.next];
        self.next = (self.next * 2).min(MAX_BLOCKS);
        self.len()
    }

    /// Bytes of the reservation.
    pub(super) fn len(&self) -> u64 {
        self.used.len() as u64 * BLOCK
    }
}
