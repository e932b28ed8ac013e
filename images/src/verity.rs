//! A tree of hashes over a file, as dm-verity makes it (Linux,
//! `Documentation/admin-guide/device-mapper/verity.rst`, version 1, SHA-256, no salt): whoever
//! knows the root can tell a changed block from its own one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Bytes of a block of data and of hashes.
const BLOCK: usize = 4096;
/// Bytes of a hash.
const HASH: usize = 32;
/// Blocks read at once.
const READ: usize = 256;
/// Blocks from which a file is worth a second thread.
const WORTH_A_THREAD: u64 = 1024;
/// Most threads: several layers are hashed at once.
const MAX_THREADS: usize = 4;

/// A tree of hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The hash at its top: whoever knows it can check all below.
    pub(crate) root: Digest,
    /// Its other hashes, whole blocks, the level below the root first: as the kernel expects them
    /// behind the data.
    pub(crate) bytes: Vec<u8>,
}

/// The tree over the first `length` bytes of a file, whose last block is filled up with zeros. That of
/// nothing is the hash of an empty block.
///
/// # Errors
/// Those of reading the file, and of a file that is shorter.
pub(crate) fn tree(file: &File, length: u64) -> io::Result<Tree> {
    let mut level = hash_blocks(file, length, blocks(length))?;
    let mut levels = Vec::new();
    while level.len() > HASH {
        level.resize(level.len().next_multiple_of(BLOCK), 0);
        let next = level
            .chunks(BLOCK)
            .flat_map(|block| hash(block).into_iter())
            .collect();
        levels.push(std::mem::replace(&mut level, next));
    }
    levels.reverse();
    let mut root = [0; HASH];
    root.copy_from_slice(&level);
    Ok(Tree {
        root: Digest::from_sha256(root),
        bytes: levels.concat(),
    })
}

/// Blocks that so many bytes fill, at least one.
pub(crate) fn blocks(length: u64) -> u64 {
    length.div_ceil(BLOCK as u64).max(1)
}

/// Where a file's tree stands in it: behind its data, at the next whole block.
pub(crate) fn place(data: u64) -> u64 {
    blocks(data) * BLOCK as u64
}

/// Writes a file's tree behind its data, which is all that is in it.
///
/// # Errors
/// Those of writing.
pub(crate) fn append(file: &File, tree: &Tree, data: u64) -> io::Result<()> {
    file.write_all_at(&tree.bytes, place(data))
}

/// Whether a file has the data of this root hash in its first `data` bytes, its tree behind them, and
/// nothing else. Without `data` it has no tree.
///
/// # Errors
/// Those of reading it.
pub(crate) fn check(file: &File, root: &Digest, data: Option<u64>) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let actual = tree(file, data.unwrap_or(length))?;
    let Some(data) = data else {
        return Ok(actual.root == *root);
    };
    if actual.root != *root || length != place(data) + actual.bytes.len() as u64 {
        return Ok(false);
    }
    let mut stored = vec![0; actual.bytes.len()];
    file.read_exact_at(&mut stored, place(data))?;
    Ok(stored == actual.bytes)
}

/// The hashes of all blocks, one after the other.
fn hash_blocks(file: &File, length: u64, blocks: u64) -> io::Result<Vec<u8>> {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_THREADS);
    let threads = if blocks < WORTH_A_THREAD {
        1
    } else {
        threads as u64
    };
    let share = blocks.div_ceil(threads);
    let part = |number: u64| {
        hash_range(
            file,
            length,
            number * share,
            blocks.min((number + 1) * share),
        )
    };
    if threads == 1 {
        return part(0);
    }
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || part(number)))
            .collect();
        let mut hashes = Vec::new();
        for worker in workers {
            hashes.extend(worker.join().expect("the thread does not panic")?);
        }
        Ok(hashes)
    })
}

fn hash_range(file: &File, length: u64, first: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut hashes = Vec::new();
    let mut buffer = vec![0; READ * BLOCK];
    let mut at = first * BLOCK as u64;
    let end = end * BLOCK as u64;
    while at < end {
        let room = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let filled = usize::try_from(length.saturating_sub(at))
            .unwrap_or(usize::MAX)
            .min(room);
        let chunk = &mut buffer[..room];
        let (data, rest) = chunk.split_at_mut(filled);
        file.read_exact_at(data, at)?;
        rest.fill(0);
        for block in chunk.chunks(BLOCK) {
            hashes.extend(hash(block));
        }
        at += room as u64;
    }
    Ok(hashes)
}

/// Hash of a block, which is filled up with zeros.
fn hash(block: &[u8]) -> [u8; HASH] {
    let mut hasher = Sha256::new();
    hasher.update(block);
    hasher.update(&[0; BLOCK][block.len()..]);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    /// What dm-verity's own tool says: root and tree. Needs the Debian package cryptsetup-bin.
    fn veritysetup(path: &std::path::Path) -> (String, Vec<u8>) {
        let tree = path.with_extension("tree");
        let output = Command::new("veritysetup")
            .args(["format", "--no-superblock", "--salt=-", "--hash=sha256"])
            .args([path, &tree])
            .output()
            .expect("veritysetup is installed (apt-get install cryptsetup-bin)");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Root hash:"));
        let root = format!("sha256:{}", line.unwrap().trim());
        (root, std::fs::read(tree).unwrap_or_default())
    }

    #[test]
    fn tree_is_that_of_the_usual_tool() {
        let directory = tempfile::tempdir().unwrap();
        // One block, one block of hashes, just more than one, and two levels with threads.
        for blocks in [1, 2, 128, 129, 1025, 128 * 128 + 1] {
            let path = directory.path().join(blocks.to_string());
            let mut file = File::create(&path).unwrap();
            for number in 0..blocks {
                let word = u32::try_from(number).unwrap().to_le_bytes();
                file.write_all(&word.repeat(BLOCK / word.len())).unwrap();
            }
            let file = File::open(&path).unwrap();
            let made = tree(&file, file.metadata().unwrap().len()).unwrap();
            let usual = veritysetup(&path);
            assert_eq!(made.root.to_string(), usual.0, "{blocks}");
            assert!(made.bytes == usual.1, "{blocks}");
        }
    }

    #[test]
    fn every_bit_of_data_and_tree_counts() {
        let mut file = tempfile::tempfile().unwrap();
        let data = 3 * BLOCK as u64 + 1;
        file.write_all(&vec![0; usize::try_from(data).unwrap()])
            .unwrap();
        let made = tree(&file, data).unwrap();
        append(&file, &made, data).unwrap();
        let is_whole = || check(&file, &made.root, Some(data)).unwrap();
        assert!(is_whole());
        for place in [data - 1, place(data) + 5] {
            file.write_all_at(&[1], place).unwrap();
            assert!(!is_whole(), "{place}");
            file.write_all_at(&[made.bytes[5] * u8::from(place > data)], place)
                .unwrap();
            assert!(is_whole(), "{place}");
        }
        file.set_len(file.metadata().unwrap().len() + 1).unwrap();
        assert!(!is_whole());
    }
}
