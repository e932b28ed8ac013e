//! The guest's memory as KVM takes it.
#![expect(unsafe_code, reason = "KVM maps this process's memory into the guest")]

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

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
