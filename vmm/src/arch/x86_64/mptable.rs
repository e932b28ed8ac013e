//! The table that tells the kernel of processors and interrupt lines (Intel MultiProcessor
//! Specification 1.4, chapter 4), in place of firmware.

use vm_memory::{Bytes, GuestAddress};

use super::layout::{BASE_MEMORY_END, IO_APIC, LAST_IRQ, LOCAL_APIC};
use crate::virtio::Memory;

/// Versions that the APICs of KVM give.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IO_APIC_VERSION: u8 = 0x11;

/// Types of entries (4.3).
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC_ENTRY: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

/// Types of interrupts (table 4-10).
const VECTORED: u8 = 0;
const NON_MASKABLE: u8 = 1;
const EXTERNAL: u8 = 3;

/// Writes the table for so many processors.
///
/// # Errors
/// When the guest has no memory there.
pub(super) fn write(memory: &Memory, cpus: u8) -> Result<(), vm_memory::GuestMemoryError> {
    let table = table(cpus);
    let at = BASE_MEMORY_END + POINTER_LENGTH;
    memory.write_slice(&pointer(at), GuestAddress(BASE_MEMORY_END))?;
    memory.write_slice(&table, GuestAddress(at))
}

/// Bytes of the floating pointer, by which the table is found.
const POINTER_LENGTH: u64 = 16;

fn pointer(table: u64) -> [u8; 16] {
    let mut pointer = [0; 16];
    let [a, b, c, d, ..] = table.to_le_bytes();
    // Signature, address, length in units of 16 bytes, version 1.4.
    let start = [b'_', b'M', b'P', b'_', a, b, c, d, 1, 4];
    pointer
        .iter_mut()
        .zip(start)
        .for_each(|(byte, value)| *byte = value);
    pointer[10] = checksum(&pointer);
    pointer
}

fn table(cpus: u8) -> Vec<u8> {
    let io_apic_id = cpus;
    let mut entries = Vec::new();
    let mut count: u16 = 0;
    let mut add = |bytes: &[u8]| {
        entries.extend_from_slice(bytes);
        count += 1;
    };
    for cpu in 0..cpus {
        // Enabled; the first one boots. Signature and features are those of CPUID.
        let flags = if cpu == 0 { 3 } else { 1 };
        let mut entry = [0; 20];
        let start = [
            PROCESSOR,
            cpu,
            LOCAL_APIC_VERSION,
            flags,
            0,
            6,
            0,
            0,
            0x01,
            0x02,
        ];
        entry
            .iter_mut()
            .zip(start)
            .for_each(|(byte, value)| *byte = value);
        add(&entry);
    }
    add(&[BUS, 0, b'I', b'S', b'A', b' ', b' ', b' ']);
    let [a, b, c, d] = IO_APIC.to_le_bytes();
    add(&[IO_APIC_ENTRY, io_apic_id, IO_APIC_VERSION, 1, a, b, c, d]);
    for line in 0..=LAST_IRQ {
        let line = line.to_le_bytes()[0];
        add(&[IO_INTERRUPT, VECTORED, 0, 0, 0, line, io_apic_id, line]);
    }
    add(&[LOCAL_INTERRUPT, EXTERNAL, 0, 0, 0, 0, 0, 0]);
    add(&[LOCAL_INTERRUPT, NON_MASKABLE, 0, 0, 0, 0, 0xff, 1]);

    let mut table = Vec::with_capacity(HEADER + entries.len());
    table.extend_from_slice(b"PCMP");
    let length = u16::try_from(HEADER + entries.len()).unwrap_or(u16::MAX);
    table.extend_from_slice(&length.to_le_bytes());
    table.extend_from_slice(&[4, 0]);
    table.extend_from_slice(b"CORACLE MICROVM     ");
    table.extend_from_slice(&[0; 6]);
    table.extend_from_slice(&count.to_le_bytes());
    table.extend_from_slice(&LOCAL_APIC.to_le_bytes());
    table.extend_from_slice(&[0; 4]);
    table.extend_from_slice(&entries);
    table[7] = checksum(&table);
    table
}

/// Bytes of the table before its entries.
const HEADER: usize = 44;

/// What makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_zero_and_lengths_right() {
        for cpus in [1, 2, 32] {
            let table = table(cpus);
            assert_eq!(
                table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
                0
            );
            assert_eq!(
                usize::from(u16::from_le_bytes([table[4], table[5]])),
                table.len()
            );
            assert_eq!(
                table.len(),
                HEADER + 20 * usize::from(cpus) + 8 * (1 + 1 + 24 + 2)
            );
        }
        assert_eq!(
            pointer(0x9_fc10)
                .iter()
                .fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
            0
        );
    }
}
