//! Whether this machine's KVM runs a guest kernel's instructions, found out by running some.

use std::{fmt, io};

use kvm_ioctls::{Kvm, VcpuExit};
use vm_memory::{Bytes, GuestAddress};

use crate::arch::this::{Entry, set_up_machine, set_up_processor};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Guests run.
    Usable,
    /// There is no `/dev/kvm`.
    NoDevice,
    /// `/dev/kvm` may not be opened by this user.
    NoPermission,
    /// The device is there and guests do not run.
    CannotRun(String),
}

impl fmt::Display for Probe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => write!(formatter, "KVM runs guests"),
            Self::NoDevice => write!(formatter, "there is no /dev/kvm on this machine"),
            Self::NoPermission => write!(formatter, "this user may not open /dev/kvm"),
            Self::CannotRun(why) => {
                write!(
                    formatter,
                    "/dev/kvm is there but cannot run a guest kernel ({why})"
                )
            }
        }
    }
}

/// 64-bit code at the address of a kernel's entry: instructions that every kernel uses early and
/// incomplete virtualisations lack, and at the end a byte for a port.
///
/// `sub rsp, …; cmpxchg16b [rsp]; fxsave/fxrstor [rsp + 64]; mov al, 42; out 0x80, al; hlt`
const CODE: &[u8] = &[
    0x48, 0xc7, 0xc4, 0x00, 0x00, 0x08, 0x00, // mov rsp, 0x80000
    0x31, 0xc0, 0x31, 0xd2, 0x31, 0xdb, 0x31, 0xc9, // xor eax, edx, ebx, ecx
    0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x24, // lock cmpxchg16b [rsp]
    0x0f, 0x20, 0xe0, // mov rax, cr4
    0x48, 0x0d, 0x00, 0x06, 0x00, 0x00, // or rax, OSFXSR | OSXMMEXCPT
    0x0f, 0x22, 0xe0, // mov cr4, rax
    0x0f, 0xae, 0x44, 0x24, 0x40, // fxsave [rsp + 64]
    0x0f, 0xae, 0x4c, 0x24, 0x40, // fxrstor [rsp + 64]
    0x0f, 0x20, 0xd8, // mov rax, cr3
    0x0f, 0x22, 0xd8, // mov cr3, rax
    0xb0, 0x2a, // mov al, 42
    0xe6, 0x80, // out 0x80, al
    0xf4, // hlt
];

/// Where the code stands, and how much memory the probe has.
const ENTRY: u64 = 0x10_0000;
const MEMORY: usize = 2 << 20;

/// Exits that the code may take; it needs one.
const MAX_EXITS: usize = 16;

/// Runs the probe: some milliseconds.
#[must_use]
pub fn run() -> Probe {
    let kvm = match Kvm::new() {
        Ok(kvm) => kvm,
        Err(error) => {
            return match io::Error::from_raw_os_error(error.errno()).kind() {
                io::ErrorKind::NotFound => Probe::NoDevice,
                io::ErrorKind::PermissionDenied => Probe::NoPermission,
                _ => Probe::CannotRun(error.to_string()),
            };
        }
    };
    match instructions(&kvm) {
        Ok(()) => Probe::Usable,
        Err(why) => Probe::CannotRun(why),
    }
}

fn instructions(kvm: &Kvm) -> Result<(), String> {
    let words = |action: &'static str| move |error| format!("{action}: {error}");
    let vm = kvm
        .create_vm()
        .map_err(words("cannot create a virtual machine"))?;
    let memory = crate::virtio::Memory::from_ranges(&[(GuestAddress(0), MEMORY)])
        .map_err(|error| error.to_string())?;
    memory
        .write_slice(CODE, GuestAddress(ENTRY))
        .map_err(|error| error.to_string())?;
    crate::memory::give(&vm, &memory).map_err(words("cannot give memory"))?;
    let source = |error: crate::arch::this::SetUpError| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    };
    set_up_machine(&vm, &memory, 1).map_err(source)?;
    let mut vcpu = vm
        .create_vcpu(0)
        .map_err(words("cannot create a processor"))?;
    let entry = Entry::Linux64(GuestAddress(ENTRY));
    set_up_processor(kvm, &vcpu, &memory, 0, 1, entry).map_err(source)?;
    for _ in 0..MAX_EXITS {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(0x80, [42])) => return Ok(()),
            Ok(VcpuExit::InternalError) => {
                return Err("it lacks instructions that kernels use".into());
            }
            Ok(VcpuExit::Intr) => {}
            Ok(exit) => return Err(format!("its first instructions end in {exit:?}")),
            Err(error) if error.errno() == libc::EINTR => {}
            Err(error) => return Err(format!("it does not run: {error}")),
        }
    }
    Err("its first instructions do not end".into())
}
