//! A driver for tests: it finds a device behind its registers, as a guest does, and works its
//! rings in memory of its own. No KVM is needed.
//!
//! The device sits behind the real [`Transport`], on a real event loop. Whatever a guest can do
//! to it, a test can: [`Driver::add`] makes chains as they should be, [`Driver::describe`] and
//! [`Driver::offer`] any others.

mod hand;
mod layout;
mod mapping;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use vm_memory::{ByteValued, Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

pub use self::{
    hand::Hand,
    layout::{HEAP, MEMORY, Rings},
    mapping::Mapping,
};
use super::{Device, Memory, mmio::Transport};
use crate::event_loop::{EventLoop, Shared};

/// Flags of a descriptor (virtio 1.2, section 2.7.5).
pub const NEXT: u16 = 1;
/// See [`NEXT`]: the device writes.
pub const WRITE: u16 = 2;
/// See [`NEXT`]: the buffer is a table of descriptors.
pub const INDIRECT: u16 = 4;

/// Registers (virtio 1.2, section 4.2.2) by their offset.
pub mod register {
    #![expect(missing_docs, reason = "named as in the specification")]
    pub const DEVICE_FEATURES: u64 = 0x10;
    pub const DEVICE_FEATURES_SELECT: u64 = 0x14;
    pub const DRIVER_FEATURES: u64 = 0x20;
    pub const DRIVER_FEATURES_SELECT: u64 = 0x24;
    pub const QUEUE_SELECT: u64 = 0x30;
    pub const QUEUE_SIZE_MAX: u64 = 0x34;
    pub const QUEUE_SIZE: u64 = 0x38;
    pub const QUEUE_READY: u64 = 0x44;
    pub const INTERRUPT_STATUS: u64 = 0x60;
    pub const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
    pub const STATUS: u64 = 0x70;
    pub const QUEUE_DESCRIPTORS: u64 = 0x80;
    pub const QUEUE_DRIVER: u64 = 0x90;
    pub const QUEUE_DEVICE: u64 = 0xa0;
    pub const CONFIGURATION: u64 = 0x100;
}

/// Status up to the negotiation's end: `ACKNOWLEDGE`, `DRIVER` and `FEATURES_OK`.
pub const FEATURES_OK: u32 = 11;
/// Status of a running device: `DRIVER_OK` on top.
pub const RUNNING: u32 = 15;

/// Feature bits of every device (virtio 1.2, section 6).
pub const EVENT_IDX: u64 = 1 << 29;
/// See [`EVENT_IDX`].
pub const VERSION_1: u64 = 1 << 32;

/// Turns that a device gets until a test gives up waiting for it to be idle.
const MAX_TURNS: usize = 100_000;

/// A piece of guest memory in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Guest physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// The device may write, and not read.
    pub writable: bool,
}

impl Buffer {
    /// For the device to read.
    #[must_use]
    pub fn readable(address: u64, length: u32) -> Self {
        let writable = false;
        Self {
            address,
            length,
            writable,
        }
    }

    /// For the device to write.
    #[must_use]
    pub fn writable(address: u64, length: u32) -> Self {
        let writable = true;
        Self {
            address,
            length,
            writable,
        }
    }

    fn flags(self) -> u16 {
        if self.writable { WRITE } else { 0 }
    }
}

/// A descriptor as it stands in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Raw {
    /// Guest physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// [`NEXT`], [`WRITE`] and [`INDIRECT`].
    pub flags: u16,
    /// Index of the next one.
    pub next: u16,
}

#[expect(unsafe_code, reason = "plain data, written byte by byte")]
mod value {
    // SAFETY: only integers, without padding.
    unsafe impl vm_memory::ByteValued for super::Raw {}
}

/// A queue from the driver's side.
#[derive(Debug)]
struct Side {
    rings: Rings,
    free: VecDeque<u16>,
    chains: HashMap<u16, Vec<u16>>,
    available: u16,
    used: u16,
}

/// A driver and its device.
pub struct Driver {
    memory: Memory,
    transport: Shared,
    events: EventLoop,
    notifications: Vec<EventFd>,
    line: Arc<EventFd>,
    sides: Vec<Side>,
    heap: u64,
}

impl Driver {
    /// A driver of a device that was just plugged in.
    ///
    /// # Panics
    /// When the system gives no memory or descriptors.
    #[must_use]
    pub fn new(device: Box<dyn Device>) -> Self {
        let memory = Memory::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory for a test");
        let mut events = EventLoop::new().expect("an event loop");
        let event = || EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).expect("an event");
        let line = Arc::new(event());
        let watcher = events.next_watcher();
        let transport = Transport::new(device, memory.clone(), watcher, Arc::clone(&line));
        let notifications: Vec<EventFd> = (0..transport.queue_count()).map(|_| event()).collect();
        let copies = notifications.iter().map(EventFd::try_clone);
        let copies = copies.collect::<Result<_, _>>().expect("copies of events");
        let transport = Arc::new(Mutex::new(transport));
        events
            .add(Arc::clone(&transport), copies)
            .expect("a device on the loop");
        Self {
            memory,
            transport,
            events,
            notifications,
            line,
            sides: Vec::new(),
            heap: HEAP,
        }
    }

    /// The guest's memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Reads registers or configuration space, of any width.
    pub fn read_bytes(&self, offset: u64, data: &mut [u8]) {
        let mut transport = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        transport.read(offset, data);
    }

    /// Writes registers or configuration space, of any width.
    pub fn write_bytes(&self, offset: u64, data: &[u8]) {
        let mut transport = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        transport.write(offset, data);
    }

    /// Reads a register.
    #[must_use]
    pub fn read(&self, register: u64) -> u32 {
        let mut data = [0; 4];
        self.read_bytes(register, &mut data);
        u32::from_le_bytes(data)
    }

    /// Writes a register.
    pub fn write(&self, register: u64, value: u32) {
        self.write_bytes(register, &value.to_le_bytes());
    }

    /// What the device offers.
    #[must_use]
    pub fn offered(&self) -> u64 {
        [0, 1].into_iter().fold(0, |features, half| {
            self.write(register::DEVICE_FEATURES_SELECT, half);
            features | u64::from(self.read(register::DEVICE_FEATURES)) << (32 * half)
        })
    }

    /// Resets the device and forgets its rings; memory stays as it is.
    pub fn reset(&mut self) {
        self.write(register::STATUS, 0);
        self.sides.clear();
    }

    /// The steps up to `FEATURES_OK`, with these features; whether the device agreed.
    pub fn negotiate(&mut self, features: u64) -> bool {
        self.write(register::STATUS, 1);
        self.write(register::STATUS, 3);
        for half in [0, 1] {
            self.write(register::DRIVER_FEATURES_SELECT, half);
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of the set")]
            self.write(register::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        self.write(register::STATUS, FEATURES_OK);
        self.read(register::STATUS) == FEATURES_OK
    }

    /// Sets up a queue: its rings are in place and empty, and it is ready.
    pub fn set_up_queue(&mut self, queue: u16) {
        self.write(register::QUEUE_SELECT, queue.into());
        let size = self.read(register::QUEUE_SIZE_MAX);
        let rings = Rings::new(queue, u16::try_from(size).unwrap_or(0));
        let (from, bytes) = rings.extent();
        self.put(from, &vec![0; bytes]);
        self.write(register::QUEUE_SIZE, size);
        for (at, address) in [
            (register::QUEUE_DESCRIPTORS, rings.descriptors),
            (register::QUEUE_DRIVER, rings.available),
            (register::QUEUE_DEVICE, rings.used),
        ] {
            self.write(at, u32::try_from(address).unwrap_or(0));
            self.write(at + 4, 0);
        }
        self.write(register::QUEUE_READY, 1);
        self.sides.push(Side {
            rings,
            free: (0..rings.size).collect(),
            chains: HashMap::new(),
            available: 0,
            used: 0,
        });
    }

    /// Starts the device from its reset state with these features besides `VERSION_1`, and all of
    /// its queues.
    ///
    /// # Panics
    /// When the device refuses.
    pub fn start(&mut self, features: u64) {
        assert!(self.negotiate(features | VERSION_1), "features are refused");
        for queue in 0..self.notifications.len() {
            self.set_up_queue(u16::try_from(queue).unwrap_or(u16::MAX));
        }
        self.write(register::STATUS, RUNNING);
        assert_eq!(self.read(register::STATUS), RUNNING, "it does not run");
    }

    /// Bytes of the heap that were not given yet.
    ///
    /// # Panics
    /// When memory is used up.
    pub fn allocate(&mut self, length: u32) -> u64 {
        let address = self.heap;
        self.heap += u64::from(length).next_multiple_of(16);
        assert!(self.heap <= MEMORY as u64, "a test's memory is used up");
        address
    }

    /// Writes guest memory.
    ///
    /// # Panics
    /// Outside of it.
    pub fn put(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .expect("an address in memory");
    }

    /// Reads guest memory.
    ///
    /// # Panics
    /// Outside of it.
    #[must_use]
    pub fn get(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .expect("an address in memory");
        bytes
    }

    /// Puts bytes into memory of their own, for the device to read.
    pub fn data(&mut self, bytes: &[u8]) -> Buffer {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let address = self.allocate(length);
        self.put(address, bytes);
        Buffer::readable(address, length)
    }

    /// Memory of its own for the device to write.
    pub fn room(&mut self, length: u32) -> Buffer {
        Buffer::writable(self.allocate(length), length)
    }

    fn side(&mut self, queue: u16) -> &mut Side {
        let side = self.sides.get_mut(usize::from(queue));
        side.expect("a queue that was set up")
    }

    /// Where a queue's rings are.
    pub fn rings(&mut self, queue: u16) -> Rings {
        self.side(queue).rings
    }

    /// Makes a chain of these buffers available; gives its head.
    ///
    /// # Panics
    /// When the queue has too few free descriptors.
    pub fn add(&mut self, queue: u16, buffers: &[Buffer]) -> u16 {
        let side = self.side(queue);
        let free = buffers.iter().map(|_| side.free.pop_front());
        let indices: Vec<u16> = free.collect::<Option<_>>().expect("free descriptors");
        let next = indices.iter().skip(1).copied().map(Some).chain([None]);
        for ((index, buffer), next) in indices.iter().zip(buffers).zip(next) {
            let flags = buffer.flags() | next.map_or(0, |_| NEXT);
            let raw = Raw {
                address: buffer.address,
                length: buffer.length,
                flags,
                next: next.unwrap_or(0),
            };
            self.describe(queue, *index, raw);
        }
        let head = *indices.first().expect("a chain has a buffer");
        self.side(queue).chains.insert(head, indices);
        self.offer(queue, head);
        head
    }

    /// Makes a chain available whose descriptors stand in a table of their own.
    pub fn add_indirect(&mut self, queue: u16, buffers: &[Buffer]) -> u16 {
        let last = buffers.len().saturating_sub(1);
        let raw = buffers.iter().zip(0_u16..).map(|(buffer, index)| Raw {
            address: buffer.address,
            length: buffer.length,
            flags: buffer.flags() | if usize::from(index) < last { NEXT } else { 0 },
            next: index + 1,
        });
        let table: Vec<Raw> = raw.collect();
        self.add_table(queue, &table)
    }

    /// Makes a chain available that is one table with these descriptors.
    ///
    /// # Panics
    /// When the queue has no free descriptor.
    pub fn add_table(&mut self, queue: u16, table: &[Raw]) -> u16 {
        let bytes: Vec<u8> = table
            .iter()
            .flat_map(|raw| raw.as_slice().to_vec())
            .collect();
        let at = self.data(&bytes);
        let index = self
            .side(queue)
            .free
            .pop_front()
            .expect("a free descriptor");
        let raw = Raw {
            address: at.address,
            length: at.length,
            flags: INDIRECT,
            next: 0,
        };
        self.describe(queue, index, raw);
        self.side(queue).chains.insert(index, vec![index]);
        self.offer(queue, index);
        index
    }

    /// Number of descriptors that are in no chain.
    pub fn free_descriptors(&mut self, queue: u16) -> usize {
        self.side(queue).free.len()
    }

    /// Writes a descriptor of the queue's own table, whatever it says.
    pub fn describe(&mut self, queue: u16, index: u16, raw: Raw) {
        let at = self.rings(queue).descriptors + u64::from(index) * 16;
        self.put(at, raw.as_slice());
    }

    /// Makes the chain with this head available, whatever it is.
    pub fn offer(&mut self, queue: u16, head: u16) {
        let side = self.side(queue);
        let (rings, index) = (side.rings, side.available);
        side.available = index.wrapping_add(1);
        let slot = rings.available + 4 + u64::from(index % rings.size) * 2;
        self.put(slot, &head.to_le_bytes());
        self.set_available(queue, index.wrapping_add(1));
    }

    /// Writes the index of the available ring, whatever it is.
    pub fn set_available(&mut self, queue: u16, index: u16) {
        let at = self.rings(queue).available + 2;
        self.put(at, &index.to_le_bytes());
    }

    /// Writes where the driver wants its next interrupt (virtio 1.2, section 2.7.7).
    pub fn set_used_event(&mut self, queue: u16, index: u16) {
        let rings = self.rings(queue);
        let at = rings.available + 4 + u64::from(rings.size) * 2;
        self.put(at, &index.to_le_bytes());
    }

    /// Tells the device of a queue's new buffers, whether it wants to know or not.
    pub fn notify(&self, queue: u16) {
        if let Some(event) = self.notifications.get(usize::from(queue)) {
            let _ = event.write(1);
        }
    }

    /// Whether a driver that added one buffer has to notify: what the device asked for last.
    pub fn must_notify(&mut self, queue: u16, event_idx: bool) -> bool {
        let side = self.side(queue);
        let (rings, available) = (side.rings, side.available);
        let read = |at| {
            let bytes = self.get(at, 2).try_into();
            u16::from_le_bytes(bytes.unwrap_or_default())
        };
        if event_idx {
            let event = read(rings.used + 4 + u64::from(rings.size) * 8);
            event == available.wrapping_sub(1)
        } else {
            read(rings.used) & 1 == 0
        }
    }

    /// Lets the device have one turn with whatever is ready; false when nothing was.
    ///
    /// # Panics
    /// When the event loop fails.
    pub fn turn(&mut self) -> bool {
        let turn = self.events.wait(Some(Duration::ZERO), |_| {});
        turn.expect("the event loop works") > 0
    }

    /// Lets the device work until nothing is ready any more; gives the number of turns.
    ///
    /// # Panics
    /// When it never is idle.
    pub fn run(&mut self) -> usize {
        let turns = (0..MAX_TURNS).take_while(|_| self.turn()).count();
        assert!(turns < MAX_TURNS, "the device never is idle");
        turns
    }

    /// Notifies of a queue, and lets the device work.
    pub fn kick(&mut self, queue: u16) {
        self.notify(queue);
        self.run();
    }

    /// The next chain that the device gave back: its head, and bytes written.
    pub fn used(&mut self, queue: u16) -> Option<(u16, u32)> {
        let side = self.side(queue);
        let (rings, index) = (side.rings, side.used);
        let total: [u8; 2] = self.get(rings.used + 2, 2).try_into().ok()?;
        if u16::from_le_bytes(total) == index {
            return None;
        }
        let slot = rings.used + 4 + u64::from(index % rings.size) * 8;
        let [a, b, c, d, e, f, g, h]: [u8; 8] = self.get(slot, 8).try_into().ok()?;
        let head = u16::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
        let side = self.side(queue);
        side.used = index.wrapping_add(1);
        let indices = side.chains.remove(&head).unwrap_or_default();
        side.free.extend(indices);
        Some((head, u32::from_le_bytes([e, f, g, h])))
    }

    /// Number of interrupts since it was last asked.
    #[must_use]
    pub fn interrupts(&self) -> u64 {
        self.line.read().unwrap_or(0)
    }

    /// For a second thread of the driver's.
    #[must_use]
    pub fn hand(&self) -> Hand {
        Hand {
            memory: self.memory.clone(),
            transport: Arc::clone(&self.transport),
            over: Arc::default(),
        }
    }

    /// The device's thread, for what a test does to it beside the driver.
    #[must_use]
    pub fn transport(&self) -> &Shared {
        &self.transport
    }
}
