//! What a guest's processors say that they are.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Leaves (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
const FEATURES: u32 = 1;
const CACHES: u32 = 4;
const POWER: u32 = 6;
const MORE_FEATURES: u32 = 7;
const PERFORMANCE: u32 = 0xa;
const TOPOLOGY: u32 = 0xb;
const STATE: u32 = 0xd;
const TOPOLOGY_V2: u32 = 0x1f;
const AMD_TOPOLOGY: u32 = 0x8000_001e;
const AMD_SIZES: u32 = 0x8000_0008;

/// State components that guests get: x87, SSE and AVX. The larger ones (AVX-512, AMX, protection
/// keys) cost memory for each thread and time at each switch, and software processors lay them out
/// in ways that Linux refuses.
const COMPONENTS: u32 = 0b111;

/// Bits of leaf 1, ECX: `x2APIC`, deadline timer, XSAVE, hypervisor.
const X2APIC: u32 = 1 << 21;
const DEADLINE_TIMER: u32 = 1 << 24;
const XSAVE: u32 = 1 << 26;
const HYPERVISOR: u32 = 1 << 31;
/// Bits of leaf 1, EDX: hyper-threading (the package has several logical processors).
const SEVERAL: u32 = 1 << 28;

/// Bit of leaf 6, EAX: the APIC's timer runs at a constant rate in every power state (ARAT).
const STEADY_TIMER: u32 = 1 << 2;

/// Bits of leaf 7 that belong to state components beyond AVX: in EBX the AVX-512 family and MPX, in
/// ECX protection keys and more AVX-512, in EDX more AVX-512 and AMX.
const BEYOND_AVX_EBX: u32 = 1 << 14 | 1 << 16 | 1 << 17 | 1 << 21 | 0b111 << 26 | 1 << 30 | 1 << 31;
const BEYOND_AVX_ECX: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 11 | 1 << 12 | 1 << 14;
const BEYOND_AVX_EDX: u32 = 1 << 2 | 1 << 3 | 1 << 8 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 25;
/// Leaf 7, subleaf 1, EAX: AVX-512 for short floats, and AMX.
const BEYOND_AVX_SUBLEAF: u32 = 1 << 5 | 1 << 21;

/// Bits of leaf 0xd, subleaf 1, EAX: XSAVES, with its supervisor components.
const XSAVES: u32 = 1 << 3;

/// Adapts what KVM can give to processor `number` of `count`.
pub fn shape(cpuid: &mut CpuId, number: u8, count: u8) {
    cpuid.retain(|entry| {
        let topology = [TOPOLOGY, TOPOLOGY_V2, AMD_TOPOLOGY].contains(&entry.function);
        let beyond = entry.function == STATE && entry.index > 2;
        !topology && !beyond
    });
    for entry in cpuid.as_mut_slice() {
        adapt(entry, number, count);
    }
    for (index, (shift, logical, level)) in
        (0..).zip([(0, 1, 1), (bits(count), u32::from(count), 2)])
    {
        let entry = kvm_cpuid_entry2 {
            function: TOPOLOGY,
            index,
            flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax: shift,
            ebx: logical,
            ecx: level << 8 | index,
            edx: u32::from(number),
            ..Default::default()
        };
        // The list has room for every leaf that there is, and some were just taken out.
        let _ = cpuid.push(entry);
    }
}

/// The state components that a shaped list offers, as bits of XCR0; 0 without XSAVE.
pub(super) fn components(cpuid: &CpuId) -> u32 {
    let find = |function, index| {
        let mut entries = cpuid.as_slice().iter();
        entries.find(|entry| entry.function == function && entry.index == index)
    };
    match (find(FEATURES, 0), find(STATE, 0)) {
        (Some(features), Some(state)) if features.ecx & XSAVE != 0 => state.eax,
        _ => 0,
    }
}

fn adapt(entry: &mut kvm_cpuid_entry2, number: u8, count: u8) {
    let (number, count) = (u32::from(number), u32::from(count));
    match (entry.function, entry.index) {
        (FEATURES, _) => {
            entry.ebx = entry.ebx & 0xffff | count << 16 | number << 24;
            entry.ecx |= X2APIC | DEADLINE_TIMER | HYPERVISOR;
            entry.edx = if count > 1 {
                entry.edx | SEVERAL
            } else {
                entry.edx & !SEVERAL
            };
        }
        (CACHES, _) => {
            // Each core has caches of its own, and the package has so many cores.
            entry.eax = entry.eax & 0x3fff | (count - 1) << 26;
        }
        // No power management; the APIC's timer never stops, so that no other one is looked for.
        (POWER, _) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (STEADY_TIMER, 0, 0, 0),
        // No counters that would tell of other guests.
        (PERFORMANCE, _) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
        (MORE_FEATURES, 0) => {
            entry.ebx &= !BEYOND_AVX_EBX;
            entry.ecx &= !BEYOND_AVX_ECX;
            entry.edx &= !BEYOND_AVX_EDX;
        }
        (MORE_FEATURES, 1) => entry.eax &= !BEYOND_AVX_SUBLEAF,
        (STATE, 0) => {
            entry.eax &= COMPONENTS;
            entry.edx = 0;
            // Header and legacy area, and AVX's upper halves after them.
            let size = if entry.eax & 0b100 == 0 { 576 } else { 832 };
            (entry.ebx, entry.ecx) = (size, size);
        }
        (STATE, 1) => {
            entry.eax &= !XSAVES;
            (entry.ebx, entry.ecx, entry.edx) = (0, 0, 0);
        }
        (AMD_SIZES, _) => entry.ecx = count - 1,
        _ => {}
    }
}

/// Bits that number so many processors.
fn bits(count: u8) -> u32 {
    u32::from(count).next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, value: u32) -> kvm_cpuid_entry2 {
        let (eax, ebx, ecx, edx) = (value, value, value, value);
        kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        }
    }

    fn shaped(number: u8, count: u8) -> Vec<kvm_cpuid_entry2> {
        let all = [
            (1, 0),
            (4, 0),
            (6, 0),
            (7, 0),
            (0xb, 0),
            (0xd, 0),
            (0xd, 1),
            (0xd, 5),
        ];
        let entries: Vec<_> = all
            .into_iter()
            .map(|(leaf, index)| entry(leaf, index, u32::MAX))
            .collect();
        let mut cpuid = CpuId::from_entries(&entries).unwrap();
        shape(&mut cpuid, number, count);
        cpuid.as_slice().to_vec()
    }

    fn leaf(list: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
        *list
            .iter()
            .find(|entry| entry.function == function && entry.index == index)
            .unwrap()
    }

    #[test]
    fn processor_knows_its_number_and_how_many_there_are() {
        let list = shaped(2, 3);
        assert_eq!(leaf(&list, 1, 0).ebx >> 16, 2 << 8 | 3);
        assert_eq!(leaf(&list, TOPOLOGY, 1).eax, 2);
        assert_eq!(leaf(&list, TOPOLOGY, 0).edx, 2);
    }

    #[test]
    fn components_are_those_that_xsave_saves() {
        let list = |features| {
            let entries = [entry(FEATURES, 0, features), entry(STATE, 0, 0b111)];
            CpuId::from_entries(&entries).unwrap()
        };
        assert_eq!(components(&list(XSAVE)), 0b111);
        assert_eq!(components(&list(0)), 0);
    }

    #[test]
    fn state_beyond_avx_is_not_offered() {
        let list = shaped(0, 1);
        assert_eq!(leaf(&list, STATE, 0).eax, COMPONENTS);
        assert_eq!(leaf(&list, STATE, 0).ecx, 832);
        assert!(
            !list
                .iter()
                .any(|entry| entry.function == STATE && entry.index == 5)
        );
        assert_eq!(leaf(&list, MORE_FEATURES, 0).ebx & 1 << 16, 0);
    }
}
