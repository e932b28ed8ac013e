//! A guest's archive for `cp`: whatever is in it, nothing changes outside of the directory that it is
//! unpacked in.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use crate::containers::copy;
use coracle_platform::fuzzing::Input;

/// Bytes of a header, and of the blocks that contents are padded to.
const BLOCK: usize = 512;

/// Places in a header (POSIX.1-2017, ustar): offset and length.
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 7);
const SIZE: (usize, usize) = (124, 11);
const MTIME: (usize, usize) = (136, 11);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);

/// Types of entries: files, links, devices, directories, pipes, and those of extensions.
const TYPES: &[u8] = b"012345625LKxg7\0";

/// Parts of paths: a few, so that entries meet each other.
const PARTS: [&str; 8] = ["a", "b", "link", "..", ".", "", "outside", "a/b"];

/// What stands in the file that nothing may reach.
const KEPT: &str = "kept";

/// Unpacks an archive that is made of the input, or is the input.
///
/// # Panics
/// When something outside has changed.
pub fn unpack(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else {
        return;
    };
    let scene = tempfile::tempdir().expect("a temporary directory can be made");
    let outside = scene.path().join("outside");
    let inside = scene.path().join("inside");
    for directory in [&outside, &inside] {
        fs::create_dir(directory).expect("a directory can be made");
    }
    let kept = outside.join("kept");
    fs::write(&kept, KEPT).expect("a file can be written");
    // What a user's own directory may hold.
    std::os::unix::fs::symlink(&outside, inside.join("link")).expect("a link can be made");
    let before = state(&outside);
    let archive = if how & 1 == 0 {
        made(rest, &outside)
    } else {
        rest.to_vec()
    };
    let name = (how & 2 == 0).then_some("a");
    let _ = copy::unpack(&archive[..], &inside, name, how & 4 == 0);
    assert_eq!(state(&outside), before);
    let entries = fs::read_dir(scene.path()).expect("a directory can be read");
    assert_eq!(entries.count(), 2, "something is beside the directory");
}

/// All that is known of the directory that nothing may reach.
fn state(outside: &Path) -> (usize, String, u64, u32, i64) {
    let kept = outside.join("kept");
    let metadata = fs::metadata(&kept).expect("the file is there");
    let entries = fs::read_dir(outside).expect("a directory can be read");
    (
        entries.count(),
        fs::read_to_string(&kept).expect("a file can be read"),
        metadata.nlink(),
        metadata.permissions().mode(),
        metadata.mtime(),
    )
}

/// An archive of entries that a fuzzer chooses; those with bytes of its own may be no entries at all.
fn made(bytes: &[u8], outside: &Path) -> Vec<u8> {
    let mut input = Input::new(bytes);
    let mut archive = Vec::new();
    while let Some(entry) = entry(&mut input, outside) {
        archive.extend(entry);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn entry(input: &mut Input, outside: &Path) -> Option<Vec<u8>> {
    let kind = *TYPES.get(input.below(TYPES.len())?)?;
    let name = path(input, outside)?;
    let link = path(input, outside)?;
    let mode = u32::from(input.byte()?) << 4;
    let length = input.below(64)?;
    let content = input.piece(length);
    let mut header = vec![0; BLOCK];
    put(&mut header, NAME, name.as_bytes());
    put(&mut header, LINK, link.as_bytes());
    put(&mut header, MAGIC, b"ustar\x0000");
    put(&mut header, MODE, format!("{mode:07o}").as_bytes());
    put(
        &mut header,
        SIZE,
        format!("{:011o}", content.len()).as_bytes(),
    );
    put(&mut header, MTIME, b"00000000001");
    put(&mut header, CHECKSUM, b"        ");
    if let Some(place) = header.get_mut(TYPE) {
        *place = kind;
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut header, CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(&content);
    header.resize(header.len().next_multiple_of(BLOCK), 0);
    Some(header)
}

fn path(input: &mut Input, outside: &Path) -> Option<String> {
    let how = input.byte()?;
    if how % 16 == 0 {
        return Some(format!("{}/kept", outside.display()));
    }
    let mut parts = Vec::new();
    for _ in 0..=how % 4 {
        parts.push(*PARTS.get(input.below(PARTS.len())?)?);
    }
    Some(parts.join("/"))
}

fn put(header: &mut [u8], (offset, length): (usize, usize), bytes: &[u8]) {
    let field = header.iter_mut().skip(offset).take(length);
    for (place, byte) in field.zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_stands_noise() {
        coracle_platform::fuzzing::with_noise(unpack);
    }

    /// The harness would see it: what it makes are archives.
    #[test]
    fn archives_are_what_a_reader_understands() {
        let directory = tempfile::tempdir().unwrap();
        let outside = Path::new("/outside");
        // A file, "b" below the root, mode, and seven bytes.
        let archive = made(b"\0\x01\0\x01\x01\0\x01\x07content", outside);
        copy::unpack(&archive[..], directory.path(), Some("a"), false).unwrap();
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
