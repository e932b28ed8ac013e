//! Random numbers for good drivers and bad ones.

use super::*;
use crate::virtio::testing::{Buffer, Driver, EVENT_IDX, MEMORY, NEXT, Raw, WRITE};

fn started() -> Driver {
    let mut driver = Driver::new(Box::new(Rng::new()));
    driver.start(EVENT_IDX);
    driver
}

fn written(driver: &mut Driver) -> u32 {
    driver.kick(0);
    driver.used(0).unwrap().1
}

/// The device still serves a plain request.
fn assert_works(driver: &mut Driver) {
    let room = driver.room(64);
    let head = driver.add(0, &[room]);
    driver.kick(0);
    assert_eq!(driver.used(0), Some((head, 64)));
    assert_ne!(driver.get(room.address, 64), [0; 64]);
}

#[test]
fn request_is_filled() {
    let mut driver = started();
    assert_works(&mut driver);
    assert_eq!(driver.interrupts(), 1);
}

#[test]
fn indirect_request_is_filled() {
    let mut driver = started();
    let rooms = [driver.room(16), driver.room(32)];
    driver.add_indirect(0, &rooms);
    assert_eq!(written(&mut driver), 48);
    assert_ne!(driver.get(rooms[1].address, 32), [0; 32]);
}

#[test]
fn large_request_is_answered_with_little() {
    let mut driver = started();
    let room = driver.room(1 << 20);
    driver.add(0, &[room, room]);
    assert_eq!(written(&mut driver), 256);
    assert_eq!(driver.get(room.address + 256, 256), [0; 256]);
}

#[test]
fn chain_that_loops_gets_nothing() {
    let mut driver = started();
    let raw = Raw {
        address: 0x10_0000,
        length: 1,
        flags: WRITE | NEXT,
        next: 0,
    };
    driver.describe(0, 0, raw);
    driver.offer(0, 0);
    assert_eq!(written(&mut driver), 0);
    assert_works(&mut driver);
}

#[test]
fn table_longer_than_any_queue_gets_nothing() {
    let mut driver = started();
    let raw = |index: u16| Raw {
        address: 0x10_0000,
        length: 0,
        flags: WRITE | NEXT,
        next: index + 1,
    };
    let table: Vec<Raw> = (0..60_000).map(raw).collect();
    driver.add_table(0, &table);
    assert_eq!(written(&mut driver), 0);
    assert_works(&mut driver);
}

#[test]
fn chain_with_nothing_to_write_gets_nothing() {
    let mut driver = started();
    for buffer in [
        Buffer::readable(0x10_0000, 64),
        Buffer::writable(0x10_0000, 0),
        Buffer::writable(MEMORY as u64 - 8, 64),
        Buffer::writable(u64::MAX - 8, 64),
    ] {
        driver.add(0, &[buffer]);
        assert_eq!(written(&mut driver), 0, "{buffer:?}");
    }
    assert_works(&mut driver);
}

#[test]
fn reset_in_the_middle_drops_what_waits() {
    let mut driver = started();
    let room = driver.room(64);
    driver.add(0, &[room]);
    driver.notify(0);
    driver.reset();
    driver.run();
    assert_eq!(driver.get(room.address, 64), [0; 64]);
    driver.start(0);
    assert_works(&mut driver);
}
