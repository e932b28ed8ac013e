//! A disk's bytes: extents of files, of memory, and of nothing.

use std::{fs::File, io, os::unix::fs::FileExt, sync::OnceLock};

use rustix::{
    fs::{FallocateFlags, fallocate, fdatasync},
    io::Errno,
};
use vm_memory::VolatileSlice;

use crate::virtio::guest_io;

/// What an extent holds.
#[derive(Debug)]
pub enum Content {
    /// Bytes of a file, from an offset.
    File {
        /// The file, open for reading, and for writing where the disk is writable.
        file: File,
        /// First byte of the extent in the file.
        offset: u64,
    },
    /// These bytes.
    Bytes(Vec<u8>),
    /// Zeros.
    Zeros,
}

/// An extent and where it stands.
#[derive(Debug)]
struct Part {
    start: u64,
    length: u64,
    content: Content,
}

/// Most extents of a disk: as many as a plan may give it, [`contracts::monitor::MAX_EXTENTS`].
const MAX_PARTS: usize = contracts::monitor::MAX_EXTENTS;

/// Why an extent is neither inserted nor removed.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum PlaceError {
    /// Not whole sectors, or none.
    #[error("{length} bytes at {start} are no whole sectors")]
    Sectors {
        /// First byte.
        start: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Something is there already, or the disk ends before.
    #[error("the disk has no {length} bytes of zeros at {start}")]
    Taken {
        /// First byte.
        start: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Nothing was inserted there.
    #[error("no file was put in {length} bytes at {start} of the disk")]
    Empty {
        /// First byte.
        start: u64,
        /// Number of bytes.
        length: u64,
    },
    /// Its guest writes to it.
    #[error("the disk is writable, and its files are fixed")]
    Writable,
    /// Too many extents.
    #[error("a disk has at most {MAX_PARTS} extents")]
    Full,
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    parts: Vec<Part>,
    length: u64,
    read_only: bool,
    /// Why its file could first not be changed.
    failure: OnceLock<String>,
}

/// Bytes of a sector.
pub(super) const SECTOR: u64 = 512;

impl Disk {
    /// A disk with these extents and their lengths.
    #[must_use]
    pub fn new(content: Vec<(Content, u64)>, read_only: bool) -> Self {
        let mut start = 0_u64;
        let mut parts = Vec::with_capacity(content.len());
        for (content, length) in content {
            parts.push(Part {
                start,
                length,
                content,
            });
            start = start.saturating_add(length);
        }
        Self {
            parts,
            length: start,
            read_only,
            failure: OnceLock::new(),
        }
    }

    /// Its size in sectors of 512 bytes.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.length / SECTOR
    }

    /// Whether it refuses writes.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Why its file could first not be written or flushed, for whoever wonders about the guest's I/O
    /// errors.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Keeps what the first failure was.
    fn noted(&self, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &result {
            self.failure.get_or_init(|| error.to_string());
        }
        result
    }

    /// Whether so many bytes from an offset are on the disk.
    #[must_use]
    pub fn holds(&self, offset: u64, length: u64) -> bool {
        offset
            .checked_add(length)
            .is_some_and(|end| end <= self.length)
    }

    /// Puts a file, from its first byte, in the place of zeros.
    ///
    /// # Errors
    /// When there are no zeros in the whole place, or the disk is writable.
    pub fn insert(&mut self, start: u64, length: u64, file: File) -> Result<(), PlaceError> {
        if !self.read_only {
            return Err(PlaceError::Writable);
        }
        if length == 0 || !start.is_multiple_of(SECTOR) || !length.is_multiple_of(SECTOR) {
            return Err(PlaceError::Sectors { start, length });
        }
        let taken = PlaceError::Taken { start, length };
        let end = start.checked_add(length).ok_or(taken)?;
        let after = self.parts.partition_point(|part| part.start <= start);
        let index = after.checked_sub(1).ok_or(taken)?;
        let zeros = self.parts.get(index).ok_or(taken)?;
        let zeros_end = zeros.start.saturating_add(zeros.length);
        if !matches!(zeros.content, Content::Zeros) || end > zeros_end {
            return Err(taken);
        }
        if self.parts.len() + 2 > MAX_PARTS {
            return Err(PlaceError::Full);
        }
        let piece = |start, end: u64, content| Part {
            start,
            length: end - start,
            content,
        };
        let pieces = [
            piece(zeros.start, start, Content::Zeros),
            piece(start, end, Content::File { file, offset: 0 }),
            piece(end, zeros_end, Content::Zeros),
        ];
        let pieces = pieces.into_iter().filter(|piece| piece.length > 0);
        self.parts.splice(index..=index, pieces);
        Ok(())
    }

    /// Makes zeros of a file that was inserted.
    ///
    /// # Errors
    /// When no file was inserted in exactly this place.
    pub fn remove(&mut self, start: u64, length: u64) -> Result<(), PlaceError> {
        if !self.read_only {
            return Err(PlaceError::Writable);
        }
        let part = self.parts.iter_mut().find(|part| {
            let file = matches!(part.content, Content::File { offset: 0, .. });
            file && part.start == start && part.length == length
        });
        part.ok_or(PlaceError::Empty { start, length })?.content = Content::Zeros;
        // What is one run of zeros is one part, so that another file fits in.
        self.parts.dedup_by(|next, part| {
            let both = matches!(
                (&part.content, &next.content),
                (Content::Zeros, Content::Zeros)
            );
            if both {
                part.length = part.length.saturating_add(next.length);
            }
            both
        });
        Ok(())
    }

    /// The extent that an offset is in, with the offset in it and the bytes left there.
    fn part(&self, offset: u64) -> Option<(&Part, u64, u64)> {
        let after = self.parts.partition_point(|part| part.start <= offset);
        let part = self.parts.get(after.checked_sub(1)?)?;
        let inside = offset - part.start;
        Some((
            part,
            inside,
            part.length.checked_sub(inside).filter(|left| *left > 0)?,
        ))
    }

    /// Reads into guest memory from an offset; both must be on the disk.
    ///
    /// # Errors
    /// When a file fails or is shorter than it was.
    pub fn read(&self, mut offset: u64, buffer: &VolatileSlice<'_>) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let Some((part, inside, left)) = self.part(offset) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let rest = buffer.len() - done;
            let length = usize::try_from(left).map_or(rest, |left| left.min(rest));
            let slice = buffer.subslice(done, length).map_err(io::Error::other)?;
            match &part.content {
                Content::File { file, offset: base } => {
                    guest_io::read_exact_at(file, &slice, base + inside)?;
                }
                Content::Bytes(bytes) => {
                    let from = usize::try_from(inside).unwrap_or(usize::MAX);
                    slice.copy_from(bytes.get(from..).unwrap_or_default());
                }
                Content::Zeros => zero(&slice),
            }
            offset += length as u64;
            done += length;
        }
        Ok(())
    }

    /// The file of a writable disk, and where in it the disk begins.
    fn file(&self) -> io::Result<(&File, u64)> {
        match self.parts.as_slice() {
            [
                Part {
                    content: Content::File { file, offset },
                    ..
                },
            ] if !self.read_only => Ok((file, *offset)),
            _ => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    /// Writes guest memory to an offset; both must be on the disk.
    ///
    /// # Errors
    /// When the disk is read-only or its file fails.
    pub fn write(&self, offset: u64, buffer: &VolatileSlice<'_>) -> io::Result<()> {
        let (file, base) = self.file()?;
        self.noted(guest_io::write_all_at(file, buffer, base + offset))
    }

    /// Makes what was written survive a loss of power.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn flush(&self) -> io::Result<()> {
        match self.file() {
            Ok((file, _)) => self.noted(fdatasync(file).map_err(io::Error::from)),
            // Nothing was written.
            Err(_) => Ok(()),
        }
    }

    /// Gives space back, where the file system can: what is read there afterwards may be anything
    /// (virtio 1.2, section 5.2.6.2), and in fact is zero or what it was.
    ///
    /// # Errors
    /// When the disk is read-only or its file fails.
    pub fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let (file, base) = self.file()?;
        allocate(file, HOLE, base + offset, length).map(drop)
    }

    /// Makes bytes zero: as a hole when `unmap` allows it, else with their space kept, where the
    /// file system can do either; else by writing.
    ///
    /// # Errors
    /// When the disk is read-only or its file fails.
    pub fn write_zeros(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        let (file, base) = self.file()?;
        let start = base + offset;
        let ways = if unmap { [HOLE, KEPT] } else { [KEPT, HOLE] };
        for way in ways {
            if allocate(file, way, start, length)? {
                return Ok(());
            }
        }
        self.noted(write_zeros(file, start, length))
    }
}

/// A hole, and zeros that keep their space; neither makes a file longer.
const HOLE: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
const KEPT: FallocateFlags = FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE);

/// Whether the file's system could do it.
fn allocate(file: &File, flags: FallocateFlags, offset: u64, length: u64) -> io::Result<bool> {
    match rustix::io::retry_on_intr(|| fallocate(file, flags, offset, length)) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes zeros, for file systems without holes.
pub(super) fn write_zeros(file: &File, mut offset: u64, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let count = length.min(ZEROS.len() as u64);
        let piece = ZEROS.get(..usize::try_from(count).unwrap_or(0));
        file.write_all_at(piece.unwrap_or_default(), offset)?;
        offset += count;
        length -= count;
    }
    Ok(())
}

/// Bytes that are cleared at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

fn zero(slice: &VolatileSlice<'_>) {
    let mut done = 0;
    while let Ok(rest) = slice.offset(done) {
        if rest.is_empty() {
            break;
        }
        rest.copy_from(&ZEROS);
        done += rest.len().min(ZEROS.len());
    }
}
