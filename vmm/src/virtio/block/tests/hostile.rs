//! Requests that no honest driver makes.

use std::{fs::File, os::unix::fs::FileExt};

use super::*;
use crate::virtio::testing::{MEMORY, NEXT, Raw, WRITE};

/// The disk still serves a plain request.
fn assert_works(driver: &mut Driver) {
    assert_eq!(read(driver, 0, 512), [1; 512]);
}

#[test]
fn read_only_disk_refuses_to_be_changed_whatever_the_file_allows() {
    let file = file(&[1; 4096]);
    let content = Content::File {
        file: file.try_clone().unwrap(),
        offset: 0,
    };
    let mut driver = Driver::new(Box::new(Block::new(vec![(content, 4096)], true, 1)));
    driver.start(0);
    let data = driver.data(&[9; 512]);
    assert_eq!(request(&mut driver, OUT, 0, &[data]), (BAD, 1));
    let range = driver.data(&[0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    for kind in [DISCARD_RANGE, ZERO_RANGE] {
        assert_eq!(request(&mut driver, kind, 0, &[range]), (BAD, 1));
    }
    assert_eq!(request(&mut driver, FLUSH_OUT, 0, &[]), (GOOD, 1));
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [1; 4096]);
}

#[test]
fn disk_whose_file_cannot_be_written_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    std::fs::write(&path, [1; 4096]).unwrap();
    let content = Content::File {
        file: File::open(&path).unwrap(),
        offset: 0,
    };
    let mut driver = Driver::new(Box::new(Block::new(vec![(content, 4096)], false, 1)));
    driver.start(0);
    let data = driver.data(&[9; 512]);
    assert_eq!(request(&mut driver, OUT, 0, &[data]), (BAD, 1));
    let range = driver.data(&[0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(request(&mut driver, ZERO_RANGE, 0, &[range]), (BAD, 1));
    assert_works(&mut driver);
}

#[test]
fn reads_that_cannot_be_are_refused() {
    let mut driver = joined();
    let room = driver.room(1024);
    let part = |length| Buffer::writable(room.address, length);
    for (sector, data) in [
        (11, vec![part(512)]),
        (10, vec![part(1024)]),
        (u64::MAX, vec![part(512)]),
        (u64::MAX / 512, vec![part(512)]),
        (0, vec![part(511)]),
        (0, vec![part(1)]),
        (0, vec![Buffer::readable(room.address, 512)]),
        (0, vec![part(512), Buffer::readable(room.address, 512)]),
        (0, vec![Buffer::writable(MEMORY as u64 - 256, 512)]),
        (0, vec![Buffer::writable(u64::MAX - 100, 512)]),
        (0, vec![part(0x8000_0000)]),
    ] {
        let answer = request(&mut driver, IN, sector, &data);
        assert_eq!(answer, (BAD, 1), "{sector} {data:?}");
    }
    assert_works(&mut driver);
}

#[test]
fn request_of_more_data_than_one_may_have_is_refused() {
    let content = vec![(Content::Zeros, 64 << 20)];
    let mut driver = Driver::new(Box::new(Block::new(content, true, 1)));
    driver.start(0);
    let room = driver.room(1 << 20);
    let answer = request(&mut driver, IN, 0, &[room; 17]);
    assert_eq!(answer, (BAD, 1));
    assert_eq!(request(&mut driver, IN, 0, &[room; 16]).0, GOOD);
}

/// A disk of two queues, the first of them full of the largest requests.
fn flooded() -> Driver {
    let content = vec![(Content::Zeros, 64 << 20)];
    let mut driver = Driver::new(Box::new(Block::new(content, true, 2)));
    driver.start(SEVERAL_QUEUES);
    let (header, room, status) = (
        driver.data(&header(IN, 0)),
        driver.room(1 << 20),
        driver.room(1),
    );
    let mut chain = vec![header];
    chain.extend([room; 16]);
    chain.push(status);
    for _ in 0..256 {
        driver.add_indirect(0, &chain);
    }
    driver
}

#[test]
fn ring_of_the_largest_requests_is_served_in_many_turns() {
    let mut driver = flooded();
    driver.notify(0);
    assert!(driver.turn());
    // One of them is more than a turn may move.
    assert!(driver.used(0).is_some());
    assert_eq!(driver.used(0), None);
    assert!(driver.run() >= 255);
    assert_eq!(std::iter::from_fn(|| driver.used(0)).count(), 255);
}

#[test]
fn other_queue_is_served_while_one_is_full_of_the_largest_requests() {
    let mut driver = flooded();
    driver.notify(0);
    let (header, room, status) = (
        driver.data(&header(IN, 0)),
        driver.room(512),
        driver.room(1),
    );
    driver.add(1, &[header, room, status]);
    driver.notify(1);
    assert!(driver.turn());
    assert_eq!(driver.used(1).map(|(_, written)| written), Some(513));
    assert!(driver.used(0).is_some());
    assert_eq!(driver.used(0), None);
}

#[test]
fn driver_that_resets_in_the_middle_of_a_flood_does_not_wait_for_its_end() {
    let mut driver = flooded();
    driver.notify(0);
    assert!(driver.turn());
    driver.reset();
    assert!(driver.run() <= 2);
}

#[test]
fn unknown_request_is_unsupported() {
    let mut driver = joined();
    for kind in [2, 3, 5, 99, u32::MAX] {
        assert_eq!(request(&mut driver, kind, 0, &[]), (UNKNOWN, 1));
    }
}

#[test]
fn identifier_goes_into_a_buffer_of_its_size_only() {
    let mut driver = joined();
    for data in [vec![], vec![driver.room(19)], vec![driver.data(&[0; 20])]] {
        assert_eq!(request(&mut driver, GET_ID, 0, &data), (BAD, 1));
    }
}

#[test]
fn header_of_another_size_or_direction_is_refused() {
    let mut driver = joined();
    for length in [0, 1, 15, 17, 4096] {
        let answer = request_on(&mut driver, 0, &vec![0; length], &[]);
        assert_eq!(answer, (BAD, 1), "{length}");
    }
    let (header, status) = (driver.room(16), driver.data(&[NONE]));
    driver.add(0, &[header, Buffer::writable(status.address, 1)]);
    let outside = Buffer::readable(MEMORY as u64 - 8, 16);
    driver.add(0, &[outside, Buffer::writable(status.address, 1)]);
    driver.kick(0);
    assert_eq!(
        (driver.used(0).unwrap().1, driver.used(0).unwrap().1),
        (1, 1)
    );
    assert_eq!(driver.get(status.address, 1), [BAD]);
    assert_works(&mut driver);
}

#[test]
fn request_without_place_for_a_status_is_dropped() {
    let mut driver = joined();
    let header = driver.data(&header(IN, 0));
    let chains = [
        vec![header],
        vec![header, Buffer::readable(0x10_0000, 1)],
        vec![header, Buffer::writable(0x10_0000, 0)],
        vec![header, Buffer::writable(MEMORY as u64, 1)],
        vec![header, Buffer::writable(u64::MAX, 2)],
    ];
    for chain in chains {
        let head = driver.add(0, &chain);
        driver.kick(0);
        assert_eq!(driver.used(0), Some((head, 0)), "{chain:?}");
    }
    assert_works(&mut driver);
}

#[test]
fn chain_with_a_loop_is_dropped() {
    let mut driver = joined();
    let header = driver.data(&header(IN, 0));
    let room = driver.room(512);
    let raw = |buffer: Buffer, flags, next| Raw {
        address: buffer.address,
        length: buffer.length,
        flags,
        next,
    };
    // A loop of data, and one that leads back to its header by way of a status.
    driver.describe(0, 0, raw(header, NEXT, 1));
    driver.describe(0, 1, raw(room, NEXT | WRITE, 1));
    driver.offer(0, 0);
    driver.kick(0);
    assert_eq!(driver.used(0), Some((0, 0)));
    driver.describe(
        0,
        1,
        raw(Buffer::writable(room.address, 1), NEXT | WRITE, 0),
    );
    driver.offer(0, 0);
    driver.kick(0);
    assert_eq!(driver.used(0), Some((0, 0)));
    assert_eq!(driver.get(room.address, 512), [0; 512]);
    assert_works(&mut driver);
}

#[test]
fn chain_that_leads_out_of_its_table_is_dropped() {
    let mut driver = joined();
    let header = driver.data(&header(FLUSH_OUT, 0));
    let raw = Raw {
        address: header.address,
        length: 16,
        flags: NEXT,
        next: 256,
    };
    driver.describe(0, 0, raw);
    driver.offer(0, 0);
    driver.add_table(0, &[raw]);
    driver.add_table(0, &[]);
    driver.kick(0);
    let used = std::iter::from_fn(|| driver.used(0));
    assert_eq!(used.map(|(_, written)| written).collect::<Vec<_>>(), [0; 3]);
    assert_works(&mut driver);
}

#[test]
fn table_in_a_table_is_dropped() {
    let mut driver = joined();
    let inner = driver.data(&[0; 32]);
    let raw = Raw {
        address: inner.address,
        length: 32,
        flags: 4,
        next: 0,
    };
    driver.add_table(0, &[raw]);
    driver.kick(0);
    assert_eq!(driver.used(0).unwrap().1, 0);
    assert_works(&mut driver);
}

#[test]
fn chain_longer_than_the_queue_is_dropped() {
    let mut driver = joined();
    let header = driver.data(&header(IN, 0));
    let (room, status) = (driver.room(512), driver.data(&[NONE]));
    let mut chain = vec![header];
    chain.extend([Buffer::writable(room.address, 0); 300]);
    chain.extend([room, Buffer::writable(status.address, 1)]);
    driver.add_indirect(0, &chain);
    driver.kick(0);
    assert_eq!(driver.used(0).unwrap().1, 0);
    assert_eq!(driver.get(status.address, 1), [NONE]);
    assert_works(&mut driver);
}

#[test]
fn ring_indices_that_jump_are_not_followed() {
    let mut driver = joined();
    for index in [257, 0x8000, 0xffff] {
        driver.set_available(0, index);
        assert!(driver.run() == 0);
        driver.kick(0);
        assert_eq!(driver.used(0), None);
    }
    driver.reset();
    driver.start(0);
    assert_works(&mut driver);
}
