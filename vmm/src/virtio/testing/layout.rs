//! Where things stand in the memory of a test's guest.

/// Bytes of guest memory, from address 0.
pub const MEMORY: usize = 16 << 20;

/// First byte that is no ring.
pub const HEAP: u64 = 0x10_0000;

/// Bytes that each queue's rings get; the first begin after as many.
const QUEUE: u64 = 0x8000;

/// The parts of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rings {
    /// Entries.
    pub size: u16,
    /// Address of the descriptor table.
    pub descriptors: u64,
    /// Address of the available ring.
    pub available: u64,
    /// Address of the used ring.
    pub used: u64,
}

impl Rings {
    /// Rings of a queue: of at most 256 entries, and at most 30 queues.
    #[must_use]
    pub fn new(queue: u16, size: u16) -> Self {
        let base = QUEUE * (u64::from(queue) + 1);
        Self {
            size,
            descriptors: base,
            available: base + 0x2000,
            used: base + 0x4000,
        }
    }

    /// First byte and number of bytes of all parts.
    #[must_use]
    pub fn extent(&self) -> (u64, usize) {
        (self.descriptors, 0x6000)
    }
}
