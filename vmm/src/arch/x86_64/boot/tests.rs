//! Kernels that were made up, good ones and others.

use std::io::Write;

use linux_loader::loader::elf::start_info::hvm_start_info;
use vm_memory::ByteValued;

use super::*;
use crate::{
    arch::x86_64::{elf, layout},
    virtio::testing::Mapping,
};

const MIB: u64 = 1 << 20;

/// A guest of so many MiB, whose memory costs nothing until it is touched.
fn memory(mib: u64) -> Memory {
    let ranges = layout::memory(mib * MIB).into_iter();
    let ranges: Vec<_> = ranges
        .map(|(start, length)| (GuestAddress(start), usize::try_from(length).unwrap()))
        .collect();
    Memory::from_ranges(&ranges).unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A segment of an ELF file.
#[derive(Clone)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    in_file: u64,
    in_memory: u64,
}

impl Segment {
    /// What is loaded at 16 MiB in good kernels here.
    fn load() -> Self {
        Self {
            kind: 1,
            flags: 7,
            offset: 0x1000,
            address: 16 * MIB,
            in_file: 0x1000,
            in_memory: 0x3000,
        }
    }

    fn note() -> Self {
        Self {
            kind: 4,
            flags: 4,
            offset: 0x800,
            address: 0,
            in_file: 20,
            in_memory: 20,
        }
    }
}

/// An ELF file of 0x2000 bytes, whose note asks for the PVH entry 0x1000010.
fn elf(entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut bytes = vec![0; 0x2000];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &2_u16.to_le_bytes());
    put(18, &62_u16.to_le_bytes());
    put(24, &entry.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &u16::try_from(segments.len()).unwrap().to_le_bytes());
    for (segment, at) in segments.iter().take(32).zip((64..).step_by(56)) {
        put(at, &segment.kind.to_le_bytes());
        put(at + 4, &segment.flags.to_le_bytes());
        put(at + 8, &segment.offset.to_le_bytes());
        put(at + 24, &segment.address.to_le_bytes());
        put(at + 32, &segment.in_file.to_le_bytes());
        put(at + 40, &segment.in_memory.to_le_bytes());
    }
    put(0x800, &4_u32.to_le_bytes());
    put(0x804, &4_u32.to_le_bytes());
    put(0x808, &18_u32.to_le_bytes());
    put(0x80c, b"Xen\0");
    put(0x810, &0x100_0010_u32.to_le_bytes());
    put(0x1000, &[0x90; 0x1000]);
    bytes
}

const ENTRY: u64 = 16 * MIB + 4;

/// A bzImage of one sector of setup and 4 KiB that unpacks to 16 MiB at 16 MiB.
fn bz_image() -> Vec<u8> {
    let mut bytes = vec![0; 1024 + 4096];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0x1f1, &[1]);
    put(0x1fe, &0xaa55_u16.to_le_bytes());
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x236, &3_u16.to_le_bytes());
    put(0x258, &(16 * MIB).to_le_bytes());
    put(0x260, &0x100_0000_u32.to_le_bytes());
    put(1024, &[0x90; 4096]);
    bytes
}

fn load_into(
    memory: &Memory,
    kernel: &[u8],
    initramfs: Option<&[u8]>,
) -> Result<Loaded, BootError> {
    let mut initramfs = initramfs.map(file);
    load(memory, &mut file(kernel), initramfs.as_mut(), "quiet")
}

fn words(kernel: &[u8]) -> String {
    load_into(&memory(64), kernel, None)
        .unwrap_err()
        .to_string()
}

#[test]
fn elf_with_a_pvh_note_is_entered_there() {
    let memory = memory(64);
    let kernel = elf(ENTRY, &[Segment::load(), Segment::note()]);
    let loaded = load_into(&memory, &kernel, Some(&[7; 5000])).unwrap();
    assert_eq!(loaded.entry, Entry::Pvh(GuestAddress(0x100_0010)));
    let code: u8 = memory.read_obj(GuestAddress(16 * MIB + 0xfff)).unwrap();
    assert_eq!(code, 0x90);
    let info: hvm_start_info = memory.read_obj(GuestAddress(PVH_INFO)).unwrap();
    assert_eq!((info.magic, info.nr_modules), (0x336e_c578, 1));
    let module: hvm_modlist_entry = memory.read_obj(GuestAddress(info.modlist_paddr)).unwrap();
    assert_eq!((module.paddr, module.size), (16 * MIB + 0x3000, 5000));
    let last: u8 = memory
        .read_obj(GuestAddress(module.paddr + module.size - 1))
        .unwrap();
    assert_eq!(last, 7);
    let mut text = [0; 6];
    memory
        .read_slice(&mut text, GuestAddress(info.cmdline_paddr))
        .unwrap();
    assert_eq!(&text, b"quiet\0");
}

#[test]
fn whole_pages_that_are_not_for_writing_are_told_as_copies_of_the_file() {
    let read_only = Segment {
        flags: 5,
        in_file: 0xfff,
        ..Segment::load()
    };
    let mut kernel = elf(
        ENTRY,
        &[
            Segment {
                in_file: 0x1800,
                ..read_only.clone()
            },
            // For writing.
            Segment {
                address: 20 * MIB,
                ..Segment::load()
            },
            // In the file otherwise than in memory.
            Segment {
                offset: 0x1010,
                address: 24 * MIB,
                in_file: 0x1000,
                ..read_only.clone()
            },
            Segment {
                address: 24 * MIB + 0x10,
                in_file: 0x1000,
                ..read_only.clone()
            },
            // Not one whole page.
            Segment {
                address: 28 * MIB,
                ..read_only
            },
        ],
    );
    kernel.resize(0x3000, 0x91);
    let memory = memory(64);
    let loaded = load_into(&memory, &kernel, None).unwrap();
    let expected = Copied {
        start: GuestAddress(16 * MIB),
        length: 0x1000,
        offset: 0x1000,
    };
    assert_eq!(loaded.copies, [expected]);
    let byte = |address| memory.read_obj::<u8>(GuestAddress(address)).unwrap();
    let ends = [0xfff, 0x1000, 0x17ff, 0x1800].map(|offset| byte(16 * MIB + offset));
    assert_eq!(ends, [0x90, 0x91, 0x91, 0]);
    assert_eq!([byte(20 * MIB), byte(24 * MIB + 0xfef)], [0x90, 0x90]);
}

#[test]
fn note_is_found_behind_others_and_believed_only_when_it_is_whole() {
    let note = |owner: &[u8], kind: u32, description: &[u8]| {
        let mut bytes = Vec::new();
        for number in [owner.len(), description.len()] {
            bytes.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        bytes.extend(kind.to_le_bytes());
        for part in [owner, description] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    };
    let entry = 0x100_0020_u32.to_le_bytes();
    let other = note(b"GNU\0", 18, &[1; 20]);
    let odd = note(b"Linux\0", 257, &[1; 3]);
    let here = note(b"Xen\0", 18, &entry);
    let wide = note(b"Xen\0", 18, &0x100_0020_u64.to_le_bytes());
    let entered = |notes: &[u8]| {
        let segment = Segment {
            in_file: notes.len() as u64,
            ..Segment::note()
        };
        let mut kernel = elf(ENTRY, &[Segment::load(), segment]);
        kernel[0x800..][..notes.len()].copy_from_slice(notes);
        load_into(&memory(64), &kernel, None).unwrap().entry
    };
    let pvh = Entry::Pvh(GuestAddress(0x100_0020));
    for notes in [
        here.clone(),
        wide,
        [other.clone(), odd, here.clone()].concat(),
    ] {
        assert_eq!(entered(&notes), pvh, "{notes:x?}");
    }
    let without = Entry::Linux64(GuestAddress(ENTRY));
    let endless = [&u32::MAX.to_le_bytes()[..], &[0xff; 60], &here].concat();
    for notes in [
        &here[..here.len() - 1],
        &other,
        &note(b"Xen\0", 17, &entry),
        &note(b"Xen\0", 18, &entry[..3]),
        &endless,
        &[],
    ] {
        assert_eq!(entered(notes), without, "{notes:x?}");
    }
}

#[test]
fn elf_without_a_note_is_entered_in_64_bit_mode() {
    let memory = memory(64);
    let loaded = load_into(&memory, &elf(ENTRY, &[Segment::load()]), None).unwrap();
    assert_eq!(loaded.entry, Entry::Linux64(GuestAddress(ENTRY)));
    let params: boot_params = memory.read_obj(GuestAddress(ZERO_PAGE)).unwrap();
    let (header, size) = (params.hdr.header, params.hdr.ramdisk_size);
    assert_eq!((header, size, params.e820_entries), (0x5372_6448, 0, 2));
}

#[test]
fn bz_image_is_entered_behind_its_setup() {
    let memory = memory(64);
    let loaded = load_into(&memory, &bz_image(), Some(&[1; 10])).unwrap();
    assert_eq!(loaded.entry, Entry::Linux64(GuestAddress(0x10_0200)));
    let params: boot_params = memory.read_obj(GuestAddress(ZERO_PAGE)).unwrap();
    let (image, size) = (params.hdr.ramdisk_image, params.hdr.ramdisk_size);
    assert_eq!((u64::from(image), size), (32 * MIB, 10));
    let command_line = params.hdr.cmd_line_ptr;
    assert_eq!(u64::from(command_line), COMMAND_LINE);
}

#[test]
fn memory_of_each_size_is_told_without_its_holes() {
    for (mib, expected) in [
        (64, vec![(0, 0x9_fc00), (MIB, 63 * MIB)]),
        (3072, vec![(0, 0x9_fc00), (MIB, 3071 * MIB)]),
        (
            3073,
            vec![(0, 0x9_fc00), (MIB, 3071 * MIB), (4096 * MIB, MIB)],
        ),
        (
            65_536,
            vec![(0, 0x9_fc00), (MIB, 3071 * MIB), (4096 * MIB, 62_464 * MIB)],
        ),
    ] {
        let memory = memory(mib);
        assert_eq!(ranges(&memory), expected, "{mib}");
        let kernel = elf(ENTRY, &[Segment::load(), Segment::note()]);
        load_into(&memory, &kernel, None).unwrap();
        let info: hvm_start_info = memory.read_obj(GuestAddress(PVH_INFO)).unwrap();
        assert_eq!(info.memmap_entries as usize, expected.len());
        for ((addr, size), at) in expected.into_iter().zip((info.memmap_paddr..).step_by(24)) {
            let entry: hvm_memmap_table_entry = memory.read_obj(GuestAddress(at)).unwrap();
            assert_eq!((entry.addr, entry.size, entry.type_), (addr, size, RAM));
        }
    }
}

#[test]
fn initial_file_system_follows_the_kernel() {
    let memory = memory(8192);
    let kernel = elf(ENTRY, &[Segment::load(), Segment::note()]);
    load_into(&memory, &kernel, Some(&[1; 4096])).unwrap();
    let info: hvm_start_info = memory.read_obj(GuestAddress(PVH_INFO)).unwrap();
    let module: hvm_modlist_entry = memory.read_obj(GuestAddress(info.modlist_paddr)).unwrap();
    assert_eq!(module.paddr, 16 * MIB + 0x3000);
}

#[test]
fn memory_is_split_at_the_gap() {
    assert_eq!(layout::memory(64 * MIB), [(0, 64 * MIB)]);
    assert_eq!(layout::memory(GAP_START), [(0, GAP_START)]);
    let (start, length) = (layout::GAP_END, 4096);
    assert_eq!(
        layout::memory(GAP_START + 4096),
        [(0, GAP_START), (start, length)]
    );
    let most = u64::from(u32::MAX) * MIB;
    assert_eq!(
        layout::memory(most),
        [(0, GAP_START), (start, most - GAP_START)]
    );
}

#[test]
fn files_that_are_no_kernels_are_refused_in_words() {
    for bytes in [
        &b""[..],
        b"\x7fEL",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"#!/bin/sh\n",
        &[0; 0x10000],
        &[0xff; 0x10000],
    ] {
        let words = words(bytes);
        assert!(
            words.contains("neither an ELF vmlinux nor a bzImage"),
            "{words}"
        );
    }
}

#[test]
fn kernels_cut_at_any_length_are_refused() {
    let memory = memory(64);
    let kernel = elf(ENTRY, &[Segment::load(), Segment::note()]);
    for length in (0..kernel.len()).step_by(61) {
        assert!(
            load_into(&memory, &kernel[..length], None).is_err(),
            "{length}"
        );
    }
    let image = bz_image();
    for length in (0..1024).step_by(61) {
        assert!(
            load_into(&memory, &image[..length], None).is_err(),
            "{length}"
        );
    }
}

#[test]
fn elf_of_another_processor_is_refused() {
    for (at, value) in [(4, 1), (5, 2), (18, 40), (18, 3)] {
        let mut kernel = elf(ENTRY, &[Segment::load()]);
        kernel[at] = value;
        assert!(words(&kernel).contains("another processor"), "{at}");
    }
}

#[test]
fn segments_that_cannot_be_loaded_are_refused() {
    let good = Segment::load();
    let note = Segment::note();
    for (segment, word) in [
        (
            Segment {
                address: 0,
                ..good.clone()
            },
            "0x0 cannot",
        ),
        (
            Segment {
                address: MIB - 1,
                ..good.clone()
            },
            "cannot be loaded",
        ),
        (
            Segment {
                address: u64::MAX,
                ..good.clone()
            },
            "cannot be loaded",
        ),
        (
            Segment {
                in_memory: u64::MAX,
                ..good.clone()
            },
            "cannot be loaded",
        ),
        (
            Segment {
                in_memory: 0xfff,
                ..good.clone()
            },
            "cannot be loaded",
        ),
        (
            Segment {
                address: 0xffff_ffff_8100_0000,
                ..good.clone()
            },
            "no guest has any",
        ),
        (
            Segment {
                in_memory: GAP_START,
                ..good.clone()
            },
            "no guest has any",
        ),
        (
            Segment {
                in_memory: 64 * MIB,
                ..good.clone()
            },
            "give the guest more",
        ),
        (
            Segment {
                address: 64 * MIB,
                ..good.clone()
            },
            "give the guest more",
        ),
        (
            Segment {
                in_file: 0x1001,
                ..good.clone()
            },
            "cut short",
        ),
        (
            Segment {
                in_file: u64::MAX,
                in_memory: u64::MAX,
                ..good.clone()
            },
            "cut short",
        ),
        (
            Segment {
                offset: u64::MAX,
                ..good.clone()
            },
            "cut short",
        ),
        (
            Segment {
                in_file: 0x2000,
                ..note.clone()
            },
            "cut short",
        ),
        (
            Segment {
                offset: u64::MAX - 4,
                ..note.clone()
            },
            "cut short",
        ),
    ] {
        let words = words(&elf(ENTRY, &[good.clone(), segment]));
        assert!(words.contains(word), "{words}");
    }
    let mut kernel = elf(
        ENTRY,
        &[
            good,
            Segment {
                in_file: MIB,
                ..note
            },
        ],
    );
    kernel.resize(2 << 20, 0);
    assert!(words(&kernel).contains("notes have"));
}

#[test]
fn number_of_segments_is_bounded() {
    assert!(words(&elf(ENTRY, &[])).contains("no segments"));
    let many = vec![Segment::load(); 65];
    assert!(words(&elf(ENTRY, &many)).contains("too many"));
    let mut kernel = elf(ENTRY, &[Segment::load()]);
    kernel[54] = 55;
    assert!(words(&kernel).contains("no segments"));
    kernel[54] = 56;
    kernel[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(words(&kernel).contains("cut short"));
}

#[test]
fn entry_outside_of_the_kernel_is_refused() {
    for entry in [0, 16 * MIB - 1, 16 * MIB + 0x3000, u64::MAX] {
        assert!(
            words(&elf(entry, &[Segment::load()])).contains("entry"),
            "{entry:#x}"
        );
    }
    let mut kernel = elf(ENTRY, &[Segment::load(), Segment::note()]);
    for entry in [0_u32, 0x7fff_ffff, u32::MAX] {
        kernel[0x810..0x814].copy_from_slice(&entry.to_le_bytes());
        assert!(words(&kernel).contains("entry"), "{entry:#x}");
    }
}

#[test]
fn bz_image_that_cannot_be_booted_is_refused() {
    for (at, bytes, word) in [
        (0x202, &b"HdrX"[..], "neither"),
        (0x206, &[0x0b, 2], "64-bit"),
        (0x211, &[0], "64-bit"),
        (0x236, &[2], "64-bit"),
        (0x1f1, &[0xff], "cut short"),
        (0x1f1, &[9], "cut short"),
        (0x214, &[0, 0, 1, 0], "0x10000"),
        (0x258, &[0xff; 8], "wants to be"),
        (0x258, &[0, 0, 0, 0, 1], "no guest"),
        (0x260, &[0xff; 4], "no guest"),
        (0x260, &[0, 0, 0, 8], "give the guest more"),
    ] {
        let mut image = bz_image();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        let words = words(&image);
        assert!(words.contains(word), "{at:#x}: {words}");
    }
}

#[test]
fn initial_file_system_does_not_stand_where_the_kernel_unpacks_itself() {
    // 16 MiB at 16 MiB: 32 are free.
    let memory = memory(64);
    let most = vec![1; 32 << 20];
    load_into(&memory, &bz_image(), Some(&most)).unwrap();
    let more = vec![1; (32 << 20) + 1];
    let error = load_into(&memory, &bz_image(), Some(&more)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("initial RAM file system does not fit")
    );
}

#[test]
fn initial_file_system_that_is_empty_or_none_is_refused_in_words() {
    let memory = memory(64);
    let error = load_into(&memory, &bz_image(), Some(&[])).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    let mut directory = File::open("/").unwrap();
    let error = load(&memory, &mut file(&bz_image()), Some(&mut directory), "");
    assert!(error.unwrap_err().to_string().contains("initial RAM"));
    let error = load(&memory, &mut File::open("/").unwrap(), None, "").unwrap_err();
    assert!(error.to_string().contains("kernel"), "{error}");
    let mut zeros = File::open("/dev/zero").unwrap();
    assert!(load(&memory, &mut zeros, None, "").is_err());
}

#[test]
fn command_line_has_a_limit() {
    let memory = memory(64);
    let line = |length| {
        let text = "x".repeat(length);
        load(&memory, &mut file(&bz_image()), None, &text)
    };
    line(2047).unwrap();
    let error = line(2048).unwrap_err().to_string();
    assert!(error.contains("2048") && error.contains("2047"), "{error}");
}

#[test]
fn header_structures_are_as_large_as_they_are_written() {
    assert_eq!(hvm_memmap_table_entry::default().as_slice().len(), 24);
    assert!(hvm_start_info::default().as_slice().len() <= 0x40);
    // The list of modules and the map do not reach the next table.
    const { assert!(PVH_INFO + 0x80 + 24 * 8 < ZERO_PAGE) };
}

#[test]
fn blocks_that_a_kernel_hardly_touches_are_hollow() {
    let kernel = |ranges: &[(u64, u64)]| {
        let ranges: Vec<_> = ranges.iter().map(|(start, end)| *start..*end).collect();
        let hollows = elf::hollows(&ranges).into_iter();
        hollows
            .map(|block| (block.start, block.end))
            .collect::<Vec<_>>()
    };
    let entry = (22 * MIB, 22 * MIB + 0x3000);
    // Text of 5.4 MiB, the entries' page on a large page's boundary, constants, and data to the end.
    let linux = [
        (16 * MIB, 21 * MIB + 0x6_0000),
        entry,
        (24 * MIB, 28 * MIB + 0x1000),
    ];
    assert_eq!(kernel(&linux), [(22 * MIB, 24 * MIB)]);
    // What follows the last byte is the kernel's to use, and what precedes the first is not its own.
    assert_eq!(kernel(&linux[..2]), []);
    assert_eq!(
        kernel(&[(16 * MIB, 16 * MIB + 0x1000), (18 * MIB, 19 * MIB)]),
        [(16 * MIB, 18 * MIB)]
    );
    assert_eq!(kernel(&[]), []);
}

#[test]
fn hollows_are_made_of_small_pages() {
    let memory = memory(64);
    let mut segments = [Segment::load(), Segment::load(), Segment::note()];
    segments[1].address = 20 * MIB;
    load_into(&memory, &elf(ENTRY, &segments), None).unwrap();
    let flags = |address| Mapping::at(&memory, address).field("VmFlags").to_owned();
    // `nh`: not in huge pages (Linux, Documentation/filesystems/proc.rst).
    assert!(flags(16 * MIB).contains(" nh"), "{}", flags(16 * MIB));
    assert!(!flags(18 * MIB).contains(" nh"), "{}", flags(18 * MIB));
    assert!(!flags(20 * MIB).contains(" nh"), "{}", flags(20 * MIB));
}
