//! The smallest files that pass as kernels.

/// An ELF header, a loadable segment, and the note with the PVH entry point.
pub(in crate::kernel) fn pvh_elf() -> Vec<u8> {
    elf(62, &note(b"Xen\0", 18))
}

/// An ELF note.
pub(super) fn note(name: &[u8; 4], kind: u32) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4_u32, 4, kind] {
        note.extend(word.to_le_bytes());
    }
    note.extend(name);
    note.extend(0x100_0000_u32.to_le_bytes());
    note
}

/// An ELF executable for a machine, with a banner to load and these notes.
pub(super) fn elf(machine: u16, notes: &[u8]) -> Vec<u8> {
    let banner = b"%s version %s\0Linux version %s\0Linux version 6.12.7-test (user@host) #1\0";
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [0x100_0000_u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let data = 64 + 2 * 56;
    let banner_size = banner.len() as u64;
    for (kind, offset, size) in [
        (4_u32, data + banner_size, notes.len() as u64),
        (1, data, banner_size),
    ] {
        file.extend(kind.to_le_bytes());
        file.extend(5_u32.to_le_bytes());
        for word in [offset, 0, 0x100_0000, size, size, 4] {
            file.extend(word.to_le_bytes());
        }
    }
    file.extend(banner);
    file.extend(notes);
    file
}

/// A boot sector, one more sector with the release, and a paragraph of code.
pub(super) fn bz_image() -> Vec<u8> {
    let mut file = vec![0; 3 * 512];
    file[0x1f1] = 1;
    file[0x1f4..0x1f8].copy_from_slice(&32_u32.to_le_bytes());
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    file[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    file[0x236] = 1;
    file[0x300..0x310].copy_from_slice(b"6.1.0-9 (x@y) #1");
    file
}
