//! What Linux is told about the guest's memory.
#![expect(
    unsafe_code,
    reason = "the kernel is told how a range of the guest's memory is used"
)]

use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::Memory;

/// Bytes from the start of the guest's memory that hold what an idle guest has: its kernel is there, and gives
/// out memory above only when there is no more below. They are in large pages while it boots, which makes that
/// fast.
const FIRST: u64 = 64 << 20;

/// Bytes from the start of this memory that hold what an idle guest has.
pub(crate) fn first(memory: &Memory) -> u64 {
    let region = memory.find_region(GuestAddress(0));
    region.map_or(0, GuestMemoryRegion::len).min(FIRST)
}

/// Gives an advice (`madvise(2)`) about a range that lies in one piece of the guest's memory; about any
/// other none is given. Nothing depends on an advice but how much memory there is and how fast.
pub(crate) fn advise(memory: &Memory, start: GuestAddress, length: u64, advice: libc::c_int) {
    let Ok(length) = usize::try_from(length) else {
        return;
    };
    let Ok(slice) = memory.get_slice(start, length) else {
        return;
    };
    let guard = slice.ptr_guard_mut();
    // SAFETY: the guard keeps `length` bytes at this address mapped; they are the guest's own
    // memory, anonymous or a private copy of a file's, into which this process holds no references.
    let result = unsafe { libc::madvise(guard.as_ptr().cast(), length, advice) };
    // Memory that cannot be had so just stays as it is.
    let _ = result;
}
