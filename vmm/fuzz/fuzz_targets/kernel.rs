//! A hostile kernel file and initial RAM file system: refused or loaded, within the memory there is.
#![no_main]

use std::{fs::File, io::Write};

use libfuzzer_sys::fuzz_target;
use vm_memory::{GuestAddress, GuestMemoryBackend};
use vmm::{
    arch::this::{Entry, load},
    virtio::Memory,
};

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("space");
    file
}

/// A guest that small kernels fit into.
const SIZE: usize = 64 << 20;

fuzz_target!(|input: (u8, &[u8], &str, &[u8])| {
    let (kind, initramfs, command_line, kernel) = input;
    let mut kernel = kernel.to_vec();
    // Most inputs should come further than the first check.
    match kind % 4 {
        0 => {
            kernel.resize(kernel.len().max(0x1000), 0);
            kernel[..6].copy_from_slice(b"\x7fELF\x02\x01");
            kernel[18..20].copy_from_slice(&[62, 0]);
            kernel[32..40].copy_from_slice(&64_u64.to_le_bytes());
            let segments = kernel[56] % 8;
            kernel[54..58].copy_from_slice(&[56, 0, segments, 0]);
        }
        1 => {
            kernel.resize(kernel.len().max(0x1000), 0);
            kernel[0x202..0x206].copy_from_slice(b"HdrS");
            kernel[0x206..0x208].copy_from_slice(&[0x0f, 2]);
            kernel[0x211] |= 1;
            kernel[0x236] |= 1;
        }
        _ => {}
    }
    let memory = Memory::from_ranges(&[(GuestAddress(0), SIZE)]).expect("memory");
    let mut initramfs = Some(initramfs).filter(|bytes| !bytes.is_empty()).map(file);
    match load(&memory, &mut file(&kernel), initramfs.as_mut(), command_line) {
        Ok(loaded) => {
            let (Entry::Pvh(entry) | Entry::Linux64(entry)) = loaded.entry;
            assert!(memory.address_in_range(entry), "{loaded:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
