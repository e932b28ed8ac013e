//! Disks of containers: what a container writes, as a file with an ext4 file system.
//!
//! They lie in a directory of their own, `disks/<id>.ext4`, which is all that a software host may write to. A disk
//! is made before its container appears, and removed after it is gone, both while the lock of all containers is
//! held: then a disk whose container is missing is nobody's.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use mkext4::{FsBuilder, Options, RegionSink};

use super::{create_directory, private};
use coracle_platform::clock;
use coracle_platform::size;

mod quota;

/// Name of the directory in the user's data.
const DIRECTORY: &str = "disks";

/// Extension of a disk.
const EXTENSION: &str = "ext4";

/// Least bytes of a disk: a journal of 4 MiB may be a quarter of it.
pub const MIN_SIZE: u64 = 16 << 20;

/// Most bytes: each 128 MiB have 8 KiB of bitmaps, which are written at once and take space from the start, 64 MiB
/// for a disk of this size.
pub const MAX_SIZE: u64 = 1 << 40;

/// A disk's size is a multiple of this: a block.
const BLOCK: u64 = 4096;

/// The directory of all disks.
pub fn directory(data: &Path) -> PathBuf {
    data.join(DIRECTORY)
}

/// The disk of a container.
pub fn path(data: &Path, id: &str) -> PathBuf {
    directory(data).join(id).with_extension(EXTENSION)
}

/// What stands before a named host's name in that of its disk, which no identifier begins with.
const OF_HOST: &str = "host-";

/// The disk of a named host.
pub fn path_of_host(data: &Path, name: &str) -> PathBuf {
    directory(data).join(format!("{OF_HOST}{name}.{EXTENSION}"))
}

/// The size that a disk gets when this much is asked for.
///
/// # Errors
/// When it is too small or too large.
pub fn size(bytes: u64) -> Result<u64> {
    if !(MIN_SIZE..=MAX_SIZE).contains(&bytes) {
        bail!(
            "invalid size of a writable layer: {}; must be {} to {}",
            size::binary(bytes),
            size::binary(MIN_SIZE),
            size::binary(MAX_SIZE)
        );
    }
    Ok(bytes.next_multiple_of(BLOCK))
}

/// Makes a container's disk; its unused space takes none here.
///
/// # Errors
/// When there is no space for its first blocks, or no file of this size can be.
pub(super) fn create(data: &Path, id: &str, size: u64) -> Result<()> {
    create_directory(&directory(data))?;
    make(&path(data, id), id, size, Use::One)
}

/// Makes a named host's disk, in place of what an earlier one left there. Each of its containers can have a limit
/// there.
///
/// # Errors
/// As `create`.
pub fn create_for_host(data: &Path, (name, id): (&str, &str), size: u64) -> Result<()> {
    create_directory(&directory(data))?;
    remove_of_host(data, name);
    make(&path_of_host(data, name), id, size, Use::Many)
}

/// Removes a named host's disk, if it has one.
pub fn remove_of_host(data: &Path, name: &str) {
    // What cannot be removed is swept away when the host is gone.
    let _ = fs::remove_file(path_of_host(data, name));
}

/// How many containers write to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// One, which may fill it.
    One,
    /// Many, each of which has a limit of its own.
    Many,
}

fn make(path: &Path, id: &str, size: u64, usage: Use) -> Result<()> {
    let made = format(path, id, size, usage);
    if made.is_err() {
        // What is left of it would be swept away by the next one.
        let _ = fs::remove_file(path);
    }
    made.with_context(|| format!("cannot make the writable layer {}", path.display()))
}

fn format(path: &Path, id: &str, size: u64, usage: Use) -> Result<()> {
    let file = private::options().write(true).create_new(true).open(path)?;
    file.set_len(size)?;
    let epoch = i64::try_from(clock::wall() / clock::SECOND)?;
    let uuid = uuid(id);
    let mut options = Options::new(size, uuid, epoch);
    // Only the container's root writes there, for whom space would be reserved.
    options.reserved_percent = 0;
    let mut builder = FsBuilder::new(options)?;
    let sink = Sparse { file };
    match usage {
        Use::One => {
            builder.seal()?.writer(sink)?.finish()?;
        }
        Use::Many => {
            let file = quota::declare(&mut builder, epoch)?;
            let layout = builder.seal()?;
            let mut writer = layout.writer(quota::Corrected { sink, uuid })?;
            writer.fill(file, &mut &*quota::file())?;
            writer.finish()?;
        }
    }
    Ok(())
}

/// The first half of an identifier, which is random, as bytes.
fn uuid(id: &str) -> [u8; 16] {
    let mut uuid = [0; 16];
    let digits = id.as_bytes().chunks(2);
    for (byte, pair) in uuid.iter_mut().zip(digits) {
        let text = str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(text, 16).unwrap_or_default();
    }
    uuid
}

/// A file that is all zeros, and stays so where it is.
struct Sparse {
    file: File,
}

impl RegionSink for Sparse {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn zeros(&mut self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Who writes to a disk.
pub(super) enum Owner<'a> {
    /// The container of this identifier.
    Container(&'a str),
    /// The host of this name.
    Host(&'a str),
}

/// Removes the disks whose owner is gone; the lock of all containers is held.
pub(super) fn sweep(data: &Path, exists: impl Fn(Owner<'_>) -> bool) {
    let exists = |stem: &str| match stem.strip_prefix(OF_HOST) {
        Some(name) => exists(Owner::Host(name)),
        None => exists(Owner::Container(stem)),
    };
    let Ok(entries) = fs::read_dir(directory(data)) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let id = path.file_stem().and_then(|stem| stem.to_str());
        if !id.is_some_and(exists) {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::MetadataExt, process::Command};

    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn disk_of_any_size_is_sound_and_takes_little_space() {
        let data = tempfile::tempdir().unwrap();
        let sizes = [MIN_SIZE, 100 << 20, 10 << 30, 1 << 36];
        let uses = [Use::One, Use::Many];
        for (size, usage) in uses
            .into_iter()
            .flat_map(|usage| sizes.map(|size| (size, usage)))
        {
            create_directory(&directory(data.path())).unwrap();
            let path = path(data.path(), ID);
            make(&path, ID, size, usage).unwrap();
            let checked = Command::new("/sbin/e2fsck").arg("-fn").arg(&path).output();
            let checked = checked.expect("e2fsck is installed (apt-get install e2fsprogs)");
            let words = String::from_utf8_lossy(&checked.stdout);
            assert!(checked.status.success(), "{size}: {words}");
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.len(), size);
            assert!(
                metadata.blocks() * 512 <= 1 << 20 | size >> 13,
                "{}",
                metadata.blocks()
            );
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn size_out_of_range_is_refused() {
        assert_eq!(size(MIN_SIZE + 1).unwrap(), MIN_SIZE + BLOCK);
        assert!(size(MIN_SIZE - 1).is_err());
        assert!(size(MAX_SIZE + 1).is_err());
    }

    #[test]
    fn disk_without_a_container_is_swept_away() {
        let data = tempfile::tempdir().unwrap();
        for id in ["kept", "lost"] {
            create(data.path(), id, MIN_SIZE).unwrap();
        }
        sweep(data.path(), |owner| {
            matches!(owner, Owner::Container("kept"))
        });
        assert!(path(data.path(), "kept").exists());
        assert!(!path(data.path(), "lost").exists());
    }
}
