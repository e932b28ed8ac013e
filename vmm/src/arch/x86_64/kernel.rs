//! What a kernel's file says of itself, checked before anything of it is loaded: the loader takes
//! more on trust than a file of a user's choice deserves, and says less of what is wrong.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
};

use super::{
    error::BootError,
    layout::{GAP_START, HIGH_MEMORY, LARGE_PAGE},
};

/// A kernel that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kernel {
    /// ELF, with the memory that its segments take.
    Elf(Vec<Range<u64>>),
    /// bzImage, with the memory that it takes until it has unpacked itself.
    BzImage(Range<u64>),
}

impl Kernel {
    /// First address that it leaves free.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Elf(segments) => segments.iter().map(|each| each.end).max().unwrap_or(0),
            Self::BzImage(range) => range.end,
        }
    }

    /// Whether an address is in it.
    pub(super) fn contains(&self, address: u64) -> bool {
        match self {
            Self::Elf(segments) => segments.iter().any(|each| each.contains(&address)),
            Self::BzImage(range) => range.contains(&address),
        }
    }

    /// Blocks of the size of a large page between its first and its last one of which it takes a little.
    pub(super) fn hollows(&self) -> Vec<Range<u64>> {
        let Self::Elf(segments) = self else {
            return Vec::new();
        };
        let first = segments.iter().map(|each| each.start).min().unwrap_or(0) / LARGE_PAGE;
        let last = self.end().saturating_sub(1) / LARGE_PAGE;
        let blocks = (first..last).map(|number| number * LARGE_PAGE..(number + 1) * LARGE_PAGE);
        let taken = |block: &Range<u64>| -> u64 {
            let taken = segments.iter().map(|each| {
                let end = each.end.min(block.end);
                end.saturating_sub(each.start.max(block.start))
            });
            taken.sum()
        };
        let little = 1..LITTLE;
        blocks
            .filter(|block| little.contains(&taken(block)))
            .collect()
    }
}

/// Bytes of which a large page is not worth it: so many small pages come as fast.
const LITTLE: u64 = 128 << 10;

/// Most segments of an ELF kernel: Linux has five. Each costs a read.
const MAX_SEGMENTS: u16 = 64;

/// Most bytes of an ELF kernel's notes: Linux has some hundred. The loader reads them one by one.
const MAX_NOTES: u64 = 64 << 10;

/// Bytes of an ELF file's header, and of a segment's (ELF-64 object file format, 1.5d).
const HEADER: usize = 64;
const SEGMENT: usize = 56;
/// `EM_X86_64`.
const X86_64: u16 = 62;
/// Types of segments.
const LOAD: u32 = 1;
const NOTE: u32 = 4;

/// Bytes of a bzImage that are looked at: its first sectors, up to the end of its header.
const SETUP: usize = 0x270;
const SECTOR: u64 = 512;
/// Boot protocol 2.12 is the first that has 64-bit entries.
const PROTOCOL: u16 = 0x20c;
/// Bit of `loadflags`: the kernel stands in high memory.
const LOADED_HIGH: u8 = 1;
/// Bit of `xloadflags`: the 64-bit entry is there.
const KERNEL_64: u16 = 1;

fn wrong<T>(words: impl Into<String>) -> Result<T, BootError> {
    Err(BootError::NotAKernel(words.into()))
}

/// Looks at a kernel that is to be loaded into memory which ends, below the gap, at `top`.
///
/// # Errors
/// When it is no kernel for a guest, or is too large for this one.
pub(super) fn inspect(file: &File, top: u64) -> Result<Kernel, BootError> {
    let unreadable = |source| BootError::Read {
        what: "kernel",
        source,
    };
    let length = file.metadata().map_err(unreadable)?.len();
    let mut start = Vec::with_capacity(SETUP);
    let limit = u64::try_from(SETUP).unwrap_or(0);
    (At { file, offset: 0 })
        .take(limit)
        .read_to_end(&mut start)
        .map_err(unreadable)?;
    let kernel = if start.starts_with(b"\x7fELF") {
        elf(file, length, &start)?
    } else {
        bz_image(length, &start)?
    };
    if kernel.end() > GAP_START {
        return wrong(format!(
            "it wants memory up to {:#x}, where no guest has any",
            kernel.end()
        ));
    }
    if kernel.end() > top {
        return Err(BootError::TooLarge { what: "kernel" });
    }
    Ok(kernel)
}

/// Reads a file from an offset on, leaving its own position alone.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A number at a place of a structure; zero where the structure is too short.
fn bytes<const LENGTH: usize>(from: &[u8], at: usize) -> [u8; LENGTH] {
    let there = from.get(at..).and_then(|rest| rest.first_chunk());
    there.copied().unwrap_or([0; LENGTH])
}

fn short(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(from, at))
}

fn word(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(from, at))
}

fn long(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(from, at))
}

fn elf(file: &File, length: u64, header: &[u8]) -> Result<Kernel, BootError> {
    if header.len() < HEADER {
        return wrong("the ELF file is cut short");
    }
    // Class 64-bit, little endian.
    if header.get(4..6) != Some(&[2, 1]) || short(header, 18) != X86_64 {
        return wrong("the ELF file is for another processor");
    }
    let count = short(header, 56);
    if usize::from(short(header, 54)) != SEGMENT || count == 0 || count > MAX_SEGMENTS {
        return wrong("the ELF file has no segments, or too many");
    }
    let mut table = vec![0; usize::from(count) * SEGMENT];
    if file.read_exact_at(&mut table, long(header, 32)).is_err() {
        return wrong("the ELF file is cut short");
    }
    let mut segments = Vec::new();
    for segment in table.chunks_exact(SEGMENT) {
        let (kind, in_file) = (word(segment, 0), long(segment, 32));
        let end = long(segment, 8).checked_add(in_file);
        if [LOAD, NOTE].contains(&kind) && end.is_none_or(|end| end > length) {
            return wrong("the ELF file is cut short");
        }
        match kind {
            NOTE if in_file > MAX_NOTES => {
                return wrong(format!("its notes have {in_file} bytes"));
            }
            LOAD => segments.extend(placed(segment)?),
            _ => {}
        }
    }
    let kernel = Kernel::Elf(segments);
    let entry = long(header, 24);
    if !kernel.contains(entry) {
        return wrong(format!("its entry {entry:#x} is not in what is loaded"));
    }
    Ok(kernel)
}

/// The memory that a segment takes, if it takes any.
fn placed(segment: &[u8]) -> Result<Option<Range<u64>>, BootError> {
    let (start, in_file, in_memory) = (long(segment, 24), long(segment, 32), long(segment, 40));
    let end = start.checked_add(in_memory);
    match end {
        _ if in_memory == 0 && in_file == 0 => Ok(None),
        Some(end) if in_file <= in_memory && start >= HIGH_MEMORY => Ok(Some(start..end)),
        _ => wrong(format!(
            "a segment of {in_memory} bytes at {start:#x} cannot be loaded"
        )),
    }
}

fn bz_image(length: u64, setup: &[u8]) -> Result<Kernel, BootError> {
    if setup.len() < SETUP || setup.get(0x202..0x206) != Some(b"HdrS") {
        return wrong("it begins as neither of them does");
    }
    let [loaded_high] = bytes(setup, 0x211);
    let (protocol, flags) = (short(setup, 0x206), short(setup, 0x236));
    if protocol < PROTOCOL || loaded_high & LOADED_HIGH == 0 || flags & KERNEL_64 == 0 {
        return wrong("the bzImage has no 64-bit entry");
    }
    let sectors = match bytes(setup, 0x1f1) {
        [0] => 4,
        [sectors] => u64::from(sectors),
    };
    let Some(payload) = length
        .checked_sub((sectors + 1) * SECTOR)
        .filter(|length| *length > 0)
    else {
        return wrong("the bzImage is cut short");
    };
    let start = u64::from(word(setup, 0x214));
    if start < HIGH_MEMORY {
        return wrong(format!("the bzImage wants to be at {start:#x}"));
    }
    // It unpacks itself there, or where it would rather be, and needs so much for it (2.10).
    let unpacked = long(setup, 0x258).max(start);
    let end = unpacked.checked_add(word(setup, 0x260).into());
    match end {
        Some(end) => Ok(Kernel::BzImage(start..end.max(start + payload))),
        None => wrong(format!("the bzImage wants to be at {unpacked:#x}")),
    }
}
