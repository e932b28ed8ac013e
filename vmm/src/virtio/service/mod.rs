//! How a device serves a queue without losing a notification, and without serving it for ever.

use std::time::{Duration, Instant};

use virtio_queue::{DescriptorChain, Queue, QueueT, desc::split::Descriptor};

use super::{Interrupt, Memory, Turn};

/// Bytes that one turn moves, its last piece of work aside. A ring of the largest requests is 8 GiB, and was
/// served in one turn of seconds: meanwhile no other queue of the loop was served, no register of the device
/// could be read, and its owner could not change the disk.
pub(crate) const MAX_TURN_BYTES: u64 = 8 << 20;

/// Time that one turn takes, its last piece of work aside: what a slow disk, or work without bytes (discarding,
/// giving memory back), may hold up others for.
const MAX_TURN_TIME: Duration = Duration::from_millis(10);

/// What is left of a turn.
pub(crate) struct Budget {
    bytes: u64,
    since: Instant,
}

impl Budget {
    /// A turn that begins now.
    pub(crate) fn new() -> Self {
        Self {
            bytes: MAX_TURN_BYTES,
            since: Instant::now(),
        }
    }

    /// Takes so many bytes; whether the turn is over.
    pub(crate) fn spend(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.bytes == 0 || self.since.elapsed() >= MAX_TURN_TIME
    }
}

/// What a device did with a chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Bytes that it wrote into the chain, which the driver is told.
    pub(crate) written: u32,
    /// Bytes that it moved, in either direction.
    pub(crate) moved: u64,
}

impl Served {
    /// One that only wrote.
    pub(crate) fn written(written: u32) -> Self {
        Self {
            written,
            moved: written.into(),
        }
    }
}

/// Rounds that one turn gets: a driver that makes new requests as fast as they are served must not
/// keep the loop from its other devices, and from its owner.
const MAX_ROUNDS: usize = 8;

/// Descriptors of one chain at most: as many as the largest of our queues has. A driver must not
/// make longer ones (virtio 1.2, section 2.7.5.3.1); without the limit, an indirect table would be
/// 65,535 pieces of work, and a ring of them minutes.
const MAX_DESCRIPTORS: usize = 256;

/// A chain's descriptors; `None` for a chain that loops, is too long, or leads out of its table or
/// of the guest's memory.
pub(crate) fn descriptors(chain: DescriptorChain<&Memory>) -> Option<Vec<Descriptor>> {
    let descriptors: Vec<Descriptor> = chain.take(MAX_DESCRIPTORS).collect();
    // The last one that could be read says that another follows, where a chain is cut.
    let whole = descriptors.last().is_some_and(|last| !last.has_next());
    whole.then_some(descriptors)
}

/// Serves the chains of a queue with `serve` until the turn's [`Budget`] is spent, and interrupts the
/// driver as it asked to be.
pub(crate) fn serve_all(
    queue: &mut Queue,
    memory: &Memory,
    interrupt: &Interrupt,
    mut serve: impl FnMut(DescriptorChain<&Memory>) -> Served,
) -> Turn {
    if !queue.ready() {
        return Turn::Done;
    }
    let mut budget = Budget::new();
    let mut over = false;
    let mut idle = false;
    for _ in 0..MAX_ROUNDS {
        let mut served = false;
        // Errors here are those of rings that the driver broke: it has itself to blame.
        let _ = queue.disable_notification(memory);
        // At most a ring's worth, so that the driver hears of them.
        for _ in 0..queue.size() {
            let Some(chain) = queue.pop_descriptor_chain(memory) else {
                break;
            };
            let head = chain.head_index();
            let Served { written, moved } = serve(chain);
            if queue.add_used(memory, head, written).is_err() {
                return Turn::Done;
            }
            served = true;
            over = budget.spend(moved);
            if over {
                break;
            }
        }
        if served && queue.needs_notification(memory).unwrap_or(false) {
            interrupt.used();
        }
        if over {
            return Turn::More;
        }
        // Whether more came before notifications were on again.
        if !queue.enable_notification(memory).unwrap_or(false) {
            return Turn::Done;
        }
        // An index that no driver writes promises chains and gives none.
        if idle && !served {
            return Turn::Done;
        }
        idle = !served;
    }
    Turn::More
}

#[cfg(test)]
mod tests;
