//! The guest's memory as KVM takes it.
#![expect(
    unsafe_code,
    reason = "KVM maps this process's memory into the guest, and Linux is told how to"
)]

use std::ops::Range;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::virtio::Memory;

/// Maps all regions into the guest.
///
/// # Errors
/// As `KVM_SET_USER_MEMORY_REGION`.
pub(crate) fn give(vm: &VmFd, memory: &Memory) -> Result<(), kvm_ioctls::Error> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let mapped = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is mapped for as long as `memory`, which every device and the machine
        // hold until the process ends; no other slot overlaps it.
        unsafe { vm.set_user_memory_region(mapped)? };
    }
    Ok(())
}

/// Has a range of the guest's memory made of small pages where they are touched. One that is not in it
/// is left alone: nothing depends on this but speed.
pub(crate) fn in_small_pages(memory: &Memory, range: Range<u64>) {
    let Ok(length) = usize::try_from(range.end.saturating_sub(range.start)) else {
        return;
    };
    let Ok(slice) = memory.get_slice(GuestAddress(range.start), length) else {
        return;
    };
    let guard = slice.ptr_guard_mut();
    // SAFETY: the guard keeps `length` bytes at this address mapped, whose content the call leaves alone.
    let result = unsafe { libc::madvise(guard.as_ptr().cast(), length, libc::MADV_NOHUGEPAGE) };
    // A kernel without large pages knows no such advice.
    let _ = result;
}
