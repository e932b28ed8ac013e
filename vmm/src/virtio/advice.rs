//! What Linux is told about the guest's memory.
#![expect(
    unsafe_code,
    reason = "the kernel is told how a range of the guest's memory is used"
)]

use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::Memory;

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
    // anonymous memory, into which this process holds no references.
    let result = unsafe { libc::madvise(guard.as_ptr().cast(), length, advice) };
    // Memory that cannot be had so just stays as it is.
    let _ = result;
}
