//! A driver's second thread: it changes rings, descriptors, buffers and registers while the device works.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use vm_memory::{Bytes, GuestAddress};

use super::{HEAP, MEMORY, Memory, Rings, register};
use crate::event_loop::Shared;

/// Entries of the rings that it spoils, as most queues have them.
const RING: u16 = 256;

/// What a guest's other processor can reach: memory and registers.
#[derive(Clone)]
pub struct Hand {
    pub(super) memory: Memory,
    pub(super) transport: Shared,
    pub(super) over: Arc<AtomicBool>,
}

impl Hand {
    /// Whether the first thread is done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Says that the first thread is done.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Writes guest memory; what is outside of it is nowhere.
    pub fn put(&self, address: u64, bytes: &[u8]) {
        let _ = self.memory.write_slice(bytes, GuestAddress(address));
    }

    /// Writes a register or configuration space.
    pub fn write(&self, offset: u64, value: u32) {
        let transport = self.transport.lock();
        let mut transport = transport.unwrap_or_else(PoisonError::into_inner);
        transport.write(offset, &value.to_le_bytes());
    }

    /// Reads a register or configuration space.
    #[must_use]
    pub fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        let transport = self.transport.lock();
        let mut transport = transport.unwrap_or_else(PoisonError::into_inner);
        transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// One act of a hostile processor, as this number says: most change rings, descriptors and what they lead to, and
    /// the device runs for most of the time.
    pub fn act(&self, number: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "pieces of the number")]
        let (low, high) = (number as u32, (number >> 32) as u32);
        let address = u64::from(high >> 8);
        let queue = u16::try_from(high % 3).unwrap_or(0);
        let rings = Rings::new(queue, RING);
        let entry = u64::from(low >> 8) % u64::from(RING);
        let [first, second, ..] = address.to_le_bytes();
        let half = [first, second];
        match low % 16 {
            0 => self.write(u64::from(high % 0x200), low >> 4),
            // A reset, in one of 1,024 acts.
            1 if low.is_multiple_of(1024) => self.write(register::STATUS, 0),
            1 | 2 => drop(self.read(u64::from(high % 0x200))),
            // Indices of both rings, and a head.
            3 | 4 => self.put(rings.available + 2, &half),
            5 => self.put(rings.used + 2, &half),
            6 | 7 => self.put(rings.available + 4 + 2 * entry, &half),
            // Address, or length, flags and next of a descriptor.
            8 | 9 => self.put(rings.descriptors + 16 * entry, &address.to_le_bytes()),
            10 | 11 => self.put(rings.descriptors + 16 * entry + 8, &number.to_be_bytes()),
            // Headers and tables.
            12..15 => self.put(HEAP + address % 0x1000 * 4, &low.to_le_bytes()),
            _ => self.put(address % MEMORY as u64, &low.to_le_bytes()),
        }
    }

    /// Acts, by numbers from this seed on, until the first thread is done.
    pub fn act_until_over(&self, seed: u64) {
        let mut number = seed | 1;
        while !self.is_over() {
            // xorshift64: the same acts for the same seed.
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            self.act(number);
        }
    }
}
