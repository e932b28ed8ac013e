//! Loading a kernel, and telling it what it needs to know.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    ops::Range,
};

use linux_loader::{
    configurator::{
        BootConfigurator, BootParams, linux::LinuxBootConfigurator, pvh::PvhBootConfigurator,
    },
    loader::{
        BzImage, KernelLoader,
        bootparam::{boot_params, setup_header},
        elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info},
    },
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, ReadVolatile};

use super::{
    Entry,
    error::BootError,
    kernel::{self, Kernel},
    layout::{
        BASE_MEMORY_END, COMMAND_LINE, COMMAND_LINE_MAX, GAP_START, HIGH_MEMORY, PAGE, PVH_INFO,
        ZERO_PAGE,
    },
};
use crate::{arch::Copied, virtio::Memory};

/// A kernel in memory.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Where the first processor begins.
    pub entry: Entry,
    /// What of the kernel in memory stays as its file has it.
    pub copies: Vec<Copied>,
}

/// `e820` and PVH types of memory.
const RAM: u32 = 1;

/// Loads the kernel and the initial RAM file system, and writes what the kernel is told.
///
/// # Errors
/// When the file is no kernel, or something does not fit.
pub fn load(
    memory: &Memory,
    file: &mut File,
    initramfs: Option<&mut File>,
    command_line: &str,
) -> Result<Loaded, BootError> {
    let top = low_end(memory);
    let found = kernel::inspect(file, top)?;
    write_command_line(memory, command_line)?;
    let initramfs = match initramfs {
        Some(file) => Some(load_initramfs(memory, file, found.end()..top)?),
        None => None,
    };
    let (entry, copies) = match &found {
        Kernel::Elf(elf) => {
            elf.load(memory, file)?;
            let entry = if let Some(entry) = elf.pvh {
                write_pvh(memory, initramfs)?;
                Entry::Pvh(GuestAddress(entry))
            } else {
                write_linux(memory, None, initramfs)?;
                Entry::Linux64(GuestAddress(elf.entry))
            };
            (entry, elf.copies())
        }
        Kernel::BzImage(_) => {
            let loaded = BzImage::load(memory, None, file, Some(GuestAddress(HIGH_MEMORY)))
                .map_err(|error| BootError::NotAKernel(error.to_string()))?;
            write_linux(memory, loaded.setup_header, initramfs)?;
            // The 64-bit entry is 0x200 into its protected mode part (boot protocol 2.12).
            let entry = GuestAddress(loaded.kernel_load.0 + 0x200);
            (Entry::Linux64(entry), Vec::new())
        }
    };
    Ok(Loaded { entry, copies })
}

/// Where memory below the gap ends.
fn low_end(memory: &Memory) -> u64 {
    let ends = memory
        .iter()
        .map(|region| region.start_addr().0 + region.len());
    ends.filter(|end| *end <= GAP_START).max().unwrap_or(0)
}

fn write_command_line(memory: &Memory, text: &str) -> Result<(), BootError> {
    if text.len() >= COMMAND_LINE_MAX {
        return Err(BootError::CommandLine(text.len()));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    memory
        .write_slice(&bytes, GuestAddress(COMMAND_LINE))
        .map_err(|_| BootError::TooLarge {
            what: "command line",
        })
}

/// Address and size of the initial RAM file system: behind the kernel, on a page's boundary. What a guest
/// needs at its start then stays together, in few large pages, and the rest of its memory is untouched.
fn load_initramfs(
    memory: &Memory,
    file: &mut File,
    free: Range<u64>,
) -> Result<(u64, u64), BootError> {
    let what = "initial RAM file system";
    let read = |source| BootError::Read { what, source };
    let size = file.metadata().map_err(read)?.len();
    file.seek(SeekFrom::Start(0)).map_err(read)?;
    if size == 0 {
        return Err(read(io::Error::other("it is empty, or no file")));
    }
    let address = free.start.next_multiple_of(PAGE);
    if address.checked_add(size).is_none_or(|end| end > free.end) {
        return Err(BootError::TooLarge { what });
    }
    let length = usize::try_from(size).map_err(|_| BootError::TooLarge { what })?;
    let slice = memory
        .get_slice(GuestAddress(address), length)
        .map_err(|_| BootError::TooLarge { what })?;
    file.read_exact_volatile(&mut slice.clone())
        .map_err(|error| read(io::Error::other(error.to_string())))?;
    Ok((address, size))
}

/// Ranges of memory as (start, length), without what lies between base and high memory.
fn ranges(memory: &Memory) -> Vec<(u64, u64)> {
    let mut ranges = vec![(0, BASE_MEMORY_END)];
    for region in memory.iter() {
        let start = region.start_addr().0;
        let end = start + region.len();
        let start = if start == 0 { HIGH_MEMORY } else { start };
        ranges.push((start, end.saturating_sub(start)));
    }
    ranges
}

fn write_pvh(memory: &Memory, initramfs: Option<(u64, u64)>) -> Result<(), BootError> {
    const MODULES: u64 = PVH_INFO + 0x40;
    const MAP: u64 = PVH_INFO + 0x80;
    let entries: Vec<_> = ranges(memory)
        .into_iter()
        .map(|(addr, size)| hvm_memmap_table_entry {
            addr,
            size,
            type_: RAM,
            reserved: 0,
        })
        .collect();
    let info = hvm_start_info {
        // "xEn3", the ABI's magic number.
        magic: 0x336e_c578,
        version: 1,
        nr_modules: u32::from(initramfs.is_some()),
        modlist_paddr: if initramfs.is_some() { MODULES } else { 0 },
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MAP,
        memmap_entries: u32::try_from(entries.len()).unwrap_or(0),
        ..Default::default()
    };
    let mut params = BootParams::new(&info, GuestAddress(PVH_INFO));
    params.set_sections(&entries, GuestAddress(MAP));
    if let Some((paddr, size)) = initramfs {
        let module = hvm_modlist_entry {
            paddr,
            size,
            ..Default::default()
        };
        params.set_modules(&[module], GuestAddress(MODULES));
    }
    PvhBootConfigurator::write_bootparams(&params, memory)
        .map_err(|error| BootError::Parameters(error.to_string()))
}

fn write_linux(
    memory: &Memory,
    header: Option<setup_header>,
    initramfs: Option<(u64, u64)>,
) -> Result<(), BootError> {
    let mut params = boot_params::default();
    if let Some(header) = header {
        params.hdr = header;
    }
    // Values that the boot protocol asks a loader to fill in.
    params.hdr.boot_flag = 0xaa55;
    params.hdr.header = 0x5372_6448;
    params.hdr.kernel_alignment = 0x100_0000;
    params.hdr.type_of_loader = 0xff;
    let narrow = |value: u64| u32::try_from(value).unwrap_or(0);
    params.hdr.cmd_line_ptr = narrow(COMMAND_LINE);
    params.hdr.cmdline_size = u32::try_from(COMMAND_LINE_MAX).unwrap_or(0);
    if let Some((address, size)) = initramfs {
        params.hdr.ramdisk_image = narrow(address);
        params.hdr.ramdisk_size = narrow(size);
    }
    let mut count = 0;
    for ((addr, size), entry) in ranges(memory).into_iter().zip(&mut params.e820_table) {
        entry.addr = addr;
        entry.size = size;
        entry.r#type = RAM;
        count += 1;
    }
    params.e820_entries = count;
    LinuxBootConfigurator::write_bootparams(
        &BootParams::new(&params, GuestAddress(ZERO_PAGE)),
        memory,
    )
    .map_err(|error| BootError::Parameters(error.to_string()))
}

#[cfg(test)]
mod tests;
