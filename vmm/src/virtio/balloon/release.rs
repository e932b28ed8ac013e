//! Giving memory back.
#![expect(
    unsafe_code,
    reason = "the kernel is told which of the guest's memory is unused"
)]

use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::{PAGE, inside};
use crate::virtio::Memory;

/// Gives a range back to the machine; the guest finds zeros there when it touches it again. A
/// range that is not of whole pages, or not in the guest's memory, is left alone.
pub(super) fn release(memory: &Memory, address: GuestAddress, length: u64) {
    let aligned = address.0.is_multiple_of(PAGE) && length.is_multiple_of(PAGE) && length > 0;
    if !aligned || !inside(memory, address, length) {
        return;
    }
    let Ok(length) = usize::try_from(length) else {
        return;
    };
    let Ok(slice) = memory.get_slice(address, length) else {
        return;
    };
    let guard = slice.ptr_guard_mut();
    // SAFETY: the guard keeps `length` bytes at this address mapped; they are the guest's own
    // anonymous memory, into which this process holds no references.
    let result = unsafe { libc::madvise(guard.as_ptr().cast(), length, libc::MADV_DONTNEED) };
    // Memory that cannot be given back just stays.
    let _ = result;
}
