//! Disks that the guest may write.

use std::{
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
};

use super::*;

const SIZE: u64 = 1 << 20;

/// A writable disk in the middle of a file, and that file.
fn scene() -> (Driver, File) {
    let file = file(&vec![0xdd; 3 << 20]);
    let content = Content::File {
        file: file.try_clone().unwrap(),
        offset: SIZE,
    };
    let mut driver = Driver::new(Box::new(Block::new(vec![(content, SIZE)], false, 2)));
    driver.start(EVENT_IDX | SEVERAL_QUEUES);
    (driver, file)
}

fn in_file(file: &File, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// What is beside the disk in its file.
fn assert_rest_untouched(file: &File) {
    assert_eq!(file.metadata().unwrap().len(), 3 << 20);
    assert_eq!(in_file(file, 0, 1 << 20), vec![0xdd; 1 << 20]);
    assert_eq!(in_file(file, 2 << 20, 1 << 20), vec![0xdd; 1 << 20]);
}

fn range(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    let mut bytes = sector.to_le_bytes().to_vec();
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes
}

fn give_back(driver: &mut Driver, kind: u32, bytes: &[u8]) -> u8 {
    let data = driver.data(bytes);
    let (status, written) = request(driver, kind, 0, &[data]);
    assert_eq!(written, 1);
    status
}

#[test]
fn what_is_written_is_read_and_in_the_file() {
    let (mut driver, file) = scene();
    let data = [driver.data(&[7; 300]), driver.data(&[8; 724])];
    assert_eq!(request(&mut driver, OUT, 3, &data), (GOOD, 1));
    let expected: Vec<u8> = [7; 300].into_iter().chain([8; 724]).collect();
    assert_eq!(read(&mut driver, 3, 1024), expected);
    assert_eq!(in_file(&file, SIZE + 3 * 512, 1024), expected);
    assert_rest_untouched(&file);
}

#[test]
fn writing_and_flushing_are_offered_and_work_on_each_queue() {
    let (mut driver, _file) = scene();
    let offered = driver.offered();
    assert_eq!(offered & READ_ONLY, 0);
    let all = FLUSH | DISCARD | WRITE_ZEROES | SEVERAL_QUEUES;
    assert_eq!(offered & all, all);
    for queue in [0, 1] {
        let answer = request_on(&mut driver, queue, &header(FLUSH_OUT, 0), &[]);
        assert_eq!(answer, (GOOD, 1));
    }
}

#[test]
fn last_sector_can_be_written_and_none_after_it() {
    let (mut driver, file) = scene();
    let last = SIZE / 512 - 1;
    let (one, two) = (driver.data(&[9; 512]), driver.data(&[9; 1024]));
    assert_eq!(request(&mut driver, OUT, last, &[one]), (GOOD, 1));
    for (sector, data) in [
        (last + 1, one),
        (last, two),
        (u64::MAX, one),
        (u64::MAX / 512, one),
        (1 << 55, one),
    ] {
        assert_eq!(request(&mut driver, OUT, sector, &[data]), (BAD, 1));
    }
    assert_rest_untouched(&file);
}

#[test]
fn discarded_sectors_give_their_space_back() {
    let (mut driver, file) = scene();
    let before = file.metadata().unwrap().blocks();
    let status = give_back(&mut driver, DISCARD_RANGE, &range(8, 1024, 0));
    assert_eq!(status, GOOD);
    assert_eq!(read(&mut driver, 8, 512 * 1024), vec![0; 512 * 1024]);
    assert!(file.metadata().unwrap().blocks() < before);
    assert_rest_untouched(&file);
}

#[test]
fn zeroed_sectors_are_zero_whether_they_may_be_holes_or_not() {
    for flags in [0, 1] {
        let (mut driver, file) = scene();
        let status = give_back(&mut driver, ZERO_RANGE, &range(1, 2047, flags));
        assert_eq!(status, GOOD);
        assert_eq!(read(&mut driver, 0, 512), [0xdd; 512]);
        assert_eq!(read(&mut driver, 1, 2047 * 512), vec![0; 2047 * 512]);
        assert_rest_untouched(&file);
    }
}

#[test]
fn zeros_are_written_where_a_file_has_no_holes() {
    let (_driver, file) = scene();
    disk::write_zeros(&file, 1, (1 << 20) + 5).unwrap();
    assert_eq!(in_file(&file, 0, 1), [0xdd]);
    assert_eq!(in_file(&file, 1, (1 << 20) + 5), vec![0; (1 << 20) + 5]);
    assert_eq!(in_file(&file, (1 << 20) + 6, 1), [0xdd]);
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let (mut driver, file) = scene();
    let most = MAX_DISCARD_SECTORS;
    for (bytes, expected) in [
        (range(0, 0, 0), GOOD),
        (range(0, 8, 2), UNKNOWN),
        (range(2047, 2, 0), BAD),
        (range(2048, 1, 0), BAD),
        (range(0, most + 1, 0), BAD),
        (range(0, u32::MAX, 0), BAD),
        (range(u64::MAX, 1, 0), BAD),
        (range(u64::MAX / 512, u32::MAX, 0), BAD),
        (vec![0; 15], BAD),
        (vec![0; 17], BAD),
        (vec![0; 32], BAD),
    ] {
        for kind in [DISCARD_RANGE, ZERO_RANGE] {
            assert_eq!(give_back(&mut driver, kind, &bytes), expected, "{bytes:?}");
        }
    }
    let unmap = range(0, 8, 1);
    assert_eq!(give_back(&mut driver, DISCARD_RANGE, &unmap), UNKNOWN);
    assert_eq!(request(&mut driver, ZERO_RANGE, 0, &[]), (BAD, 1));
    let room = driver.room(16);
    assert_eq!(request(&mut driver, ZERO_RANGE, 0, &[room]), (BAD, 1));
    assert_eq!(in_file(&file, 0, 3 << 20), vec![0xdd; 3 << 20]);
}

#[test]
fn one_request_discards_or_zeroes_a_bounded_number_of_sectors() {
    let file = tempfile::tempfile().unwrap();
    let size = 2 * u64::from(MAX_DISCARD_SECTORS) * 512;
    file.set_len(size).unwrap();
    let content = vec![(Content::File { file, offset: 0 }, size)];
    let mut driver = Driver::new(Box::new(Block::new(content, false, 1)));
    driver.start(0);
    for (kind, most) in [
        (DISCARD_RANGE, MAX_DISCARD_SECTORS),
        (ZERO_RANGE, MAX_ZEROES_SECTORS),
    ] {
        assert_eq!(give_back(&mut driver, kind, &range(0, most, 0)), GOOD);
        assert_eq!(give_back(&mut driver, kind, &range(0, most + 1, 0)), BAD);
    }
}

#[test]
fn reset_drops_no_write_that_was_answered() {
    let (mut driver, file) = scene();
    let data = driver.data(&[4; 512]);
    assert_eq!(request(&mut driver, OUT, 0, &[data]), (GOOD, 1));
    driver.reset();
    driver.start(0);
    assert_eq!(read(&mut driver, 0, 512), [4; 512]);
    assert_eq!(in_file(&file, SIZE, 512), [4; 512]);
}

#[test]
fn file_that_cannot_be_written_is_an_error_to_the_guest_and_told_to_the_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    // Open for reading only, as a disk without space is for all that counts.
    let content = Content::File {
        file: File::open(&path).unwrap(),
        offset: 0,
    };
    let block = Block::new(vec![(content, SIZE)], false, 1);
    let handle = block.handle();
    let mut driver = Driver::new(Box::new(block));
    driver.start(EVENT_IDX);
    assert_eq!(handle.failure(), None);
    let data = [driver.data(&[7; 512])];
    let (status, _) = request(&mut driver, OUT, 0, &data);
    assert_ne!(status, GOOD);
    assert!(handle.failure().unwrap().contains("descriptor"));
}
