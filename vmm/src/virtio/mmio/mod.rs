//! The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): registers and the status machine.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use virtio_queue::{Queue, QueueT};
use vmm_sys_util::eventfd::EventFd;

use super::{Active, Device, Interrupt, Memory, Turn, Watcher};

/// "virt", little endian.
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "CORA": Linux only prints it.
const VENDOR: u32 = 0x4152_4f43;

/// Offset of the register that queues are notified by; the machine listens to it.
pub const QUEUE_NOTIFY: u64 = 0x50;
/// What the device interrupted for, and what the driver has seen of it.
pub const INTERRUPT_STATUS: u64 = 0x60;
/// See [`INTERRUPT_STATUS`].
pub const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
/// Offset of configuration space.
const CONFIGURATION: u64 = 0x100;

/// Status bits (section 2.1).
mod status {
    pub(super) const ACKNOWLEDGE: u32 = 1;
    pub(super) const DRIVER: u32 = 2;
    pub(super) const DRIVER_OK: u32 = 4;
    pub(super) const FEATURES_OK: u32 = 8;
    pub(super) const NEEDS_RESET: u32 = 64;
    pub(super) const FAILED: u32 = 128;
}

/// Features of rings and transport (section 6).
const INDIRECT_DESC: u64 = 1 << 28;
const EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;

/// A device behind its registers.
pub struct Transport {
    device: Box<dyn Device>,
    memory: Memory,
    watcher: Watcher,
    interrupt: Interrupt,
    interrupt_status: Arc<AtomicU32>,
    status: u32,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: u32,
    /// Geometry as the driver writes it; moved into the device at `DRIVER_OK`.
    queues: Vec<Queue>,
    active: bool,
}

impl Transport {
    /// A transport for a device that is put on an event loop, which `watcher` belongs to; `line`
    /// is the event that raises its interrupt.
    ///
    /// # Panics
    /// When the device asks for a queue whose size is no power of two.
    #[must_use]
    pub fn new(
        device: Box<dyn Device>,
        memory: Memory,
        watcher: Watcher,
        line: Arc<EventFd>,
    ) -> Self {
        let interrupt_status = Arc::new(AtomicU32::new(0));
        let interrupt = Interrupt::new(Arc::clone(&interrupt_status), line);
        let mut transport = Self {
            device,
            memory,
            watcher,
            interrupt,
            interrupt_status,
            status: 0,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            queues: Vec::new(),
            active: false,
        };
        transport.queues = transport.fresh_queues();
        transport
    }

    fn fresh_queues(&self) -> Vec<Queue> {
        let sizes = self.device.queue_sizes().iter();
        let new = |size: &u16| Queue::new(*size).expect("a device's queue sizes are powers of two");
        sizes.map(new).collect()
    }

    fn features(&self) -> u64 {
        self.device.features() | INDIRECT_DESC | EVENT_IDX | VERSION_1
    }

    /// The driver reads.
    pub fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(CONFIGURATION) {
            data.fill(0);
            return self.device.read_config(offset, data);
        }
        // Registers are 32 bits wide, and only read so (4.2.2.2); all else reads as zero.
        let value = if data.len() == 4 {
            self.register(offset)
        } else {
            0
        };
        data.fill(0);
        data.iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(byte, value)| *byte = value);
    }

    fn register(&self, offset: u64) -> u32 {
        match offset {
            0x00 => MAGIC,
            0x04 => VERSION,
            0x08 => self.device.id(),
            0x0c => VENDOR,
            0x10 => half(self.features(), self.device_features_select),
            0x34 => self.queue().map_or(0, |queue| queue.max_size().into()),
            0x44 => self.queue().map_or(0, |queue| queue.ready().into()),
            INTERRUPT_STATUS => self.interrupt_status.load(Ordering::SeqCst),
            0x70 => self.status,
            // No shared memory: its length reads as all ones.
            0xb0 | 0xb4 | 0xb8 | 0xbc => u32::MAX,
            _ => 0,
        }
    }

    fn queue(&self) -> Option<&Queue> {
        self.queues.get(usize::try_from(self.queue_select).ok()?)
    }

    /// The driver writes.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if let Some(offset) = offset.checked_sub(CONFIGURATION) {
            if self.status & status::FAILED == 0 {
                self.device.write_config(offset, data);
            }
            return;
        }
        let Ok(bytes) = <[u8; 4]>::try_from(data) else {
            return;
        };
        let value = u32::from_le_bytes(bytes);
        match offset {
            0x14 => self.device_features_select = value,
            0x20 => self.set_driver_features(value),
            0x24 => self.driver_features_select = value,
            0x30 => self.queue_select = value,
            INTERRUPT_ACKNOWLEDGE => {
                self.interrupt_status.fetch_and(!value, Ordering::SeqCst);
            }
            0x70 => self.set_status(value),
            _ => self.configure_queue(offset, value),
        }
    }

    fn set_driver_features(&mut self, value: u32) {
        // Negotiated before FEATURES_OK and never after (section 3.1.1).
        if self.status & (status::DRIVER | status::FEATURES_OK) != status::DRIVER {
            return;
        }
        let value = u64::from(value);
        match self.driver_features_select {
            0 => self.driver_features = self.driver_features & !0xffff_ffff | value,
            1 => self.driver_features = self.driver_features & 0xffff_ffff | value << 32,
            _ => {}
        }
    }

    /// A queue's geometry can be written between FEATURES_OK and DRIVER_OK, and not while the queue
    /// is ready.
    fn configure_queue(&mut self, offset: u64, value: u32) {
        let stage = status::FEATURES_OK | status::DRIVER_OK | status::FAILED;
        if self.active || self.status & stage != status::FEATURES_OK {
            return;
        }
        let selected = usize::try_from(self.queue_select).unwrap_or(usize::MAX);
        let Some(queue) = self.queues.get_mut(selected) else {
            return;
        };
        if offset == 0x44 {
            return queue.set_ready(value == 1);
        }
        if queue.ready() {
            return;
        }
        match offset {
            // A size that is none leaves the largest one.
            0x38 => u16::try_from(value)
                .into_iter()
                .for_each(|size| queue.set_size(size)),
            0x80 => queue.set_desc_table_address(Some(value), None),
            0x84 => queue.set_desc_table_address(None, Some(value)),
            0x90 => queue.set_avail_ring_address(Some(value), None),
            0x94 => queue.set_avail_ring_address(None, Some(value)),
            0xa0 => queue.set_used_ring_address(Some(value), None),
            0xa4 => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    /// The status machine (section 3.1.1): bits are only added, one step at a time, and zero resets.
    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let added = value & !self.status;
        let removed = self.status & !value & !status::NEEDS_RESET;
        if removed != 0 {
            return;
        }
        let expected = match added {
            status::ACKNOWLEDGE => self.status == 0,
            status::DRIVER => self.status == status::ACKNOWLEDGE,
            status::FEATURES_OK => self.status == status::ACKNOWLEDGE | status::DRIVER,
            status::DRIVER_OK => {
                let before = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
                self.status == before
            }
            // From any state, and with nothing else beside it.
            status::FAILED => self.status != 0,
            _ => false,
        };
        if !expected {
            return;
        }
        match added {
            status::FEATURES_OK => {
                let known = self.driver_features & !self.features() == 0;
                // A driver of the time before virtio 1.0 would use rings in another byte order.
                if known && self.driver_features & VERSION_1 != 0 {
                    self.status |= status::FEATURES_OK;
                }
            }
            status::DRIVER_OK => self.activate(),
            added => self.status |= added,
        }
    }

    fn activate(&mut self) {
        let event_idx = self.driver_features & EVENT_IDX != 0;
        let valid = self
            .queues
            .iter()
            .all(|queue| !queue.ready() || queue.is_valid(&self.memory));
        // The first queue of every device that we have is one it cannot do without.
        let started = self.queues.first().is_none_or(Queue::ready);
        if !valid || !started {
            self.status |= status::NEEDS_RESET;
            return self.interrupt.configuration_changed();
        }
        let fresh = self.fresh_queues();
        let mut queues = std::mem::replace(&mut self.queues, fresh);
        queues
            .iter_mut()
            .for_each(|queue| queue.set_event_idx(event_idx));
        self.active = true;
        self.status |= status::DRIVER_OK;
        self.device.activate(Active {
            memory: self.memory.clone(),
            queues,
            features: self.driver_features,
            interrupt: self.interrupt.clone(),
            watcher: self.watcher.clone(),
        });
    }

    fn reset(&mut self) {
        if self.active {
            self.device.reset();
        }
        self.active = false;
        self.status = 0;
        self.driver_features = 0;
        self.queue_select = 0;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.interrupt_status.store(0, Ordering::SeqCst);
        self.queues = self.fresh_queues();
    }

    /// A queue was notified.
    pub fn queue_event(&mut self, queue: u16) -> Turn {
        if self.active {
            self.device.queue_event(queue)
        } else {
            Turn::Done
        }
    }

    /// A descriptor of the device's is ready.
    pub fn source_event(&mut self, token: u32, events: rustix::event::epoll::EventFlags) {
        if self.active {
            self.device.source_event(token, events);
        }
    }

    /// The register that tells what the device interrupted for, which needs no lock.
    #[must_use]
    pub fn interrupt_status(&self) -> &Arc<AtomicU32> {
        &self.interrupt_status
    }

    /// Number of queues.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.device.queue_sizes().len()
    }
}

/// The half of a feature set that a driver has selected.
fn half(features: u64, select: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the set")]
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
