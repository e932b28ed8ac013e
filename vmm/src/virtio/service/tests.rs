//! Serving queues of drivers that never stop, or that break their rings.

use std::sync::{Arc, atomic::AtomicU32};

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::virtio::testing::Rings;

const SIZE: u16 = 4;

/// A ring whose driver offers chain 0 again and again.
struct Scene {
    memory: Memory,
    queue: Queue,
    rings: Rings,
    interrupt: Interrupt,
}

impl Scene {
    fn new(event_idx: bool) -> Self {
        let memory = Memory::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let rings = Rings::new(0, SIZE);
        let mut queue = Queue::new(SIZE).unwrap();
        queue.set_desc_table_address(Some(rings.descriptors.try_into().unwrap()), None);
        queue.set_avail_ring_address(Some(rings.available.try_into().unwrap()), None);
        queue.set_used_ring_address(Some(rings.used.try_into().unwrap()), None);
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        let line = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let interrupt = Interrupt::new(Arc::new(AtomicU32::new(0)), line);
        Self {
            memory,
            queue,
            rings,
            interrupt,
        }
    }

    fn set_available(&self, index: u16) {
        let at = GuestAddress(self.rings.available + 2);
        self.memory.write_obj(index, at).unwrap();
    }

    /// Serves while the driver keeps one chain more than was served available, up to a number.
    fn serve(&mut self, until: u16) -> (Turn, u16) {
        let mut served = 0;
        let (memory, at) = (self.memory.clone(), self.rings.available + 2);
        let turn = serve_all(&mut self.queue, &self.memory, &self.interrupt, |_| {
            served += 1;
            let next = (served + 1).min(until);
            memory.write_obj(next, GuestAddress(at)).unwrap();
            Served::default()
        });
        (turn, served)
    }

    /// Serves a driver that never stops, each chain of which is this work.
    fn turn_of(&mut self, mut work: impl FnMut() -> u64) -> (Turn, u64) {
        let mut moved = 0;
        let mut served = 0;
        let (memory, at) = (self.memory.clone(), self.rings.available + 2);
        self.set_available(1);
        let turn = serve_all(&mut self.queue, &self.memory, &self.interrupt, |_| {
            served += 1;
            memory.write_obj(served + 1, GuestAddress(at)).unwrap();
            let bytes = work();
            moved += bytes;
            Served {
                written: 1,
                moved: bytes,
            }
        });
        (turn, moved)
    }
}

#[test]
fn endless_driver_gets_one_turn_and_then_another() {
    for event_idx in [false, true] {
        let mut scene = Scene::new(event_idx);
        scene.set_available(1);
        let (turn, served) = scene.serve(u16::MAX);
        assert_eq!(turn, Turn::More);
        // Fewer where the machine was busy, and the time was over.
        assert!((1..=MAX_ROUNDS * usize::from(SIZE)).contains(&usize::from(served)));
    }
}

#[test]
fn turn_ends_with_the_bytes_that_it_may_move() {
    let mut scene = Scene::new(false);
    let (turn, moved) = scene.turn_of(|| MAX_TURN_BYTES / 2);
    assert_eq!(turn, Turn::More);
    assert!(moved <= MAX_TURN_BYTES, "{moved}");
}

#[test]
fn turn_ends_with_its_time_and_the_driver_hears_of_what_was_served() {
    let mut scene = Scene::new(false);
    let (turn, served) = scene.turn_of(|| {
        let since = Instant::now();
        while since.elapsed() <= MAX_TURN_TIME {}
        1
    });
    assert_eq!((turn, served), (Turn::More, 1));
    assert_eq!(scene.interrupt.line.read().unwrap(), 1);
}

#[test]
fn queue_that_is_empty_in_time_needs_no_other_turn() {
    let mut scene = Scene::new(true);
    scene.set_available(1);
    assert_eq!(scene.serve(9), (Turn::Done, 9));
}

#[test]
fn index_that_no_driver_writes_ends_the_turn() {
    let mut scene = Scene::new(true);
    scene.set_available(SIZE + 1);
    assert_eq!(scene.serve(u16::MAX), (Turn::Done, 0));
}

#[test]
fn queue_that_is_not_ready_is_left_alone() {
    let mut scene = Scene::new(false);
    scene.set_available(1);
    scene.queue.set_ready(false);
    assert_eq!(scene.serve(u16::MAX), (Turn::Done, 0));
}
