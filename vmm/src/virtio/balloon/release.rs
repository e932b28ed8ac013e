//! Giving memory back.

use vm_memory::GuestAddress;

use super::{PAGE, inside};
use crate::virtio::{Memory, advice::advise};

/// Gives a range back to the machine; when the guest touches it again it finds zeros there, or what stands in a file
/// that it was mapped from: nothing of another guest's. A
/// range that is not of whole pages, or not in the guest's memory, is left alone.
pub(super) fn release(memory: &Memory, address: GuestAddress, length: u64) {
    let aligned = address.0.is_multiple_of(PAGE) && length.is_multiple_of(PAGE) && length > 0;
    if aligned && inside(memory, address, length) {
        advise(memory, address, length, libc::MADV_DONTNEED);
    }
}
