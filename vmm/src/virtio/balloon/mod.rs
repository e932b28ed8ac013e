//! Balloon device (virtio 1.2, section 5.5): gives the guest's free memory back to the machine.

mod release;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use virtio_queue::{DescriptorChain, Queue};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use self::release::release;
use super::{
    Active, Device, Interrupt, Memory, Turn,
    advice::{advise, first},
    read_space,
    service::{Served, descriptors, serve_all},
};

/// Feature bits (5.5.3).
const DEFLATE_ON_OOM: u64 = 1 << 2;
const REPORTING: u64 = 1 << 5;

/// Queues: inflate, deflate, and, since no others are offered, reporting.
const INFLATE: u16 = 0;
const REPORTED: u16 = 2;
const SIZES: [u16; 3] = [128, 128, 32];

/// Bytes of the pages that the balloon counts in, whatever the guest's own are.
const PAGE: u64 = 4096;

/// Most page numbers taken from one request: as many as Linux puts into one.
const MAX_PAGES: usize = 256;

/// Most bytes that one chain of reports releases: as many as Linux puts into one, 32 blocks of 4 MiB. Ranges may
/// overlap: without a limit, a chain could release all memory 256 times, which takes seconds.
const MAX_REPORTED: u64 = 32 * (4 << 20);

/// A balloon.
#[derive(Default)]
pub struct Balloon {
    active: Option<(Memory, Vec<Queue>, Interrupt)>,
    idle: Arc<AtomicBool>,
}

impl Balloon {
    /// A balloon of no size, which only takes what the guest reports as free.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Set once the guest has given memory back: it has time for that, some seconds after its start.
    #[must_use]
    pub fn idle(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.idle)
    }
}

impl Device for Balloon {
    fn id(&self) -> u32 {
        5
    }

    fn name(&self) -> &'static str {
        "balloon"
    }

    fn features(&self) -> u64 {
        DEFLATE_ON_OOM | REPORTING
    }

    fn queue_sizes(&self) -> &[u16] {
        &SIZES
    }

    /// `num_pages` and `actual`: the balloon is empty, and stays so.
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&[0; 8], offset, data);
    }

    fn activate(&mut self, active: Active) {
        let Active {
            memory,
            queues,
            interrupt,
            ..
        } = active;
        self.active = Some((memory, queues, interrupt));
    }

    fn queue_event(&mut self, number: u16) -> Turn {
        let Some((memory, queues, interrupt)) = &mut self.active else {
            return Turn::Done;
        };
        let Some(queue) = queues.get_mut(usize::from(number)) else {
            return Turn::Done;
        };
        serve_all(queue, memory, interrupt, |chain| {
            match number {
                INFLATE => inflate(memory, chain),
                REPORTED => {
                    if !self.idle.swap(true, Ordering::Relaxed) {
                        keep_small(memory);
                    }
                    report(memory, chain);
                }
                // Pages that the guest takes back need nothing: they are there when touched.
                _ => {}
            }
            Served::default()
        })
    }

    fn reset(&mut self) {
        self.active = None;
    }
}

/// Releases the pages whose numbers stand in a chain.
fn inflate(memory: &Memory, chain: DescriptorChain<&Memory>) {
    let mut left = MAX_PAGES;
    let descriptors = descriptors(chain).unwrap_or_default();
    for descriptor in descriptors.iter().filter(|each| !each.is_write_only()) {
        let count = (descriptor.len() as usize / size_of::<u32>()).min(left);
        left -= count;
        for index in (0_u64..).take(count) {
            let at = descriptor.addr().0.saturating_add(index * 4);
            let Ok(number) = memory.read_obj::<u32>(GuestAddress(at)) else {
                return;
            };
            release(memory, GuestAddress(u64::from(number) * PAGE), PAGE);
        }
    }
}

/// Has the first memory in small pages from now on: Linux is not to fill the gaps and make them large again
/// (`khugepaged`). Memory above, which a busy guest uses, stays as the machine has it.
fn keep_small(memory: &Memory) {
    advise(
        memory,
        GuestAddress(0),
        first(memory),
        libc::MADV_NOHUGEPAGE,
    );
}

/// Releases the ranges that a chain's descriptors are, up to [`MAX_REPORTED`] bytes; those beyond it stay as they
/// are, which the driver cannot tell from pages that it has touched again.
fn report(memory: &Memory, chain: DescriptorChain<&Memory>) {
    let mut left = MAX_REPORTED;
    let descriptors = descriptors(chain).unwrap_or_default();
    for descriptor in descriptors.iter().filter(|each| each.is_write_only()) {
        let length = u64::from(descriptor.len());
        let Some(rest) = left.checked_sub(length) else {
            return;
        };
        left = rest;
        release(memory, descriptor.addr(), length);
    }
}

/// Whether a range lies in the guest's memory.
fn inside(memory: &Memory, address: GuestAddress, length: u64) -> bool {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    memory.check_range(address, length)
}

#[cfg(test)]
mod tests;
