//! The registers as a driver finds them, well-meaning or not.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::virtio::service::{Served, serve_all};
use crate::virtio::testing::{Driver, FEATURES_OK, RUNNING, Raw, VERSION_1 as V1, WRITE, register};

/// Size, addresses of the three parts, and whether it is ready.
type Shape = (u16, u64, u64, u64, bool);

/// A device of two queues that counts what happens to it and fills what it is given.
#[derive(Default)]
struct Counts {
    activations: AtomicUsize,
    resets: AtomicUsize,
    configured: AtomicUsize,
    queues: Mutex<Vec<Shape>>,
}

struct Counting {
    counts: Arc<Counts>,
    active: Option<Active>,
}

const OWN: u64 = 1 << 3;

impl Device for Counting {
    fn id(&self) -> u32 {
        42
    }

    fn name(&self) -> &'static str {
        "counting"
    }

    fn features(&self) -> u64 {
        OWN
    }

    fn queue_sizes(&self) -> &[u16] {
        &[16, 8]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        crate::virtio::read_space(&[1, 2, 3, 4], offset, data);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {
        self.counts.configured.fetch_add(1, Ordering::Relaxed);
    }

    fn activate(&mut self, active: Active) {
        self.counts.activations.fetch_add(1, Ordering::Relaxed);
        let shape = |queue: &Queue| {
            let (size, ready) = (queue.size(), queue.ready());
            let (table, available) = (queue.desc_table(), queue.avail_ring());
            (size, table, available, queue.used_ring(), ready)
        };
        *self.counts.queues.lock().unwrap() = active.queues.iter().map(shape).collect();
        self.active = Some(active);
    }

    fn queue_event(&mut self, queue: u16) -> Turn {
        let active = self.active.as_mut().unwrap();
        let queue = active.queues.get_mut(usize::from(queue)).unwrap();
        serve_all(queue, &active.memory, &active.interrupt, |_| {
            Served::written(7)
        })
    }

    fn reset(&mut self) {
        self.counts.resets.fetch_add(1, Ordering::Relaxed);
        self.active = None;
    }
}

fn scene() -> (Driver, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let device = Counting {
        counts: Arc::clone(&counts),
        active: None,
    };
    (Driver::new(Box::new(device)), counts)
}

fn offer_one(driver: &mut Driver) -> Option<(u16, u32)> {
    let room = driver.room(8);
    driver.add(1, &[room]);
    driver.kick(1);
    driver.used(1)
}

#[test]
fn device_is_found_by_its_registers() {
    let (driver, _) = scene();
    assert_eq!(driver.read(0x00).to_le_bytes(), *b"virt");
    assert_eq!(driver.read(0x04), 2);
    assert_eq!(driver.read(0x08), 42);
    assert_eq!(
        driver.offered(),
        OWN | INDIRECT_DESC | EVENT_IDX | VERSION_1
    );
    driver.write(register::DEVICE_FEATURES_SELECT, 2);
    assert_eq!(driver.read(register::DEVICE_FEATURES), 0);
    // No shared memory region (4.2.2): length -1.
    assert_eq!((driver.read(0xb0), driver.read(0xb4)), (u32::MAX, u32::MAX));
}

#[test]
fn started_device_works_and_interrupts() {
    let (mut driver, counts) = scene();
    driver.start(OWN);
    assert_eq!(offer_one(&mut driver), Some((0, 7)));
    assert_eq!(driver.interrupts(), 1);
    assert_eq!(driver.read(register::INTERRUPT_STATUS), 1);
    driver.write(register::INTERRUPT_ACKNOWLEDGE, 1);
    assert_eq!(driver.read(register::INTERRUPT_STATUS), 0);
    assert_eq!(counts.activations.load(Ordering::Relaxed), 1);
}

#[test]
fn status_goes_one_step_at_a_time() {
    for (before, wrong) in [
        (&[][..], 3),
        (&[], 2),
        (&[], 15),
        (&[1], 9),
        (&[1], 11),
        (&[1, 3], 7),
        (&[1, 3], 15),
        (&[1, 3], 1),
        (&[1, 3], 3 | 0x100),
        (&[1, 3], 3 | 32),
    ] {
        let (driver, counts) = scene();
        for step in before {
            driver.write(register::STATUS, *step);
        }
        driver.write(register::STATUS, wrong);
        let expected = before.last().copied().unwrap_or(0);
        assert_eq!(
            driver.read(register::STATUS),
            expected,
            "{before:?} {wrong}"
        );
        assert_eq!(counts.activations.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn features_that_were_not_offered_are_refused() {
    for features in [V1 | 1, V1 | 1 << 33, V1 | 1 << 63] {
        let (mut driver, _) = scene();
        assert!(!driver.negotiate(features));
        assert_eq!(driver.read(register::STATUS), 3);
    }
}

#[test]
fn driver_of_the_time_before_version_1_is_refused() {
    let (mut driver, _) = scene();
    assert!(!driver.negotiate(OWN));
}

#[test]
fn features_cannot_change_once_they_are_agreed() {
    let (mut driver, _) = scene();
    assert!(driver.negotiate(V1));
    driver.write(register::DRIVER_FEATURES_SELECT, 0);
    driver.write(register::DRIVER_FEATURES, u32::MAX);
    let transport = driver.transport().lock().unwrap();
    assert_eq!(transport.driver_features, V1);
}

#[test]
fn failed_driver_starts_nothing_beside_it() {
    let (mut driver, counts) = scene();
    assert!(driver.negotiate(V1));
    driver.write(register::STATUS, RUNNING | 128);
    assert_eq!(driver.read(register::STATUS), FEATURES_OK);
    driver.write(register::STATUS, FEATURES_OK | 128);
    assert_eq!(driver.read(register::STATUS), FEATURES_OK | 128);
    driver.write(register::STATUS, RUNNING | 128);
    assert_eq!(driver.read(register::STATUS), FEATURES_OK | 128);
    driver.write(register::CONFIGURATION, 1);
    assert_eq!(counts.configured.load(Ordering::Relaxed), 0);
    assert_eq!(counts.activations.load(Ordering::Relaxed), 0);
}

#[test]
fn nothing_changes_when_every_register_is_written_after_the_start() {
    let (mut driver, counts) = scene();
    driver.start(OWN | EVENT_IDX);
    let geometry = counts.queues.lock().unwrap().clone();
    // What can be seen without selecting anything else.
    let visible = |driver: &Driver| {
        let all = (0..CONFIGURATION).step_by(4);
        let but_selected = all.filter(|at| ![0x10, 0x34, 0x44].contains(at));
        but_selected.map(|at| driver.read(at)).collect::<Vec<_>>()
    };
    let before = visible(&driver);
    for selected in [0, 1, 2, u32::MAX] {
        for value in [0, 1, 2, 4, 0x1000, 0x8000, 0xffff_ffff] {
            for at in (0..CONFIGURATION).step_by(4) {
                driver.write(register::QUEUE_SELECT, selected);
                // Zero as a status is the reset, which another test is for.
                if (at, value) != (register::STATUS, 0) && at != register::QUEUE_SELECT {
                    let failed = at == register::STATUS && value & 128 != 0;
                    driver.write(at, if failed { 0x1f } else { value });
                }
            }
        }
    }
    assert_eq!(visible(&driver), before);
    assert_eq!(*counts.queues.lock().unwrap(), geometry);
    assert_eq!(counts.activations.load(Ordering::Relaxed), 1);
    assert_eq!(counts.resets.load(Ordering::Relaxed), 0);
    // The rings that it was started with are those that it works on.
    assert_eq!(offer_one(&mut driver), Some((0, 7)));
}

#[test]
fn queue_is_not_set_up_before_features_are_agreed() {
    let (driver, _) = scene();
    driver.write(register::STATUS, 1);
    driver.write(register::STATUS, 3);
    driver.write(register::QUEUE_READY, 1);
    assert_eq!(driver.read(register::QUEUE_READY), 0);
}

#[test]
fn geometry_of_a_ready_queue_is_fixed() {
    let (mut driver, counts) = scene();
    assert!(driver.negotiate(V1));
    driver.set_up_queue(0);
    let rings = driver.rings(0);
    driver.write(register::QUEUE_SIZE, 2);
    driver.write(register::QUEUE_DESCRIPTORS, 0x5000);
    driver.write(register::STATUS, RUNNING);
    let queues = counts.queues.lock().unwrap();
    let (size, table, ..) = queues[0];
    assert_eq!((size, table), (16, rings.descriptors));
}

#[test]
fn size_that_no_queue_has_leaves_the_largest() {
    let (mut driver, counts) = scene();
    assert!(driver.negotiate(V1));
    for size in [0, 3, 17, 32, 0x1_0008, u32::MAX] {
        driver.write(register::QUEUE_SELECT, 1);
        driver.write(register::QUEUE_SIZE, size);
    }
    driver.set_up_queue(0);
    driver.write(register::STATUS, RUNNING);
    assert_eq!(counts.queues.lock().unwrap()[1].0, 8);
}

#[test]
fn queue_outside_of_memory_asks_for_a_reset() {
    for high in [1, u32::MAX] {
        for part in [
            register::QUEUE_DESCRIPTORS,
            register::QUEUE_DRIVER,
            register::QUEUE_DEVICE,
        ] {
            let (mut driver, counts) = scene();
            assert!(driver.negotiate(V1));
            driver.set_up_queue(0);
            driver.write(register::QUEUE_READY, 0);
            driver.write(part + 4, high);
            driver.write(register::QUEUE_READY, 1);
            driver.write(register::STATUS, RUNNING);
            assert_eq!(driver.read(register::STATUS), FEATURES_OK | 64);
            assert_eq!(driver.interrupts(), 1);
            assert_eq!(driver.read(register::INTERRUPT_STATUS), 2);
            assert_eq!(counts.activations.load(Ordering::Relaxed), 0);
            driver.reset();
            driver.start(0);
            assert_eq!(offer_one(&mut driver), Some((0, 7)));
        }
    }
}

#[test]
fn device_without_its_first_queue_does_not_start() {
    let (mut driver, counts) = scene();
    assert!(driver.negotiate(V1));
    driver.write(register::STATUS, RUNNING);
    assert_eq!(driver.read(register::STATUS), FEATURES_OK | 64);
    assert_eq!(counts.activations.load(Ordering::Relaxed), 0);
}

#[test]
fn registers_of_another_width_read_as_zero_and_take_nothing() {
    let (mut driver, counts) = scene();
    for width in [1, 2, 3, 8] {
        let mut data = vec![0xff; width];
        driver.read_bytes(0, &mut data);
        assert!(data.iter().all(|byte| *byte == 0), "{width}");
        driver.write_bytes(register::STATUS, &vec![1; width]);
        assert_eq!(driver.read(register::STATUS), 0);
    }
    driver.read_bytes(0, &mut []);
    driver.write_bytes(register::STATUS, &[]);
    driver.start(0);
    driver.write_bytes(register::STATUS, &[0]);
    assert_eq!(driver.read(register::STATUS), RUNNING);
    assert_eq!(counts.resets.load(Ordering::Relaxed), 0);
}

#[test]
fn configuration_is_read_at_any_width_and_offset() {
    let (driver, _) = scene();
    let mut data = [0xff; 8];
    driver.read_bytes(register::CONFIGURATION, &mut data);
    assert_eq!(data, [1, 2, 3, 4, 0, 0, 0, 0]);
    driver.read_bytes(register::CONFIGURATION + 3, &mut data[..2]);
    assert_eq!(data[..2], [4, 0]);
    driver.read_bytes(u64::MAX, &mut data);
    assert_eq!(data, [0; 8]);
}

#[test]
fn reset_forgets_everything() {
    let (mut driver, counts) = scene();
    driver.start(OWN);
    assert_eq!(offer_one(&mut driver), Some((0, 7)));
    driver.reset();
    assert_eq!(counts.resets.load(Ordering::Relaxed), 1);
    assert_eq!(driver.read(register::STATUS), 0);
    assert_eq!(driver.read(register::INTERRUPT_STATUS), 0);
    // A notification that comes late is nobody's.
    driver.kick(1);
    // A reset of what was not started is none for the device.
    driver.reset();
    assert_eq!(counts.resets.load(Ordering::Relaxed), 1);
    driver.start(0);
    assert_eq!(offer_one(&mut driver), Some((0, 7)));
    assert_eq!(counts.activations.load(Ordering::Relaxed), 2);
}

#[test]
fn head_outside_of_the_table_stops_the_queue_until_a_reset() {
    let (mut driver, _) = scene();
    driver.start(0);
    let raw = Raw {
        address: 0x1000,
        length: 8,
        flags: WRITE,
        next: 0,
    };
    driver.describe(1, 0, raw);
    driver.offer(1, 8);
    driver.offer(1, u16::MAX);
    driver.kick(1);
    assert_eq!(driver.used(1), None);
    driver.reset();
    driver.start(0);
    assert_eq!(offer_one(&mut driver), Some((0, 7)));
}

#[test]
fn driver_that_wants_no_interrupt_yet_gets_none() {
    let (mut driver, _) = scene();
    driver.start(EVENT_IDX);
    driver.set_used_event(1, 1);
    assert_eq!(offer_one(&mut driver), Some((0, 7)));
    assert_eq!(driver.interrupts(), 0);
    assert_eq!(offer_one(&mut driver), Some((1, 7)));
    assert_eq!(driver.interrupts(), 1);
}
