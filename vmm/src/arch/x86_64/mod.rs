//! x86_64: how a guest's kernel is loaded and entered, and what its processors are.

mod boot;
mod cpuid;
mod elf;
mod error;
mod kernel;
pub mod layout;
mod mptable;
pub mod ports;
pub mod probe;
mod registers;

use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::GuestAddress;

pub use boot::{Loaded, load};
pub use cpuid::shape as shape_cpuid;
pub use error::BootError;
pub use registers::RegistersError;

use crate::virtio::Memory;

/// Of system calls as seccomp sees them: `AUDIT_ARCH_X86_64` of linux/audit.h.
pub const AUDIT: u32 = 0xc000_003e;

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// 32-bit protected mode, by the PVH boot ABI.
    Pvh(GuestAddress),
    /// 64-bit mode, by the Linux boot protocol.
    Linux64(GuestAddress),
}

/// What went wrong while the machine's own parts were set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// KVM refused.
    #[error("KVM cannot give the guest {what}")]
    Kvm {
        /// What was asked for.
        what: &'static str,
        /// Its reason.
        source: kvm_ioctls::Error,
    },
    /// Registers of a processor.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// The table of processors.
    #[error("cannot write the table of processors")]
    Table(#[from] vm_memory::GuestMemoryError),
}

/// Gives a virtual machine the parts of a PC that KVM has and a guest needs: interrupt controllers.
///
/// There is no PC's timer (PIT): kernels that know KVM take their clock from it and their ticks from
/// the local APIC's deadline timer. KVM's PIT has a thread of its own, and its end waits for all
/// processors of the machine, which is the larger part of a guest's end.
///
/// # Errors
/// When KVM refuses.
pub fn set_up_machine(vm: &VmFd, memory: &Memory, cpus: u8) -> Result<(), SetUpError> {
    let kvm = |what| move |source| SetUpError::Kvm { what, source };
    vm.set_tss_address(layout::TSS)
        .map_err(kvm("a task state segment"))?;
    vm.create_irq_chip().map_err(kvm("interrupt controllers"))?;
    Ok(mptable::write(memory, cpus)?)
}

/// Makes a processor what this guest's processors are; the first one is set to the kernel's entry.
///
/// # Errors
/// When KVM refuses.
pub fn set_up_processor(
    kvm: &Kvm,
    vcpu: &VcpuFd,
    memory: &Memory,
    number: u8,
    count: u8,
    entry: Entry,
) -> Result<(), SetUpError> {
    let refused = |what| move |source| SetUpError::Kvm { what, source };
    let mut cpuid = kvm
        .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
        .map_err(refused("a list of processor features"))?;
    shape_cpuid(&mut cpuid, number, count);
    vcpu.set_cpuid2(&cpuid)
        .map_err(refused("processor features"))?;
    registers::extend_state(vcpu, &cpuid)?;
    if number == 0 {
        registers::set(vcpu, memory, entry)?;
    }
    Ok(())
}
