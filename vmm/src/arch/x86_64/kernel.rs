//! What a kernel's file says of itself, checked before anything of it is loaded: the loader takes
//! more on trust than a file of a user's choice deserves, and says less of what is wrong.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
};

use super::{
    elf::Elf,
    error::{BootError, wrong},
    layout::{GAP_START, HIGH_MEMORY},
};

/// A kernel that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kernel {
    /// ELF.
    Elf(Elf),
    /// bzImage, with the memory that it takes until it has unpacked itself.
    BzImage(Range<u64>),
}

impl Kernel {
    /// First address that it leaves free.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Elf(elf) => elf.end(),
            Self::BzImage(range) => range.end,
        }
    }
}

/// Bytes of a bzImage that are looked at: its first sectors, up to the end of its header.
const SETUP: usize = 0x270;
const SECTOR: u64 = 512;
/// Boot protocol 2.12 is the first that has 64-bit entries.
const PROTOCOL: u16 = 0x20c;
/// Bit of `loadflags`: the kernel stands in high memory.
const LOADED_HIGH: u8 = 1;
/// Bit of `xloadflags`: the 64-bit entry is there.
const KERNEL_64: u16 = 1;

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
        Kernel::Elf(Elf::inspect(file, length, &start)?)
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

pub(super) fn short(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(from, at))
}

pub(super) fn word(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(from, at))
}

pub(super) fn long(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(from, at))
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
