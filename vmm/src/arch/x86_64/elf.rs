//! A kernel's ELF file: what of it can be loaded, and how it comes into memory.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
};

use vm_memory::{GuestAddress, GuestMemoryBackend, ReadVolatile};

use super::{
    error::{BootError, wrong},
    layout::{HIGH_MEMORY, LARGE_PAGE, PAGE},
};
use crate::{
    arch::Copied,
    elf::{self, Header, Notes, PROGRAM_HEADER, Program},
    virtio::{Memory, advice::advise},
};

/// A kernel's ELF file that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elf {
    segments: Vec<Segment>,
    /// Where it is entered in 64-bit mode.
    pub(super) entry: u64,
    /// Where it is entered as the PVH ABI says, if its notes do.
    pub(super) pvh: Option<u64>,
}

/// What is to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    /// Guest-physical addresses; those beyond what is in the file are zero.
    memory: Range<u64>,
    offset: u64,
    in_file: u64,
    writable: bool,
}

/// Most segments: Linux has five, and more when the padding between their parts is left out. Each costs a read.
const MAX_SEGMENTS: u16 = 64;

/// Most bytes of the notes: Linux has some hundred.
const MAX_NOTES: u64 = 64 << 10;

/// Bytes of which a large page is not worth it: so many small pages come as fast.
const LITTLE: u64 = 128 << 10;

impl Elf {
    /// Reads what a file of so many bytes, which begins like this, says of itself.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub(super) fn inspect(file: &File, length: u64, header: &[u8]) -> Result<Self, BootError> {
        let Some(header) = Header::read(header) else {
            return wrong("the ELF file is cut short");
        };
        if !header.is_little_endian_64() || header.machine != elf::X86_64 {
            return wrong("the ELF file is for another processor");
        }
        let count = header.count;
        if usize::from(header.entry_size) != PROGRAM_HEADER || count == 0 || count > MAX_SEGMENTS {
            return wrong("the ELF file has no segments, or too many");
        }
        let mut table = vec![0; usize::from(count) * PROGRAM_HEADER];
        if file.read_exact_at(&mut table, header.table).is_err() {
            return wrong("the ELF file is cut short");
        }
        let mut elf = Self {
            segments: Vec::new(),
            entry: header.entry,
            pvh: None,
        };
        for program in table.chunks_exact(PROGRAM_HEADER).filter_map(Program::read) {
            let is_read = [elf::LOAD, elf::NOTE].contains(&program.kind);
            if is_read && program.end().is_none_or(|end| end > length) {
                return wrong("the ELF file is cut short");
            }
            match program.kind {
                elf::NOTE if program.in_file > MAX_NOTES => {
                    return wrong(format!("its notes have {} bytes", program.in_file));
                }
                elf::NOTE => elf.pvh = elf.pvh.or(pvh_entry(file, &program)?),
                elf::LOAD => elf.segments.extend(placed(&program)?),
                _ => {}
            }
        }
        for entry in [Some(elf.entry), elf.pvh].into_iter().flatten() {
            if !elf.segments.iter().any(|each| each.memory.contains(&entry)) {
                return wrong(format!("its entry {entry:#x} is not in what is loaded"));
            }
        }
        Ok(elf)
    }

    /// First address that it leaves free.
    pub(super) fn end(&self) -> u64 {
        let ends = self.segments.iter().map(|each| each.memory.end);
        ends.max().unwrap_or(0)
    }

    /// Brings it into memory that reaches up to its end at least.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn load(&self, memory: &Memory, file: &mut File) -> Result<(), BootError> {
        let ranges = self.segments.iter().map(|each| each.memory.clone());
        for hollow in hollows(&ranges.collect::<Vec<_>>()) {
            let length = hollow.end - hollow.start;
            let start = GuestAddress(hollow.start);
            advise(memory, start, length, libc::MADV_NOHUGEPAGE);
        }
        for segment in &self.segments {
            read(memory, file, segment)?;
        }
        Ok(())
    }

    /// What stays as the file has it, but for what a kernel changes of itself to suit its processor.
    pub(super) fn copies(&self) -> Vec<Copied> {
        self.segments.iter().filter_map(Segment::copied).collect()
    }
}

/// Blocks of the size of a large page between the first and the last of these ranges, of which they take a little.
pub(super) fn hollows(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let first = ranges.iter().map(|each| each.start).min().unwrap_or(0) / LARGE_PAGE;
    let end = ranges.iter().map(|each| each.end).max().unwrap_or(0);
    let last = end.saturating_sub(1) / LARGE_PAGE;
    let blocks = (first..last).map(|number| number * LARGE_PAGE..(number + 1) * LARGE_PAGE);
    let taken = |block: &Range<u64>| -> u64 {
        let taken = ranges.iter().map(|each| {
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

impl Segment {
    /// Its whole pages, if it is not for writing, and they stand in the file as in memory.
    fn copied(&self) -> Option<Copied> {
        let place = [self.memory.start, self.offset];
        let aligned = place.iter().all(|each| each.is_multiple_of(PAGE));
        let length = self.in_file / PAGE * PAGE;
        (aligned && !self.writable && length > 0).then_some(Copied {
            start: GuestAddress(self.memory.start),
            length,
            offset: self.offset,
        })
    }
}

/// The memory that a segment takes, if it takes any.
fn placed(program: &Program) -> Result<Option<Segment>, BootError> {
    let Program {
        physical_address: start,
        in_file,
        in_memory,
        ..
    } = *program;
    match start.checked_add(in_memory) {
        _ if in_memory == 0 && in_file == 0 => Ok(None),
        Some(end) if in_file <= in_memory && start >= HIGH_MEMORY => Ok(Some(Segment {
            memory: start..end,
            offset: program.offset,
            in_file,
            writable: program.flags & elf::WRITABLE != 0,
        })),
        _ => wrong(format!(
            "a segment of {in_memory} bytes at {start:#x} cannot be loaded"
        )),
    }
}

/// Reads what of a segment is in the file.
fn read(memory: &Memory, file: &mut File, segment: &Segment) -> Result<(), BootError> {
    let start = GuestAddress(segment.memory.start);
    let slice = usize::try_from(segment.in_file)
        .ok()
        .and_then(|length| memory.get_slice(start, length).ok());
    let Some(mut slice) = slice else {
        return Err(BootError::TooLarge { what: "kernel" });
    };
    file.seek(SeekFrom::Start(segment.offset))
        .map_err(unreadable)?;
    let read = file.read_exact_volatile(&mut slice);
    read.map_err(|error| unreadable(io::Error::other(error.to_string())))
}

fn unreadable(source: io::Error) -> BootError {
    BootError::Read {
        what: "kernel",
        source,
    }
}

/// The PVH entry among notes, if it is there.
fn pvh_entry(file: &File, program: &Program) -> Result<Option<u64>, BootError> {
    let mut notes = vec![0; usize::try_from(program.in_file.min(MAX_NOTES)).unwrap_or(0)];
    file.read_exact_at(&mut notes, program.offset)
        .map_err(unreadable)?;
    Ok(Notes(&notes).find_map(|note| note.pvh_entry()))
}
