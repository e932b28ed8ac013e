//! Turns of devices, and the owner's own descriptors.

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::virtio::{Active, Device, testing::Driver};

/// A device that needs so many turns for one notification.
struct Slow(u32);

impl Device for Slow {
    fn id(&self) -> u32 {
        1
    }

    fn name(&self) -> &'static str {
        "slow"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[4]
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn activate(&mut self, _active: Active) {}

    fn queue_event(&mut self, _queue: u16) -> Turn {
        self.0 -= 1;
        if self.0 == 0 { Turn::Done } else { Turn::More }
    }

    fn reset(&mut self) {}
}

#[test]
fn device_gets_as_many_turns_as_it_asks_for() {
    let mut driver = Driver::new(Box::new(Slow(5)));
    driver.start(0);
    driver.notify(0);
    assert_eq!(driver.run(), 5);
}

#[test]
fn device_that_was_not_started_gets_no_turn() {
    let mut driver = Driver::new(Box::new(Slow(0)));
    driver.notify(0);
    assert_eq!(driver.run(), 1);
}

#[test]
fn owner_is_called_with_the_tokens_of_what_is_ready() {
    let mut events = EventLoop::new().unwrap();
    let ready = [5, 6, 7].map(|token| {
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        events.watch(as_fd(&event), token).unwrap();
        event
    });
    ready[2].write(1).unwrap();
    ready[0].write(1).unwrap();
    let mut tokens = Vec::new();
    let count = events.wait(None, |token| tokens.push(token)).unwrap();
    tokens.sort_unstable();
    assert_eq!((count, tokens), (2, vec![5, 7]));
}

#[test]
fn nothing_ready_ends_at_the_limit() {
    let mut events = EventLoop::new().unwrap();
    assert_eq!(events.wait(Some(Duration::ZERO), |_| {}).unwrap(), 0);
}
