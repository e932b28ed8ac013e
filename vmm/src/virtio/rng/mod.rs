//! Entropy device (virtio 1.2, section 5.4).

use rustix::rand::{GetRandomFlags, getrandom};
use virtio_queue::{DescriptorChain, Queue};
use vm_memory::Bytes;

use super::{
    Active, Device, Interrupt, Memory, Turn,
    service::{Served, descriptors, serve_all},
};

/// Descriptors of the queue: the driver has one request at a time.
const QUEUE_SIZE: u16 = 16;

/// Most bytes for one request. Drivers ask for 64 and less; more would let a guest make the
/// monitor compute and write without end (seen in other monitors).
const MAX_BYTES: usize = 256;

/// An entropy device; it gives what `getrandom(2)` gives.
#[derive(Default)]
pub struct Rng {
    active: Option<(Memory, Queue, Interrupt)>,
}

impl Rng {
    /// A device that was not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Device for Rng {
    fn id(&self) -> u32 {
        4
    }

    fn name(&self) -> &'static str {
        "rng"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn activate(&mut self, active: Active) {
        let Active {
            memory,
            queues,
            interrupt,
            ..
        } = active;
        self.active = queues
            .into_iter()
            .next()
            .map(|queue| (memory, queue, interrupt));
    }

    fn queue_event(&mut self, _queue: u16) -> Turn {
        let Some((memory, queue, interrupt)) = &mut self.active else {
            return Turn::Done;
        };
        serve_all(queue, memory, interrupt, |chain| {
            Served::written(fill(memory, chain))
        })
    }

    fn reset(&mut self) {
        self.active = None;
    }
}

/// Writes random bytes into a chain, at most [`MAX_BYTES`]; gives their number.
fn fill(memory: &Memory, chain: DescriptorChain<&Memory>) -> u32 {
    let mut written = 0;
    let descriptors = descriptors(chain).unwrap_or_default();
    for descriptor in descriptors.iter().filter(|each| each.is_write_only()) {
        let length = (descriptor.len() as usize).min(MAX_BYTES - written);
        let mut bytes = [0; MAX_BYTES];
        let Some(bytes) = bytes.get_mut(..length) else {
            break;
        };
        if length == 0 {
            continue;
        }
        // Once the machine has entropy, a request of this size is answered whole.
        if getrandom(&mut *bytes, GetRandomFlags::empty()) != Ok(length)
            || memory.write_slice(bytes, descriptor.addr()).is_err()
        {
            break;
        }
        written += length;
    }
    u32::try_from(written).unwrap_or(0)
}

#[cfg(test)]
mod tests;
