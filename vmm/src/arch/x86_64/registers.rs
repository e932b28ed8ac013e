//! The first processor's state at the kernel's first instruction.

use kvm_bindings::{CpuId, kvm_fpu, kvm_regs, kvm_segment, kvm_sregs, kvm_xcrs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::{
    Entry,
    layout::{GDT, LARGE_PAGE, PAGE, PAGE_TABLES, PVH_INFO, ZERO_PAGE},
};
use crate::virtio::Memory;

/// A flat 4 GiB segment: base 0, limit in pages.
const LIMIT: u32 = 0xf_ffff;
/// Selectors of code, data and task state in our table.
const CODE: u16 = 1;
const DATA: u16 = 2;
const TASK: u16 = 3;

/// Bits of CR0, CR4 and EFER.
const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// A page table entry that is present and writable, and one that maps 2 MiB.
const TABLE_ENTRY: u64 = 3;
const LARGE_PAGE_ENTRY: u64 = 0x83;
const ENTRIES: u64 = 512;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum RegistersError {
    /// KVM refused.
    #[error("cannot set the {what} of a processor")]
    Kvm {
        /// Which registers.
        what: &'static str,
        /// KVM's reason.
        source: kvm_ioctls::Error,
    },
    /// The tables do not fit into guest memory.
    #[error("cannot write the first processor's tables")]
    Memory(#[from] GuestMemoryError),
}

/// Turns on the state components that a processor offers, as the kernel is about to do: software
/// processors do not tell KVM when a guest does so, and KVM then gives sizes of that state that the
/// kernel finds inconsistent, so that the guest would have no AVX.
///
/// # Errors
/// When KVM refuses.
pub(super) fn extend_state(vcpu: &VcpuFd, cpuid: &CpuId) -> Result<(), RegistersError> {
    let kvm = |source| RegistersError::Kvm {
        what: "extended state",
        source,
    };
    let components = super::cpuid::components(cpuid);
    if components == 0 {
        return Ok(());
    }
    let mut registers = kvm_xcrs {
        nr_xcrs: 1,
        ..Default::default()
    };
    registers.xcrs[0].value = components.into();
    vcpu.set_xcrs(&registers).map_err(kvm)
}

/// Sets the first processor to the kernel's entry.
///
/// # Errors
/// When KVM refuses, or the guest has no memory for the tables.
pub(super) fn set(vcpu: &VcpuFd, memory: &Memory, entry: Entry) -> Result<(), RegistersError> {
    let kvm = |what| move |source| RegistersError::Kvm { what, source };
    let mut sregs = vcpu.get_sregs().map_err(kvm("segments"))?;
    let regs = match entry {
        Entry::Pvh(address) => {
            segments(&mut sregs, memory, Mode::Protected)?;
            sregs.cr0 = CR0_PE | CR0_ET;
            sregs.cr4 = 0;
            // PVH boot ABI: EBX holds the address of hvm_start_info.
            kvm_regs {
                rflags: 2,
                rip: address.0,
                rbx: PVH_INFO,
                ..Default::default()
            }
        }
        Entry::Linux64(address) => {
            segments(&mut sregs, memory, Mode::Long)?;
            page_tables(memory)?;
            sregs.cr3 = PAGE_TABLES;
            sregs.cr4 |= CR4_PAE;
            sregs.cr0 |= CR0_PE | CR0_PG;
            sregs.efer |= EFER_LME | EFER_LMA;
            // 64-bit boot protocol: RSI holds the address of boot_params.
            kvm_regs {
                rflags: 2,
                rip: address.0,
                rsi: ZERO_PAGE,
                ..Default::default()
            }
        }
    };
    vcpu.set_sregs(&sregs).map_err(kvm("segments"))?;
    vcpu.set_regs(&regs).map_err(kvm("registers"))?;
    // The reset values of the x87 and SSE control words.
    let fpu = kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..Default::default()
    };
    vcpu.set_fpu(&fpu).map_err(kvm("floating point unit"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Protected,
    Long,
}

fn segments(sregs: &mut kvm_sregs, memory: &Memory, mode: Mode) -> Result<(), GuestMemoryError> {
    let long = mode == Mode::Long;
    let flat = |selector: u16, kind: u8| kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: selector * 8,
        type_: kind,
        present: 1,
        dpl: 0,
        db: u8::from(!long || kind != 0xb),
        s: 1,
        l: u8::from(long && kind == 0xb),
        g: 1,
        ..Default::default()
    };
    let code = flat(CODE, 0xb);
    let data = flat(DATA, 0x3);
    let task = kvm_segment {
        limit: if long { u32::MAX } else { 0x67 },
        selector: TASK * 8,
        type_: 0xb,
        present: 1,
        ..Default::default()
    };
    let table = [0, descriptor(&code), descriptor(&data), descriptor(&task)];
    for (index, entry) in (0_u64..).zip(table) {
        memory.write_obj(entry, GuestAddress(GDT + index * 8))?;
    }
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 4 * 8 - 1;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cs = code;
    sregs.ds = data;
    sregs.es = data;
    sregs.fs = data;
    sregs.gs = data;
    sregs.ss = data;
    sregs.tr = task;
    Ok(())
}

/// A segment as the processor's table holds it (Intel SDM volume 3, 3.4.5).
fn descriptor(segment: &kvm_segment) -> u64 {
    let bit = |value: u8, shift: u32| u64::from(value) << shift;
    let limit = u64::from(if segment.g == 1 {
        LIMIT
    } else {
        segment.limit & LIMIT
    });
    (limit & 0xffff)
        | (segment.base & 0xff_ffff) << 16
        | bit(segment.type_, 40)
        | bit(segment.s, 44)
        | bit(segment.dpl, 45)
        | bit(segment.present, 47)
        | (limit >> 16) << 48
        | bit(segment.l, 53)
        | bit(segment.db, 54)
        | bit(segment.g, 55)
        | (segment.base >> 24 & 0xff) << 56
}

/// Maps the first GiB to itself.
fn page_tables(memory: &Memory) -> Result<(), GuestMemoryError> {
    let write = |address: u64, entry: u64| memory.write_obj(entry, GuestAddress(address));
    write(PAGE_TABLES, (PAGE_TABLES + PAGE) | TABLE_ENTRY)?;
    write(PAGE_TABLES + PAGE, (PAGE_TABLES + 2 * PAGE) | TABLE_ENTRY)?;
    for index in 0..ENTRIES {
        write(
            PAGE_TABLES + 2 * PAGE + index * 8,
            (index * LARGE_PAGE) | LARGE_PAGE_ENTRY,
        )?;
    }
    Ok(())
}
