#![expect(unsafe_code, reason = "asks which memory is there")]

use std::{fs, io::Write, os::unix::fs::PermissionsExt};

use tempfile::NamedTempFile;
use vm_memory::Bytes;

use super::*;
use crate::virtio::testing::Mapping;

const START: u64 = 0x10_0000;

/// A file of pages, each filled with its number from 1 on, that nobody may write to.
fn pages(count: u8) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for number in 1..=count {
        file.write_all(&[number; PAGE]).unwrap();
    }
    permit(&file, 0o444);
    file
}

fn permit(file: &NamedTempFile, mode: u32) {
    fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
}

/// A guest's memory into which the file was read from its second page on.
fn guest(file: &NamedTempFile) -> (Memory, Copied) {
    let memory = Memory::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap();
    let bytes = fs::read(file.path()).unwrap();
    let copied = Copied {
        start: GuestAddress(START),
        length: (bytes.len() - PAGE) as u64,
        offset: PAGE as u64,
    };
    memory
        .write_slice(&bytes[PAGE..], GuestAddress(START))
        .unwrap();
    (memory, copied)
}

fn sharing(memory: &Memory, file: &NamedTempFile, copied: &Copied) -> Sharing {
    let idle = Arc::new(AtomicBool::new(false));
    Sharing::new(memory, file.reopen().unwrap(), vec![copied.clone()], &idle)
}

/// The first line of the mapping that holds a guest's address, and KiB of it that are the process's own.
fn own(memory: &Memory, address: u64) -> (String, u64) {
    let mapping = Mapping::at(memory, address);
    let kib = mapping.field("Anonymous").trim().strip_suffix(" kB");
    (mapping.first().to_owned(), kib.unwrap().parse().unwrap())
}

#[test]
fn pages_that_are_as_the_file_has_them_become_the_files() {
    let file = pages(9);
    let (memory, copied) = guest(&file);
    memory.write_obj(0xee_u8, GuestAddress(START + 5)).unwrap();
    let last = START + 7 * PAGE as u64 + 4095;
    memory.write_obj(0xdd_u8, GuestAddress(last)).unwrap();
    let mut before = vec![0; 16 * PAGE];
    let around = GuestAddress(START - 4 * PAGE as u64);
    memory.read_slice(&mut before, around).unwrap();

    sharing(&memory, &file, &copied).share();

    let mut after = vec![0; before.len()];
    memory.read_slice(&mut after, around).unwrap();
    assert!(before == after, "the guest sees what it saw");
    let name = file.path().to_str().unwrap();
    let (mapping, kib) = own(&memory, START);
    assert!(mapping.ends_with(name), "{mapping}");
    assert_eq!(kib, 8, "two pages of eight were changed");
    for beside in [START - 1, START + 8 * PAGE as u64] {
        assert!(!own(&memory, beside).0.ends_with(name));
    }
    // What is written after that is the guest's own too.
    memory
        .write_obj(0xcc_u8, GuestAddress(START + 3 * PAGE as u64))
        .unwrap();
    assert_eq!(own(&memory, START).1, 12);
    let bytes = fs::read(file.path()).unwrap();
    assert!(
        bytes
            .chunks(PAGE)
            .zip(1..)
            .all(|(page, number)| page == [number; PAGE])
    );
}

#[test]
fn nothing_is_shared_before_it_is_time() {
    let file = pages(2);
    let (memory, copied) = guest(&file);
    let idle = Arc::new(AtomicBool::new(false));
    let sharing = Sharing::new(&memory, file.reopen().unwrap(), vec![copied], &idle);
    assert!(!sharing.due());
    idle.store(true, Ordering::Relaxed);
    assert!(sharing.due());
}

#[test]
fn file_that_may_change_is_not_shared() {
    let file = pages(3);
    let name = file.path().to_str().unwrap();
    let (memory, copied) = guest(&file);
    permit(&file, 0o644);
    sharing(&memory, &file, &copied).share();
    assert!(!own(&memory, START).0.ends_with(name));
    permit(&file, 0o444);
    sharing(&memory, &file, &copied).share();
    assert!(own(&memory, START).0.ends_with(name));
}

#[test]
fn what_is_not_whole_in_the_file_is_not_shared() {
    let file = pages(3);
    let name = file.path().to_str().unwrap();
    let (memory, copied) = guest(&file);
    let beyond = Copied {
        offset: copied.offset + PAGE as u64,
        ..copied.clone()
    };
    let nowhere = Copied {
        offset: u64::MAX,
        ..copied
    };
    for copied in [beyond, nowhere] {
        sharing(&memory, &file, &copied).share();
        assert!(!own(&memory, START).0.ends_with(name));
    }
}

#[test]
fn range_that_is_not_the_guests_memory_is_left_alone() {
    let file = pages(9);
    let (memory, copied) = guest(&file);
    let outside = Copied {
        start: GuestAddress((4 << 20) - PAGE as u64),
        ..copied
    };
    sharing(&memory, &file, &outside).share();
    let byte: u8 = memory.read_obj(outside.start).unwrap();
    assert_eq!(byte, 0);
    assert!(
        !own(&memory, outside.start.0)
            .0
            .ends_with(file.path().to_str().unwrap())
    );
}

/// How many of the pages from a guest's address on are there.
fn there(memory: &Memory, address: u64, pages: usize) -> usize {
    let at = memory.get_host_address(GuestAddress(address)).unwrap();
    let mut found = vec![0_u8; pages];
    // SAFETY: the pages are mapped, and each has its byte.
    let result = unsafe { libc::mincore(at.cast(), pages * PAGE, found.as_mut_ptr()) };
    assert_eq!(result, 0);
    found.iter().filter(|each| *each & 1 != 0).count()
}

#[test]
fn pages_that_hold_nothing_are_given_back_and_no_others() {
    let file = pages(5);
    let (memory, copied) = guest(&file);
    // A page of the copy that is all zeros now, where the file has something.
    let blank = GuestAddress(START + PAGE as u64);
    memory.write_slice(&[0; PAGE], blank).unwrap();
    let area = 0x20_0000;
    memory
        .write_slice(&vec![0; 64 * PAGE], GuestAddress(area))
        .unwrap();
    for (page, offset) in [(3, 0), (7, 4095), (8, 2000), (63, 1)] {
        let at = area + page * PAGE as u64 + offset;
        memory.write_obj(1_u8, GuestAddress(at)).unwrap();
    }
    assert_eq!(there(&memory, area, 64), 64);
    let all = GuestAddress(0);
    let mut before = vec![0; 4 << 20];
    memory.read_slice(&mut before, all).unwrap();

    sharing(&memory, &file, &copied).share();

    assert_eq!(there(&memory, area, 64), 4);
    let mut after = vec![0; before.len()];
    memory.read_slice(&mut after, all).unwrap();
    assert!(before == after, "the guest sees what it saw");
}

#[test]
fn pieces_are_large_pages_without_what_is_shared() {
    let memory = |mib: usize| Memory::from_ranges(&[(GuestAddress(0), mib << 20)]).unwrap();
    let copied = |start, length| Copied {
        start: GuestAddress(start),
        length,
        offset: 0,
    };
    let mib = 1 << 20;
    assert_eq!(
        pieces(&memory(7), &[]),
        [0..2 * mib, 2 * mib..4 * mib, 4 * mib..6 * mib]
    );
    let across = copied(mib, 2 * mib + 4096);
    let last = copied(5 * mib, 64 * mib);
    assert_eq!(
        pieces(&memory(6), &[across, last]),
        [0..mib, 3 * mib + 4096..4 * mib, 4 * mib..5 * mib]
    );
    assert_eq!(pieces(&memory(1024), &[]).len(), 32);
    assert_eq!(pieces(&memory(1), &[]), []);
}
