//! Memory that the guest gives back, and tricks around it.

use super::*;
use crate::virtio::testing::{
    Buffer, Driver, EVENT_IDX, MEMORY, Mapping, NEXT, Raw, WRITE, register,
};

const DEFLATE: u16 = 1;
/// A page of the heap that no test allocates.
const PLACE: u64 = 0x80_0000;

fn started() -> Driver {
    let mut driver = Driver::new(Box::new(Balloon::new()));
    driver.start(REPORTING | EVENT_IDX);
    driver.put(PLACE, &[0xaa; 16384]);
    driver
}

fn send(driver: &mut Driver, queue: u16, buffers: &[Buffer]) {
    driver.add(queue, buffers);
    driver.kick(queue);
    assert!(matches!(driver.used(queue), Some((_, 0))));
}

/// Which of the four pages still hold what they held.
fn kept(driver: &Driver) -> [bool; 4] {
    [0, 1, 2, 3].map(|page| driver.get(PLACE + page * PAGE, 8) == [0xaa; 8])
}

fn numbers(pages: &[u64]) -> Vec<u8> {
    let narrow = |page: &u64| u32::try_from(*page).unwrap().to_le_bytes();
    pages.iter().flat_map(narrow).collect()
}

#[test]
fn reported_ranges_are_released() {
    let mut driver = started();
    let ranges = [
        Buffer::writable(PLACE, 4096),
        Buffer::writable(PLACE + 2 * PAGE, 8192),
    ];
    send(&mut driver, REPORTED, &ranges);
    assert_eq!(kept(&driver), [false, true, false, false]);
    assert_eq!(driver.get(PLACE, 4096), [0; 4096]);
}

/// How Linux treats the guest's first memory, as `proc_pid_smaps(5)` tells.
fn flags(driver: &Driver) -> String {
    Mapping::at(driver.memory(), 0).field("VmFlags").to_owned()
}

#[test]
fn first_memory_is_kept_in_small_pages_once_the_guest_reports() {
    let mut driver = started();
    assert!(!flags(&driver).contains(" nh"), "{}", flags(&driver));
    send(&mut driver, REPORTED, &[Buffer::writable(PLACE, 4096)]);
    assert!(flags(&driver).contains(" nh"), "{}", flags(&driver));
}

#[test]
fn ranges_in_an_indirect_table_are_released() {
    let mut driver = started();
    driver.add_indirect(REPORTED, &[Buffer::writable(PLACE, 4096)]);
    driver.kick(REPORTED);
    assert_eq!(kept(&driver), [false, true, true, true]);
}

#[test]
fn pages_of_an_inflated_balloon_are_released_and_come_back() {
    let mut driver = started();
    let page = PLACE / PAGE;
    let pages = driver.data(&numbers(&[page + 1, page + 3]));
    send(&mut driver, INFLATE, &[pages]);
    assert_eq!(kept(&driver), [true, false, true, false]);
    send(&mut driver, DEFLATE, &[pages]);
    driver.put(PLACE + PAGE, &[1]);
    assert_eq!(driver.get(PLACE + PAGE, 1), [1]);
}

#[test]
fn ranges_that_are_no_pages_of_the_guest_stay() {
    let mut driver = started();
    for buffer in [
        Buffer::writable(PLACE, 0),
        Buffer::writable(PLACE, 4095),
        Buffer::writable(PLACE + 1, 4096),
        Buffer::writable(PLACE, u32::MAX - 4095),
        Buffer::readable(PLACE, 4096),
        Buffer::writable(MEMORY as u64, 4096),
        Buffer::writable(u64::MAX - 4095, 4096),
    ] {
        send(&mut driver, REPORTED, &[buffer]);
        assert_eq!(kept(&driver), [true; 4], "{buffer:?}");
    }
}

#[test]
fn page_numbers_outside_of_memory_release_nothing() {
    let mut driver = started();
    let numbers = driver.data(&[0xff; 64]);
    let beyond = Buffer::readable(MEMORY as u64 - 2, 64);
    send(&mut driver, INFLATE, &[numbers, beyond]);
    assert_eq!(kept(&driver), [true; 4]);
}

#[test]
fn one_request_releases_a_bounded_number_of_pages() {
    let mut driver = started();
    let page = PLACE / PAGE;
    let mut pages = vec![page; MAX_PAGES];
    pages.push(page + 1);
    let pages = driver.data(&numbers(&pages));
    send(&mut driver, INFLATE, &[pages, pages]);
    assert_eq!(kept(&driver), [false, true, true, true]);
}

#[test]
fn one_report_releases_a_bounded_number_of_bytes() {
    let mut driver = started();
    let (block, last) = (Buffer::writable(0, 4 << 20), Buffer::writable(PLACE, 4096));
    let mut ranges = [block; 33];
    ranges[32] = last;
    driver.add_indirect(REPORTED, &ranges);
    // The first of them holds the rings.
    driver.kick(REPORTED);
    assert_eq!(kept(&driver), [true; 4]);
}

#[test]
fn chains_that_loop_or_never_end_release_nothing() {
    let mut driver = started();
    let raw = |next: u16| Raw {
        address: PLACE,
        length: 4096,
        flags: WRITE | NEXT,
        next,
    };
    driver.describe(REPORTED, 0, raw(0));
    driver.offer(REPORTED, 0);
    let table: Vec<Raw> = (1..60_000).map(raw).collect();
    driver.add_table(REPORTED, &table);
    driver.kick(REPORTED);
    assert_eq!(kept(&driver), [true; 4]);
}

#[test]
fn balloon_is_empty_and_cannot_be_told_otherwise() {
    let driver = started();
    driver.write(register::CONFIGURATION, 77);
    driver.write(register::CONFIGURATION + 4, 77);
    assert_eq!(driver.read(register::CONFIGURATION), 0);
    assert_eq!(driver.read(register::CONFIGURATION + 4), 0);
}

#[test]
fn balloon_works_again_after_a_reset() {
    let mut driver = started();
    driver.add(REPORTED, &[Buffer::writable(PLACE, 4096)]);
    driver.notify(REPORTED);
    driver.reset();
    driver.run();
    assert_eq!(kept(&driver), [true; 4]);
    driver.start(REPORTING);
    send(&mut driver, REPORTED, &[Buffer::writable(PLACE, 4096)]);
    assert_eq!(kept(&driver), [false, true, true, true]);
}
