//! Disks for good drivers and bad ones.

mod hostile;
mod places;
mod writable;

use std::fs::File;

use super::{request::Header, *};
use crate::virtio::testing::{Buffer, Driver, EVENT_IDX, register};

/// Requests and their answers, as a driver sees them.
pub(super) const IN: u32 = 0;
pub(super) const OUT: u32 = 1;
pub(super) const FLUSH_OUT: u32 = 4;
pub(super) const GET_ID: u32 = 8;
pub(super) const DISCARD_RANGE: u32 = 11;
pub(super) const ZERO_RANGE: u32 = 13;

pub(super) const GOOD: u8 = 0;
pub(super) const BAD: u8 = 1;
pub(super) const UNKNOWN: u8 = 2;
/// What stands where no status was written.
pub(super) const NONE: u8 = 0xff;

pub(super) fn file(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
    file
}

pub(super) fn header(kind: u32, sector: u64) -> Vec<u8> {
    let header = Header {
        kind,
        reserved: 0,
        sector,
    };
    vm_memory::ByteValued::as_slice(&header).to_vec()
}

/// Sends a request through a queue; gives its status and the bytes that were written.
pub(super) fn request_on(
    driver: &mut Driver,
    queue: u16,
    header: &[u8],
    data: &[Buffer],
) -> (u8, u32) {
    let header = driver.data(header);
    let status = driver.data(&[NONE]);
    let mut chain = vec![header];
    chain.extend(data);
    chain.push(Buffer::writable(status.address, 1));
    let head = driver.add(queue, &chain);
    driver.kick(queue);
    let (used, written) = driver.used(queue).unwrap();
    assert_eq!(used, head);
    (driver.get(status.address, 1)[0], written)
}

pub(super) fn request(driver: &mut Driver, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
    request_on(driver, 0, &header(kind, sector), data)
}

pub(super) fn read(driver: &mut Driver, sector: u64, length: u32) -> Vec<u8> {
    let room = driver.room(length);
    let answer = request(driver, IN, sector, &[room]);
    assert_eq!(answer, (GOOD, length + 1));
    driver.get(room.address, length as usize)
}

/// A disk of four extents and 11 sectors: ones, a piece of a file, nothing, twos.
pub(super) fn joined() -> Driver {
    let mut pattern = vec![0xee; 512];
    pattern.extend((0..2048_u32).map(|index| (index / 512 + 10).to_le_bytes()[0]));
    let content = vec![
        (Content::Bytes(vec![1; 1024]), 1024),
        (
            Content::File {
                file: file(&pattern),
                offset: 512,
            },
            2048,
        ),
        (Content::Zeros, 1536),
        (Content::Bytes(vec![2; 1024]), 1024),
    ];
    let mut driver = Driver::new(Box::new(Block::new(content, true, 1)));
    driver.start(EVENT_IDX);
    driver
}

fn sectors(values: &[u8]) -> Vec<u8> {
    values.iter().flat_map(|value| [*value; 512]).collect()
}

#[test]
fn configuration_says_how_large_the_disk_is_and_what_it_can() {
    let driver = joined();
    let at = register::CONFIGURATION;
    assert_eq!((driver.read(at), driver.read(at + 4)), (11, 0));
    assert_eq!(driver.read(at + 12), 254);
    let offered = driver.offered();
    assert_eq!(offered & (READ_ONLY | FLUSH), READ_ONLY | FLUSH);
    assert_eq!(offered & (DISCARD | WRITE_ZEROES), 0);
}

#[test]
fn reads_cross_the_boundaries_of_extents() {
    let mut driver = joined();
    let all = sectors(&[1, 1, 10, 11, 12, 13, 0, 0, 0, 2, 2]);
    assert_eq!(read(&mut driver, 0, 11 * 512), all);
    for first in 0..11 {
        for last in first..11 {
            let length = u32::try_from((last - first + 1) * 512).unwrap();
            let read = read(&mut driver, first as u64, length);
            assert_eq!(read, all[first * 512..(last + 1) * 512], "{first} {last}");
        }
    }
}

#[test]
fn one_read_goes_to_many_buffers_of_any_size() {
    let mut driver = joined();
    let rooms = [100, 1, 923, 512, 24, 1000].map(|length| driver.room(length));
    let answer = request(&mut driver, IN, 1, &rooms);
    assert_eq!(answer, (GOOD, 2561));
    let together: Vec<u8> = rooms
        .iter()
        .flat_map(|room| driver.get(room.address, room.length as usize))
        .collect();
    assert_eq!(together, sectors(&[1, 10, 11, 12, 13]));
}

#[test]
fn indirect_request_is_served() {
    let mut driver = joined();
    let header = driver.data(&header(IN, 9));
    let rooms = [driver.room(512), driver.room(512), driver.room(1)];
    driver.add_indirect(0, &[header, rooms[0], rooms[1], rooms[2]]);
    driver.kick(0);
    assert_eq!(driver.used(0).unwrap().1, 1025);
    assert_eq!(driver.get(rooms[1].address, 512), [2; 512]);
    assert_eq!(driver.get(rooms[2].address, 1), [GOOD]);
}

#[test]
fn zeros_overwrite_what_the_buffer_held() {
    let mut driver = joined();
    let room = driver.data(&[0xff; 512]);
    let room = Buffer::writable(room.address, 512);
    assert_eq!(request(&mut driver, IN, 7, &[room]), (GOOD, 513));
    assert_eq!(driver.get(room.address, 512), [0; 512]);
}

#[test]
fn identifier_is_told() {
    let mut driver = joined();
    let room = driver.room(20);
    assert_eq!(request(&mut driver, GET_ID, 0, &[room]), (GOOD, 21));
    assert_eq!(driver.get(room.address, 7), *b"coracle");
}

#[test]
fn file_that_became_shorter_is_an_error_of_that_read() {
    let short = file(&[5; 1024]);
    let content = Content::File {
        file: short.try_clone().unwrap(),
        offset: 0,
    };
    let mut driver = Driver::new(Box::new(Block::new(vec![(content, 1024)], true, 1)));
    driver.start(0);
    short.set_len(512).unwrap();
    let room = driver.room(512);
    assert_eq!(request(&mut driver, IN, 1, &[room]), (BAD, 1));
    assert_eq!(read(&mut driver, 0, 512), [5; 512]);
}

#[test]
fn every_queue_serves_and_as_many_as_processors_are_there() {
    for (cpus, queues) in [(1, 1), (2, 2), (3, 3), (4, 4), (32, 4)] {
        let content = vec![(Content::Bytes(vec![3; 512]), 512)];
        let mut driver = Driver::new(Box::new(Block::new(content, true, cpus)));
        let at = register::CONFIGURATION + 34;
        let mut told = [0; 2];
        driver.read_bytes(at, &mut told);
        assert_eq!(u16::from_le_bytes(told), queues);
        // The feature is offered where there are several: the driver refuses what is not.
        driver.start(if queues > 1 { SEVERAL_QUEUES } else { 0 });
        for queue in 0..queues {
            let room = driver.room(512);
            let answer = request_on(&mut driver, queue, &header(IN, 0), &[room]);
            assert_eq!(answer, (GOOD, 513));
            assert_eq!(driver.get(room.address, 512), [3; 512]);
        }
    }
}

#[test]
fn full_ring_is_served_at_one_notification() {
    let mut driver = joined();
    let header = driver.data(&header(IN, 0));
    let room = driver.room(512);
    let status = driver.room(1);
    for _ in 0..256 {
        driver.add_indirect(0, &[header, room, status]);
    }
    driver.kick(0);
    let served = std::iter::from_fn(|| driver.used(0));
    assert_eq!(served.map(|(_, written)| written).sum::<u32>(), 256 * 513);
}

#[test]
fn reset_in_the_middle_drops_requests_and_the_disk_works_again() {
    let mut driver = joined();
    let header = driver.data(&header(IN, 0));
    let (room, status) = (driver.room(512), driver.data(&[NONE]));
    driver.add(0, &[header, room, Buffer::writable(status.address, 1)]);
    driver.notify(0);
    driver.reset();
    driver.run();
    assert_eq!(driver.get(status.address, 1), [NONE]);
    driver.start(0);
    assert_eq!(read(&mut driver, 0, 512), [1; 512]);
}
