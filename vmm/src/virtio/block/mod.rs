//! Block device (virtio 1.2, section 5.2): a disk made of extents of open files.

mod disk;
mod request;

use std::{
    fs::File,
    sync::{Arc, PoisonError, RwLock},
};

use virtio_queue::Queue;

pub use disk::{Content, Disk, PlaceError};

use self::request::serve;
use super::{Active, Device, Interrupt, Memory, Turn, service::serve_all};

/// Feature bits (5.2.3).
const SEG_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const BLOCK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const SEVERAL_QUEUES: u64 = 1 << 12;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// Descriptors of a queue: a request of the largest size, and many small ones, fit.
const QUEUE_SIZE: u16 = 256;

/// Data descriptors of a request, as configuration space tells the driver: the queue's size less
/// header and status.
const MAX_SEGMENTS: u32 = 254;

/// Most queues: one for each processor that is likely to write at once.
const MAX_QUEUES: u8 = 4;

/// Most sectors of one discard, 128 MiB: one request must not hold a queue for long. ext4 never discards more at
/// once.
pub(super) const MAX_DISCARD_SECTORS: u32 = 1 << 18;

/// Most sectors of one zeroing, 16 MiB, as a request may have data: where the file's system knows no holes, the
/// zeros are written.
pub(super) const MAX_ZEROES_SECTORS: u32 = 1 << 15;

/// Best size of a request in sectors, 256 KiB: Linux reads ahead twice that, instead of 128 KiB. Each
/// request wakes a thread here and interrupts the guest there, and a start reads a program from
/// end to end.
const BEST_SECTORS: u32 = 512;

/// A block device.
pub struct Block {
    disk: Arc<RwLock<Disk>>,
    /// What never changes of the disk.
    sectors: u64,
    read_only: bool,
    sizes: Vec<u16>,
    active: Option<Running>,
}

struct Running {
    memory: Memory,
    queues: Vec<Queue>,
    interrupt: Interrupt,
}

impl Block {
    /// A disk with this content: each part with its length in bytes. It has a queue for each
    /// processor, up to four.
    #[must_use]
    pub fn new(content: Vec<(Content, u64)>, read_only: bool, cpus: u8) -> Self {
        let queues = cpus.clamp(1, MAX_QUEUES);
        let disk = Disk::new(content, read_only);
        Self {
            sectors: disk.sectors(),
            read_only,
            disk: Arc::new(RwLock::new(disk)),
            sizes: vec![QUEUE_SIZE; queues.into()],
            active: None,
        }
    }

    /// For whoever changes what is on the disk while it is in use.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            disk: Arc::clone(&self.disk),
        }
    }

    /// Configuration space (5.2.4).
    fn configuration(&self) -> [u8; 60] {
        let mut space = [0; 60];
        let mut put = |offset: usize, bytes: &[u8]| {
            space
                .iter_mut()
                .skip(offset)
                .zip(bytes)
                .for_each(|(byte, value)| *byte = *value);
        };
        put(0, &self.sectors.to_le_bytes());
        put(12, &MAX_SEGMENTS.to_le_bytes());
        put(20, &512_u32.to_le_bytes());
        // Topology: sectors of a block as a power of two, the first one's offset, least and best sizes.
        put(24, &[3, 0, 8, 0]);
        put(28, &BEST_SECTORS.to_le_bytes());
        put(
            34,
            &u16::try_from(self.sizes.len()).unwrap_or(1).to_le_bytes(),
        );
        // Discard: sectors, segments, alignment in sectors.
        put(36, &MAX_DISCARD_SECTORS.to_le_bytes());
        put(40, &1_u32.to_le_bytes());
        put(44, &8_u32.to_le_bytes());
        // Zeroing: sectors, segments, may unmap.
        put(48, &MAX_ZEROES_SECTORS.to_le_bytes());
        put(52, &1_u32.to_le_bytes());
        put(56, &[1]);
        space
    }
}

/// Changes a read-only disk under its driver. A change waits for requests that are being served, and
/// those that come meanwhile wait for it.
#[derive(Debug, Clone)]
pub struct Handle {
    disk: Arc<RwLock<Disk>>,
}

impl Handle {
    /// As [`Disk::failure`].
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let disk = self.disk.read().unwrap_or_else(PoisonError::into_inner);
        disk.failure().map(str::to_owned)
    }

    /// As [`Disk::insert`].
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn insert(&self, start: u64, length: u64, file: File) -> Result<(), PlaceError> {
        let mut disk = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        disk.insert(start, length, file)
    }

    /// As [`Disk::remove`].
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn remove(&self, start: u64, length: u64) -> Result<(), PlaceError> {
        let mut disk = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        disk.remove(start, length)
    }
}

impl Device for Block {
    fn id(&self) -> u32 {
        2
    }

    fn name(&self) -> &'static str {
        "block"
    }

    fn features(&self) -> u64 {
        let writable = if self.read_only {
            READ_ONLY
        } else {
            DISCARD | WRITE_ZEROES
        };
        let several = if self.sizes.len() > 1 {
            SEVERAL_QUEUES
        } else {
            0
        };
        SEG_MAX | BLOCK_SIZE | FLUSH | TOPOLOGY | several | writable
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.sizes
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        super::read_space(&self.configuration(), offset, data);
    }

    fn activate(&mut self, active: Active) {
        let Active {
            memory,
            queues,
            interrupt,
            ..
        } = active;
        self.active = Some(Running {
            memory,
            queues,
            interrupt,
        });
    }

    fn queue_event(&mut self, number: u16) -> Turn {
        let Self {
            disk,
            active: Some(running),
            ..
        } = self
        else {
            return Turn::Done;
        };
        let Running {
            memory,
            queues,
            interrupt,
        } = running;
        let Some(queue) = queues.get_mut(usize::from(number)) else {
            return Turn::Done;
        };
        let disk = disk.read().unwrap_or_else(PoisonError::into_inner);
        serve_all(queue, memory, interrupt, |chain| {
            serve(&disk, memory, chain)
        })
    }

    fn reset(&mut self) {
        self.active = None;
    }
}

#[cfg(test)]
mod tests;
