//! Whether this machine's KVM runs a guest kernel's instructions, found out by running some.

use std::{fmt, io};

use kvm_ioctls::{Kvm, VcpuExit};
use vm_memory::{Bytes, GuestAddress};

use crate::arch::this::{
    Entry,
    probe::{CODE, ENTRY, SIGN},
    set_up_machine, set_up_processor,
};

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

/// How much memory the probe has.
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
            Ok(VcpuExit::IoOut(port, &[byte])) if (port, byte) == SIGN => return Ok(()),
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
