//! Virtio devices: what every device is to the rest of the monitor.
//!
//! A device is one folder here. Its front end implements [`Device`]; the transport negotiates
//! features and queues for it and then hands it everything that it needs to work, as one
//! [`Active`] by value: a device that the driver has not started has no queue to misuse, and
//! queue geometry cannot change under a running one.
//!
//! A device works on one thread: the event loop that it was put on. The transport's registers are
//! reached from vCPU threads, under the same lock.

pub(crate) mod advice;
pub mod balloon;
pub mod block;
mod guest_io;
pub mod mmio;
pub mod rng;
mod service;
#[cfg(any(test, feature = "test-utils"))]
pub mod testing;
#[cfg(test)]
mod threads;
pub mod vsock;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::event::epoll;
use virtio_queue::Queue;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

/// The guest's physical memory.
pub type Memory = GuestMemoryMmap<()>;

/// A virtio device (virtio 1.2, section 2), without its transport.
pub trait Device: Send {
    /// Device type (virtio 1.2, section 5).
    fn id(&self) -> u32;

    /// A word for logs and errors: `block`.
    fn name(&self) -> &'static str;

    /// Feature bits offered by the device itself. The transport adds those of rings and
    /// transport: `VERSION_1`, `RING_INDIRECT_DESC` and `RING_EVENT_IDX`.
    fn features(&self) -> u64;

    /// Largest size of each of its queues, in descriptors; powers of two.
    fn queue_sizes(&self) -> &[u16];

    /// Reads configuration space; bytes outside of it are zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes configuration space; by default the device has none that can be written.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    /// The driver set `DRIVER_OK`: the device has its queues and may begin.
    fn activate(&mut self, active: Active);

    /// The driver says that a queue has new buffers. A device does a bounded amount of work for it,
    /// and asks for another turn when some is left.
    fn queue_event(&mut self, queue: u16) -> Turn;

    /// A descriptor that was given to [`Watcher::add`] is ready.
    fn source_event(&mut self, _token: u32, _events: epoll::EventFlags) {}

    /// Back to the state before [`Device::activate`]: drops queues and what they led to.
    fn reset(&mut self);
}

/// How a device's turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Nothing is left; the driver notifies when there is more.
    Done,
    /// Buffers are left, of which the driver will not notify again.
    More,
}

/// What a device gets when its driver is ready.
pub struct Active {
    /// The guest's memory.
    pub memory: Memory,
    /// Its queues, validated against their largest size and the guest's memory, in order.
    pub queues: Vec<Queue>,
    /// Features that both sides agreed on.
    pub features: u64,
    /// How it interrupts the guest.
    pub interrupt: Interrupt,
    /// How it waits for descriptors of its own.
    pub watcher: Watcher,
}

/// The bits of a transport's interrupt status register (virtio 1.2, section 4.2.2).
const USED_BUFFER: u32 = 1;
const CONFIGURATION_CHANGE: u32 = 2;

/// A device's interrupt line.
#[derive(Clone)]
pub struct Interrupt {
    status: Arc<AtomicU32>,
    line: Arc<EventFd>,
}

impl Interrupt {
    /// A line that KVM raises when `line` is written; `status` is what the driver reads.
    #[must_use]
    pub fn new(status: Arc<AtomicU32>, line: Arc<EventFd>) -> Self {
        Self { status, line }
    }

    /// Tells the driver that buffers were used.
    pub fn used(&self) {
        self.raise(USED_BUFFER);
    }

    /// Tells the driver that the device's configuration changed.
    pub fn configuration_changed(&self) {
        self.raise(CONFIGURATION_CHANGE);
    }

    fn raise(&self, bit: u32) {
        self.status.fetch_or(bit, Ordering::SeqCst);
        // A full counter means that the line is raised already.
        let _ = self.line.write(1);
    }
}

/// Bits of an epoll datum that hold the device; the rest is the device's own token.
const TOKEN_BITS: u32 = 32;

/// Registers a device's own descriptors with the event loop that runs it.
#[derive(Clone)]
pub struct Watcher {
    epoll: Arc<OwnedFd>,
    device: u32,
}

impl Watcher {
    /// A watcher for the device of this number on a loop.
    #[must_use]
    pub fn new(epoll: Arc<OwnedFd>, device: u32) -> Self {
        Self { epoll, device }
    }

    /// Splits what epoll returns into the device's number and its token.
    #[must_use]
    pub fn split(data: epoll::EventData) -> (u32, u32) {
        let data = data.u64();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the two halves of the datum"
        )]
        ((data >> TOKEN_BITS) as u32, data as u32)
    }

    /// Calls [`Device::source_event`] with `token` whenever `source` is ready for `events`.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn add(&self, source: impl AsFd, token: u32, events: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(self.epoll(), source, self.data(token), events)?)
    }

    /// Changes what is waited for.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn modify(
        &self,
        source: impl AsFd,
        token: u32,
        events: epoll::EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::modify(
            self.epoll(),
            source,
            self.data(token),
            events,
        )?)
    }

    /// Waits for it no more.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(self.epoll(), source)?)
    }

    fn epoll(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn data(&self, token: u32) -> epoll::EventData {
        epoll::EventData::new_u64(u64::from(self.device) << TOKEN_BITS | u64::from(token))
    }
}

/// Reads a device's configuration space; bytes outside of it are zero.
pub(crate) fn read_space(space: &[u8], offset: u64, data: &mut [u8]) {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let inside = space.get(offset..).unwrap_or_default();
    data.fill(0);
    data.iter_mut()
        .zip(inside)
        .for_each(|(byte, value)| *byte = *value);
}
