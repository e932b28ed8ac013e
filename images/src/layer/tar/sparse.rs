//! Files with holes: GNU's old format. Its formats for extended headers are in `pax`.

use super::header::{Block, number};
use crate::layer::limits::MAX_SPARSE_RUNS;

/// A run of data: its offset in the file and its length, in bytes.
pub(crate) type Run = (u64, u64);

/// Bytes of one entry of a map: two numbers of 12 bytes.
const ENTRY: usize = 24;
/// Where the map is in a header, and how many entries it has there.
const IN_HEADER: (usize, usize) = (386, 4);
/// Where it says in a header that blocks with more follow.
const HEADER_MORE: usize = 482;
/// Real size of the file in a header.
const REAL_SIZE: usize = 483;
/// Entries of a block that follows, and where it says that one more follows.
const IN_BLOCK: (usize, usize) = (0, 21);
const BLOCK_MORE: usize = 504;

/// What a file with holes is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// Size with its holes, in bytes.
    pub(crate) size: u64,
    /// Where there is data, ascending, none empty.
    pub(crate) runs: Vec<Run>,
}

/// Adds a run behind the others. Empty ones only say where a file ends.
pub(super) fn push(runs: &mut Vec<Run>, offset: u64, length: u64) -> Option<()> {
    let last = runs.last().map_or(0, |(offset, length)| offset + length);
    if offset < last || offset.checked_add(length)? > i64::MAX.cast_unsigned() {
        return None;
    }
    if length > 0 {
        if runs.len() >= MAX_SPARSE_RUNS {
            return None;
        }
        runs.push((offset, length));
    }
    Some(())
}

impl Sparse {
    /// `None` when runs lie beyond the end or are not as long as the data in the archive.
    pub(super) fn new(size: u64, runs: Vec<Run>, stored: u64) -> Option<Self> {
        let end = runs.last().map_or(0, |(offset, length)| offset + length);
        let data = runs
            .iter()
            .try_fold(0u64, |sum, (_, length)| sum.checked_add(*length))?;
        (end <= size && data == stored).then_some(Self { size, runs })
    }
}

/// Adds the map of a GNU header; the result is the real size and whether more blocks follow.
pub(super) fn header_map(block: &Block, runs: &mut Vec<Run>) -> Option<(u64, bool)> {
    map(block, IN_HEADER, runs)?;
    let size = number(&block[REAL_SIZE..REAL_SIZE + 12])?;
    Some((u64::try_from(size).ok()?, block[HEADER_MORE] != 0))
}

/// Adds the map of a block that follows a GNU header; the result is whether one more follows.
pub(super) fn block_map(block: &Block, runs: &mut Vec<Run>) -> Option<bool> {
    map(block, IN_BLOCK, runs)?;
    Some(block[BLOCK_MORE] != 0)
}

fn map(block: &Block, (start, count): (usize, usize), runs: &mut Vec<Run>) -> Option<()> {
    for entry in block[start..].chunks_exact(ENTRY).take(count) {
        // An empty entry ends the map.
        if entry[0] == 0 {
            break;
        }
        let offset = u64::try_from(number(&entry[..12])?).ok()?;
        let length = u64::try_from(number(&entry[12..])?).ok()?;
        push(runs, offset, length)?;
    }
    Some(())
}
