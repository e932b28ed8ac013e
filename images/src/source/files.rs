//! Files by name in a directory or in a tar archive, without a path of this machine ever being
//! made from a name that the archive gives.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{Document, SourceError, Verifying};
use crate::digest::Digest;
use crate::image::{Descriptor, ImageError, check_document_size};
use crate::layer::tar::{self, Archive, Stop};

/// Most entries of an archive of images: 127 layers of three old-style files each for every one of
/// some hundred images. Keeps the list of names in memory small.
pub(super) const MAX_ENTRIES: usize = 100_000;
/// Longest name that is looked at: a blob's has 77 bytes. Keeps the list small as well.
const MAX_NAME: usize = 255;
/// Bytes read at once in a look through an archive: mostly a header is all that is wanted.
const SCAN_BUFFER: usize = 4 << 10;
/// Most links from one to the next in an archive; old archives of docker have one.
const MAX_LINKS: usize = 8;

/// A run of bytes in a file, read without a shared position.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Slice {
    pub(super) fn whole(file: File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            position: 0,
            end,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.end - self.position
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.len())
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read_at(&mut buffer[..room], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// Files of an image source.
#[derive(Debug)]
pub(super) struct Files {
    origin: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Directory(OwnedFd),
    Archive {
        file: Arc<File>,
        entries: HashMap<Vec<u8>, Entry>,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    File { offset: u64, length: u64 },
    Link(Vec<u8>),
    Other,
    Duplicate,
}

impl Entry {
    /// What an entry of an archive is, whose data starts at `offset`.
    fn of(entry: &tar::Entry, name: &[u8], offset: u64) -> Self {
        let base = match entry.kind {
            tar::Kind::File if entry.sparse.is_none() => {
                let length = entry.size;
                return Self::File { offset, length };
            }
            tar::Kind::Symlink => parent(name),
            tar::Kind::HardLink => b"",
            _ => return Self::Other,
        };
        match join(base, &entry.link) {
            Some(target) if target.len() <= MAX_NAME => Self::Link(target),
            _ => Self::Other,
        }
    }
}

/// A file that is an archive, in which data that nobody wants is not read.
struct Seeking<'a> {
    reader: BufReader<&'a File>,
    /// Bytes up to the file's end.
    left: u64,
}

impl<'a> Seeking<'a> {
    fn new(mut file: &'a File) -> io::Result<Self> {
        file.rewind()?;
        let left = file.metadata()?.len();
        let reader = BufReader::with_capacity(SCAN_BUFFER, file);
        Ok(Self { reader, left })
    }
}

impl Read for Seeking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Seeking<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.left = self.left.saturating_sub(count as u64);
    }
}

impl tar::Input for Seeking<'_> {
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let count = count.min(self.left);
        let distance = i64::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.reader.seek_relative(distance)?;
        self.left -= count;
        Ok(count)
    }
}

/// What a look through an archive found.
pub(super) struct Scan {
    pub(super) files: Files,
    /// The archive has no entries at all.
    pub(super) empty: bool,
    /// The archive has more entries than were looked at.
    pub(super) incomplete: bool,
    /// The first name that leads out of the archive. No image may have one; in a root file system
    /// it may only be absolute, which is for its reader to say.
    pub(super) escape: Option<String>,
}

impl Files {
    /// Files beneath a directory.
    pub(super) fn in_directory(origin: String, directory: OwnedFd) -> Self {
        Self {
            origin,
            place: Place::Directory(directory),
        }
    }

    /// Files of a plain tar archive; looks at its first [`MAX_ENTRIES`] entries.
    pub(super) fn in_archive(origin: String, file: File) -> Result<Scan, SourceError> {
        let read = |source| SourceError::Read {
            origin: origin.clone(),
            name: "the archive".to_owned(),
            source,
        };
        let refused = |stop| match stop {
            Stop::Input(source) => read(source),
            Stop::Layer(error) => SourceError::Archive {
                origin: origin.clone(),
                source: Box::new(error),
            },
        };
        let mut archive = Archive::new(Seeking::new(&file).map_err(read)?);
        let mut entries = HashMap::new();
        let (mut count, mut escape) = (0, None);
        while count <= MAX_ENTRIES
            && let Some(entry) = archive.next().map_err(refused)?
        {
            count += 1;
            if entry.path.len() > MAX_NAME {
                continue;
            }
            let Some(name) = normalise(&entry.path) else {
                escape.get_or_insert_with(|| String::from_utf8_lossy(&entry.path).into_owned());
                continue;
            };
            let found = Entry::of(&entry, &name, archive.offset());
            match entries.entry(name) {
                MapEntry::Vacant(slot) => drop(slot.insert(found)),
                // Directories are often listed twice; only a file's meaning would be unclear.
                MapEntry::Occupied(mut slot) if *slot.get() != Entry::Other => {
                    slot.insert(Entry::Duplicate);
                }
                MapEntry::Occupied(mut slot) => drop(slot.insert(found)),
            }
        }
        let place = Place::Archive {
            file: Arc::new(file),
            entries,
        };
        Ok(Scan {
            files: Self { origin, place },
            empty: count == 0,
            incomplete: count > MAX_ENTRIES,
            escape,
        })
    }

    /// What the files belong to, for people.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn set_origin(&mut self, origin: String) {
        self.origin = origin;
    }

    /// Whether there is a regular file of this name (or a link, or several).
    pub(super) fn has(&self, name: &str) -> bool {
        match &self.place {
            Place::Directory(_) => self.open(name).is_ok(),
            Place::Archive { entries, .. } => entries
                .get(name.as_bytes())
                .is_some_and(|entry| *entry != Entry::Other),
        }
    }

    /// Gives back the archive's file.
    pub(super) fn into_archive_file(self) -> Option<Arc<File>> {
        match self.place {
            Place::Archive { file, .. } => Some(file),
            Place::Directory(_) => None,
        }
    }

    /// Opens a regular file.
    pub(super) fn open(&self, name: &str) -> Result<Slice, SourceError> {
        let Some(path) = normalise(name.as_bytes()) else {
            return Err(SourceError::Escape {
                origin: self.origin.clone(),
                name: name.to_owned(),
            });
        };
        match &self.place {
            Place::Directory(directory) => self.open_beneath(directory, name, &path),
            Place::Archive { file, entries } => {
                let (offset, length) = self.follow(entries, name, path)?;
                Ok(Slice {
                    file: Arc::clone(file),
                    position: offset,
                    end: offset + length,
                })
            }
        }
    }

    fn open_beneath(
        &self,
        directory: &OwnedFd,
        name: &str,
        path: &[u8],
    ) -> Result<Slice, SourceError> {
        let (origin, name) = (self.origin.clone(), name.to_owned());
        // Not blocking, so that a FIFO in the layout does not hold us up.
        let opened = rustix::fs::openat2(
            directory,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        );
        let file = match opened {
            Ok(descriptor) => File::from(descriptor),
            Err(rustix::io::Errno::NOENT) => return Err(SourceError::Missing { origin, name }),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::XDEV) => {
                return Err(SourceError::Link { origin, name });
            }
            Err(error) => {
                return Err(SourceError::Read {
                    origin,
                    name,
                    source: error.into(),
                });
            }
        };
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(SourceError::NotAFile { origin, name }),
            Err(source) => {
                return Err(SourceError::Read {
                    origin,
                    name,
                    source,
                });
            }
        }
        Slice::whole(file).map_err(|source| SourceError::Read {
            origin,
            name,
            source,
        })
    }

    fn follow(
        &self,
        entries: &HashMap<Vec<u8>, Entry>,
        name: &str,
        mut path: Vec<u8>,
    ) -> Result<(u64, u64), SourceError> {
        let (origin, name) = (self.origin.clone(), name.to_owned());
        for _ in 0..=MAX_LINKS {
            match entries.get(&path) {
                Some(Entry::File { offset, length }) => return Ok((*offset, *length)),
                Some(Entry::Link(target)) => path.clone_from(target),
                Some(Entry::Duplicate) => return Err(SourceError::Duplicate { origin, name }),
                Some(Entry::Other) => return Err(SourceError::NotAFile { origin, name }),
                None => return Err(SourceError::Missing { origin, name }),
            }
        }
        Err(SourceError::Link { origin, name })
    }

    /// Compares the size of a file with what is said of it. One that is missing may not be needed.
    pub(super) fn check_size(&self, name: &str, announced: Option<u64>) -> Result<(), SourceError> {
        let actual = match self.open(name) {
            Ok(file) => file.len(),
            Err(SourceError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        match announced {
            Some(announced) if announced != actual => Err(SourceError::Size {
                origin: self.origin.clone(),
                name: name.to_owned(),
                announced,
                actual,
            }),
            _ => Ok(()),
        }
    }

    /// Reads a document without knowing its digest or size.
    pub(super) fn read_document(
        &self,
        kind: &'static str,
        name: &str,
    ) -> Result<Vec<u8>, SourceError> {
        let slice = self.open(name)?;
        let size = slice.len();
        check_document_size(kind, &name, size).map_err(|source| self.refused(source))?;
        self.read_all(slice, name, size, None)
    }

    /// Reads the document that a descriptor points to, and verifies it.
    pub(super) fn read_blob(
        &self,
        kind: &'static str,
        descriptor: &Descriptor,
    ) -> Result<Document, SourceError> {
        check_document_size(kind, &descriptor.digest, descriptor.size).map_err(|source| {
            SourceError::Image {
                origin: self.origin.clone(),
                source: Box::new(source),
            }
        })?;
        let digest = descriptor.digest.clone();
        let slice = self.open(&blob_name(&digest))?;
        let name = format!("{kind} {digest}");
        let bytes = self.read_all(slice, &name, descriptor.size, Some(&digest))?;
        Ok(Document { digest, bytes })
    }

    fn refused(&self, source: ImageError) -> SourceError {
        SourceError::Image {
            origin: self.origin.clone(),
            source: Box::new(source),
        }
    }

    fn read_all(
        &self,
        slice: Slice,
        name: &str,
        size: u64,
        digest: Option<&Digest>,
    ) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        let mut reader = Verifying::new(slice, digest.is_some(), Some(size), |_| {});
        reader
            .read_to_end(&mut bytes)
            .map_err(|source| SourceError::Read {
                origin: self.origin.clone(),
                name: name.to_owned(),
                source,
            })?;
        reader.finish(&self.origin, name, digest)?;
        Ok(bytes)
    }
}

/// Name of a blob in a layout (image specification, "Image Layout").
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}", digest.to_string().replacen(':', "/", 1))
}

/// A name without `.` components and double slashes; `None` when it is absolute or has `..`.
fn normalise(name: &[u8]) -> Option<Vec<u8>> {
    if name.starts_with(b"/") {
        return None;
    }
    join(b"", name).filter(|_| name.split(|byte| *byte == b'/').all(|part| part != b".."))
}

fn parent(name: &[u8]) -> &[u8] {
    name.iter()
        .rposition(|byte| *byte == b'/')
        .map_or(b"", |at| &name[..at])
}

/// `target` seen from the directory `base`; `None` when that is outside of the archive.
fn join(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = base.split(|byte| *byte == b'/').collect();
    parts.retain(|part| !part.is_empty());
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}
