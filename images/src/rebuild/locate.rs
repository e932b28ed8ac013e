//! Where in a file system image the content of each file is. The image is one of ours: blocks of
//! 4 KiB, extended inodes, no compression (Linux, `fs/erofs/erofs_fs.h`).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use flate2::Crc;

use super::steps::Content;

const BLOCK: u64 = 4096;
const BLOCK_LEN: usize = 4096;
const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const SLOT: u64 = 32;
const INODE: usize = 64;
const DIRENT: usize = 12;
const REGULAR: u8 = 1;
const DIRECTORY: u8 = 2;
const PLAIN: u16 = 0;
const INLINE: u16 = 2;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Runs of bytes of an image.
pub(super) type Runs = Vec<(u64, u64)>;

/// The inodes that have the content of regular files without holes.
pub(super) fn contents(image: &File) -> io::Result<HashMap<Content, u64>> {
    let mut head = [0; 16];
    image.read_exact_at(&mut head, SUPERBLOCK)?;
    if u32_at(&head, 0) != Some(MAGIC) {
        return Err(io::Error::other("not an EROFS image"));
    }
    let root = u64::from(u16_at(&head, 14).unwrap_or(0));
    let mut found = HashMap::new();
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![root];
    let mut buffer = vec![0; CHUNK];
    while let Some(number) = waiting.pop() {
        let Some(runs) = inode(image, number)? else {
            continue;
        };
        let length = runs.iter().map(|(_, length)| length).sum::<u64>();
        let mut entries = Vec::with_capacity(usize::try_from(length).unwrap_or(0).min(CHUNK));
        for (offset, length) in runs {
            let start = entries.len();
            entries.resize(
                start + usize::try_from(length).map_err(io::Error::other)?,
                0,
            );
            image.read_exact_at(entries.get_mut(start..).unwrap_or_default(), offset)?;
        }
        for (child, kind) in entries.chunks(BLOCK_LEN).flat_map(names) {
            if !seen.insert(child) {
                continue;
            }
            match kind {
                DIRECTORY => waiting.push(child),
                REGULAR => {
                    if let Some(runs) = inode(image, child)? {
                        found.insert(content(image, &runs, &mut buffer)?, child);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Where the data of a file is of which [`contents`] knows.
pub(super) fn runs(image: &File, number: u64) -> io::Result<Runs> {
    Ok(inode(image, number)?.unwrap_or_default())
}

/// Where the data of an inode is; `None` where it is in chunks.
fn inode(image: &File, number: u64) -> io::Result<Option<Runs>> {
    let at = number * SLOT;
    let mut bytes = [0; INODE];
    image.read_exact_at(&mut bytes, at)?;
    let layout = u16_at(&bytes, 0).unwrap_or(0) >> 1 & 7;
    let xattrs = u64::from(u16_at(&bytes, 2).unwrap_or(0));
    let size = u64_at(&bytes, 8).unwrap_or(0);
    let first = u64::from(u32_at(&bytes, 16).unwrap_or(0)) * BLOCK;
    let tail = size % BLOCK;
    let runs = match layout {
        PLAIN => vec![(first, size)],
        INLINE => {
            // A header of 12 bytes and units of 4 bytes, of which the first is in the header.
            let xattrs = if xattrs == 0 {
                0
            } else {
                12 + 4 * (xattrs - 1)
            };
            vec![(first, size - tail), (at + INODE as u64 + xattrs, tail)]
        }
        _ => return Ok(None),
    };
    Ok(Some(
        runs.into_iter().filter(|(_, length)| *length > 0).collect(),
    ))
}

/// Numbers and types in a block of a directory.
fn names(block: &[u8]) -> Vec<(u64, u8)> {
    // The first name's offset says how many entries there are.
    let count = u16_at(block, 8).map_or(0, |offset| usize::from(offset) / DIRENT);
    let entry = |index: usize| {
        let entry = block.get(index * DIRENT..(index + 1) * DIRENT)?;
        Some((u64_at(entry, 0)?, *entry.get(10)?))
    };
    (0..count).map_while(entry).collect()
}

fn content(image: &File, runs: &Runs, buffer: &mut [u8]) -> io::Result<Content> {
    let mut crc = Crc::new();
    let mut size = 0;
    for (offset, length) in runs {
        let mut done = 0;
        while done < *length {
            let room = usize::try_from(length - done)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let chunk = buffer.get_mut(..room).unwrap_or_default();
            image.read_exact_at(chunk, offset + done)?;
            crc.update(chunk);
            done += room as u64;
        }
        size += length;
    }
    Ok(Content {
        size,
        crc: crc.sum(),
    })
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
