//! Guest physical addresses and interrupt lines.

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a large page, which is cleared as a whole when its first byte is touched.
pub const LARGE_PAGE: u64 = 2 << 20;
/// Where a table of segments for the first processor stands.
pub const GDT: u64 = 0x500;
/// PVH: `hvm_start_info`, then its module list and memory map.
pub const PVH_INFO: u64 = 0x6000;
/// Linux boot protocol: `boot_params`.
pub const ZERO_PAGE: u64 = 0x7000;
/// First page table of the 64-bit entry; two more follow, a page each.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Most bytes of a command line, with its final zero (`COMMAND_LINE_SIZE` of Linux on x86).
pub const COMMAND_LINE_MAX: usize = 2048;
/// End of base memory; the MP table stands above it, where Linux looks for it.
pub const BASE_MEMORY_END: u64 = 0x9_fc00;
/// Start of memory above the legacy hole.
pub const HIGH_MEMORY: u64 = 0x10_0000;
/// Devices begin here, and memory goes on at 4 GiB.
pub const GAP_START: u64 = 0xc000_0000;
/// End of the gap.
pub const GAP_END: u64 = 1 << 32;
/// First virtio-mmio transport.
pub const MMIO_START: u64 = 0xd000_0000;
/// Bytes of a transport.
pub const MMIO_SIZE: u64 = 0x1000;
/// I/O APIC and local APICs, where KVM has them.
pub const IO_APIC: u32 = 0xfec0_0000;
/// See [`IO_APIC`].
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// Three pages that KVM needs on Intel processors, out of the guest's way.
pub const TSS: usize = 0xfffb_d000;
/// First interrupt line of a virtio device; those below belong to devices of a PC.
pub const FIRST_IRQ: u32 = 5;
/// Last line of the I/O APIC.
pub const LAST_IRQ: u32 = 23;

/// Ranges of a guest's memory of so many bytes, as (start, length): below the gap, and what does
/// not fit there above it.
#[must_use]
pub fn memory(size: u64) -> Vec<(u64, u64)> {
    let low = size.min(GAP_START);
    let mut ranges = vec![(0, low)];
    if size > low {
        ranges.push((GAP_END, size - low));
    }
    ranges
}
