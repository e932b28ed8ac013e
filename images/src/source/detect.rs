//! Which kind of source an input is, by its content.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};

use super::docker_archive::{self, DockerArchive};
use super::files::{Files, MAX_ENTRIES, Scan};
use super::oci_layout::{self, OciLayout};
use super::rootfs::{RootfsDirectory, RootfsTar};
use super::spool::{compression_of, spool};
use super::{Source, SourceError};
use crate::layer::Compression;

/// Size of a block of a tar archive.
const TAR_BLOCK: usize = 512;
/// Where the word `ustar` stands in a tar header (POSIX.1-2017 pax, "ustar Interchange Format").
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// Opens what a path names. See [`super::open`].
///
/// # Errors
/// [`SourceError`].
pub fn open_path(path: &Path, scratch: &Path) -> Result<Box<dyn Source>, SourceError> {
    let origin = path.display().to_string();
    // A path on the command line is the user's own; its symbolic links are followed.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let descriptor =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| SourceError::Open {
            origin: origin.clone(),
            source: error.into(),
        })?;
    let file = File::from(descriptor);
    let metadata = file.metadata().map_err(|source| SourceError::Open {
        origin: origin.clone(),
        source,
    })?;
    if metadata.is_dir() {
        return open_directory(origin, file.into());
    }
    open_file(file, origin, scratch)
}

/// Opens an open file, pipe or socket. See [`super::open`].
///
/// # Errors
/// [`SourceError`].
pub fn open_stream(file: File, scratch: &Path) -> Result<Box<dyn Source>, SourceError> {
    open_file(file, "standard input".to_owned(), scratch)
}

fn open_directory(origin: String, directory: OwnedFd) -> Result<Box<dyn Source>, SourceError> {
    let copy = directory.try_clone().map_err(|source| SourceError::Open {
        origin: origin.clone(),
        source,
    })?;
    let files = Files::in_directory(origin.clone(), copy);
    if files.has(oci_layout::MARKER) && files.has(oci_layout::INDEX) {
        return Ok(Box::new(OciLayout::new(files)?));
    }
    if files.has(docker_archive::MANIFEST) {
        return Ok(Box::new(DockerArchive::new(files)));
    }
    Ok(Box::new(RootfsDirectory::new(origin, directory)?))
}

fn open_file(file: File, origin: String, scratch: &Path) -> Result<Box<dyn Source>, SourceError> {
    let failed = |source| SourceError::Open {
        origin: origin.clone(),
        source,
    };
    let metadata = file.metadata().map_err(failed)?;
    let regular = metadata.is_file();
    let made = if regular {
        metadata.modified().ok()
    } else {
        None
    };
    let made = made.unwrap_or_else(SystemTime::now);
    let mut start = Vec::new();
    if regular {
        start = read_start(&file).map_err(failed)?;
    }
    let file = if regular && compression_of(&start) == Compression::None {
        file
    } else {
        let file = spool(&file, &origin, scratch)?;
        start = read_start(&file).map_err(failed)?;
        file
    };
    if let Some(found) = not_tar(&start) {
        return Err(SourceError::Unrecognised {
            origin,
            found: found.to_owned(),
        });
    }
    let Scan {
        files,
        empty,
        incomplete,
        escape,
    } = Files::in_archive(origin.clone(), file)?;
    let oci = files.has(oci_layout::MARKER) && files.has(oci_layout::INDEX);
    let docker = files.has(docker_archive::MANIFEST);
    if incomplete && (oci || docker) {
        return Err(SourceError::TooManyEntries {
            origin,
            limit: MAX_ENTRIES,
        });
    }
    if let Some(name) = &escape
        && (oci || docker)
    {
        let name = name.clone();
        return Err(SourceError::Escape { origin, name });
    }
    if oci {
        return Ok(Box::new(OciLayout::new(files)?));
    }
    if docker {
        return Ok(Box::new(DockerArchive::new(files)));
    }
    if empty {
        let found = "an archive without entries".to_owned();
        return Err(SourceError::Unrecognised { origin, found });
    }
    if files.has(docker_archive::ANCIENT_MARKER) {
        let found = "an archive of a docker older than 1.10".to_owned();
        return Err(SourceError::Unrecognised { origin, found });
    }
    match files.into_archive_file() {
        Some(file) => Ok(Box::new(RootfsTar::new(origin, file, made))),
        None => Err(SourceError::Empty { origin }),
    }
}

fn read_start(file: &File) -> io::Result<Vec<u8>> {
    struct At<'a>(&'a File, u64);
    impl Read for At<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read_at(buffer, self.1)?;
            self.1 += count as u64;
            Ok(count)
        }
    }
    let mut start = Vec::with_capacity(TAR_BLOCK);
    At(file, 0).take(TAR_BLOCK as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// What the first block is when it is none of a tar archive.
fn not_tar(start: &[u8]) -> Option<&'static str> {
    if start.len() == TAR_BLOCK
        && (start.get(TAR_MAGIC) == Some(b"ustar") || start.iter().all(|byte| *byte == 0))
    {
        return None;
    }
    Some(match start {
        [] => "empty",
        [0x7f, b'E', b'L', b'F', ..] => "a program",
        [0xff, 0xd8, 0xff, ..] => "a JPEG picture",
        [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
        [b'P', b'K', ..] => "a zip archive",
        [b'Q', b'F', b'I', 0xfb, ..] => "a virtual machine's disk",
        [b'{' | b'[', ..] => "a JSON file",
        [b'#', b'!', ..] => "a script",
        _ => "no archive",
    })
}
