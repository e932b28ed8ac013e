//! Files that come to a disk while its driver uses it, and go.

use contracts::monitor::MAX_EXTENTS;

use super::*;

/// A disk of eight sectors of zeros.
fn empty() -> (Driver, Handle) {
    let block = Block::new(vec![(Content::Zeros, 4096)], true, 1);
    let handle = block.handle();
    let mut driver = Driver::new(Box::new(block));
    driver.start(EVENT_IDX);
    (driver, handle)
}

#[test]
fn file_is_read_where_it_was_inserted_and_zeros_around_it() {
    let (mut driver, disk) = empty();
    disk.insert(1024, 1024, file(&[7; 1024])).unwrap();
    disk.insert(3584, 512, file(&[8; 512])).unwrap();
    assert_eq!(
        read(&mut driver, 0, 4096),
        sectors(&[0, 0, 7, 7, 0, 0, 0, 8])
    );
}

#[test]
fn place_can_be_used_again_after_the_file_was_removed() {
    let (mut driver, disk) = empty();
    disk.insert(512, 512, file(&[7; 512])).unwrap();
    disk.insert(1024, 512, file(&[8; 512])).unwrap();
    disk.remove(512, 512).unwrap();
    assert_eq!(read(&mut driver, 0, 2048), sectors(&[0, 0, 8, 0]));
    disk.remove(1024, 512).unwrap();
    // Larger than any of the two: the zeros are one run again.
    disk.insert(0, 4096, file(&[9; 4096])).unwrap();
    assert_eq!(read(&mut driver, 0, 4096), sectors(&[9; 8]));
}

#[test]
fn size_of_the_disk_stays_what_the_driver_read() {
    let (driver, disk) = empty();
    disk.insert(0, 512, file(&[7; 512])).unwrap();
    let at = register::CONFIGURATION;
    assert_eq!((driver.read(at), driver.read(at + 4)), (8, 0));
}

#[test]
fn place_that_is_taken_outside_or_no_sectors_is_refused() {
    let (mut driver, disk) = empty();
    disk.insert(1024, 1024, file(&[7; 1024])).unwrap();
    for (start, length) in [
        (1024, 1024),
        (1536, 512),
        (512, 1024),
        (0, 4096),
        (4096, 512),
        (3584, 1024),
        (u64::MAX - 511, 512),
    ] {
        let refused = disk.insert(start, length, file(&[8; 512]));
        assert_eq!(refused, Err(PlaceError::Taken { start, length }));
    }
    for (start, length) in [(0, 0), (1, 512), (0, 511)] {
        let refused = disk.insert(start, length, file(&[8; 512]));
        assert_eq!(refused, Err(PlaceError::Sectors { start, length }));
    }
    assert_eq!(
        read(&mut driver, 0, 4096),
        sectors(&[0, 0, 7, 7, 0, 0, 0, 0])
    );
}

#[test]
fn only_what_was_inserted_is_removed() {
    let block = Block::new(
        vec![(Content::Bytes(vec![1; 512]), 512), (Content::Zeros, 512)],
        true,
        1,
    );
    let disk = block.handle();
    for (start, length) in [(0, 512), (512, 512), (0, 1024), (2048, 512)] {
        let refused = disk.remove(start, length);
        assert_eq!(refused, Err(PlaceError::Empty { start, length }));
    }
}

#[test]
fn writable_disk_keeps_its_file() {
    let content = Content::File {
        file: file(&[1; 1024]),
        offset: 0,
    };
    let disk = Block::new(vec![(content, 1024)], false, 1).handle();
    assert_eq!(
        disk.insert(0, 512, file(&[2; 512])),
        Err(PlaceError::Writable)
    );
    assert_eq!(disk.remove(0, 1024), Err(PlaceError::Writable));
}

#[test]
fn disk_has_no_more_extents_than_a_plan_may_give_it() {
    let disk = Block::new(vec![(Content::Zeros, 1 << 30)], true, 1).handle();
    let files = (0..).map(|index| disk.insert(index * 1024, 512, file(&[1; 512])));
    let inserted = files.take_while(Result::is_ok).count();
    assert_eq!(inserted, MAX_EXTENTS / 2);
    assert_eq!(
        disk.insert(512, 512, file(&[1; 512])),
        Err(PlaceError::Full)
    );
}
