//! Docker's default system call filter, as a program for the kernel's BPF machine.
//!
//! The usual builders emit one comparison per call and know one interface only. A container starts
//! in a few milliseconds, and the kernel runs a new filter once for every call number when it is
//! installed, so calls with the same outcome are joined into ranges here and found by binary
//! search: about eight steps, for each of the three interfaces that an x86_64 kernel has.

mod instructions;
mod table;

use libc::sock_filter;

use crate::{
    failure::{Failure, Stage},
    sys,
};

/// `CAP_SYS_ADMIN`.
const SYS_ADMIN: u8 = 21;

/// When a system call is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Always.
    Always,
    /// With this capability.
    Capability(u8),
    /// With one of these capabilities.
    Either(u8, u8),
    /// For the personalities that change nothing that protects.
    Personality,
    /// For all address families but vsock, whose other end is the host, and the kernel's
    /// cryptography, which moby refuses since CVE-2026-31431.
    Socket,
    /// The same by i386's one call for all that has to do with sockets, whose arguments lie in
    /// memory, where a filter cannot look: it makes no sockets at all, and has no options of theirs.
    SocketCall,
    /// For all options but the one that gives a descriptor for the process at the other end, which may be
    /// init's where a container traces a process that init has just sent into it.
    GetSocketOption,
    /// For all options but the one by which such descriptors come with what is received.
    SetSocketOption,
    /// Unless it takes files out of the project for whose limit they count.
    Ioctl,
    /// With `CAP_SYS_ADMIN`, unless it could take that limit away.
    Quota,
    /// When it makes no namespace, or with `CAP_SYS_ADMIN`.
    Clone,
    /// With `CAP_SYS_ADMIN`; else it does not seem to exist, so that the C library uses `clone`,
    /// whose flags a filter can see.
    Clone3,
}

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Allow,
    /// It fails with this error number.
    Fail(u16),
    /// Its first argument is one of the harmless personalities.
    PlainPersonality,
    /// Its first argument is not the vsock address family.
    NotVsock,
    /// Nor that of the kernel's cryptography.
    PlainFamily,
    /// Its first argument asks neither for a new socket nor for options, which seem not to exist.
    PlainSocketCall,
    /// Its second and third arguments do not name this option of all sockets, which seems not to exist, as in
    /// Linux before 6.5.
    NotOption(u16),
    /// Its second argument sets no attributes of a file, which seem not to exist on its file system.
    NoFileAttributes,
    /// Its first argument has no flag that makes a namespace.
    NoNamespace,
}

/// The system call interfaces of an x86_64 kernel; the value is the index of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abi {
    X86_64 = 0,
    I386 = 1,
    X32 = 2,
}

const EPERM: u16 = 1;
const ENOTTY: u16 = 25;
const ENOSYS: u16 = 38;
const ENOPROTOOPT: u16 = 92;

// `SO_PASSPIDFD` and `SO_PEERPIDFD` of asm-generic/socket.h. A descriptor for init would be the way to
// what init holds: its neighbours' files, and the control channel.
const PASS_PROCESS: u16 = 76;
const PEER_PROCESS: u16 = 77;

/// What a container may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Capability `n` is bit `n`.
    pub capabilities: u64,
    /// Its files count for a limit on a disk that others use, too, and must go on to.
    pub is_limited: bool,
}

impl Rule {
    fn outcome(self, rights: Rights) -> Outcome {
        let has = |capability: u8| rights.capabilities & (1 << capability) != 0;
        let allow_if = |condition| {
            if condition {
                Outcome::Allow
            } else {
                Outcome::Fail(EPERM)
            }
        };
        match self {
            Self::Always => Outcome::Allow,
            Self::Capability(one) => allow_if(has(one)),
            Self::Either(one, other) => allow_if(has(one) || has(other)),
            Self::Personality => Outcome::PlainPersonality,
            Self::Socket => Outcome::PlainFamily,
            Self::SocketCall => Outcome::PlainSocketCall,
            Self::GetSocketOption => Outcome::NotOption(PEER_PROCESS),
            Self::SetSocketOption => Outcome::NotOption(PASS_PROCESS),
            Self::Ioctl if rights.is_limited => Outcome::NoFileAttributes,
            Self::Ioctl => Outcome::Allow,
            Self::Quota => allow_if(has(SYS_ADMIN) && !rights.is_limited),
            Self::Clone | Self::Clone3 if has(SYS_ADMIN) => Outcome::Allow,
            Self::Clone => Outcome::NoNamespace,
            Self::Clone3 => Outcome::Fail(ENOSYS),
        }
    }
}

/// Ranges of call numbers with the same outcome, as (first number, outcome), in order from 0. What
/// lies above the newest known call does not exist, as far as a container can tell: a C library
/// that tries something new then takes the older way, where `EPERM` would stop it.
fn ranges(abi: Abi, rights: Rights) -> Vec<(u32, Outcome)> {
    let mut known: Vec<(u32, Outcome)> = table::CALLS
        .iter()
        .filter_map(|call| {
            let number = *call.numbers.get(abi as usize)?;
            let outcome = call.rule.outcome(rights);
            (number != table::NO).then_some((u32::from(number), outcome))
        })
        .collect();
    known.sort_unstable_by_key(|(number, _)| *number);
    let mut ranges: Vec<(u32, Outcome)> = Vec::with_capacity(known.len());
    let mut push = |number, outcome| match ranges.last() {
        Some((_, last)) if *last == outcome => {}
        _ => ranges.push((number, outcome)),
    };
    let mut next = 0;
    for (number, outcome) in known {
        if number > next {
            push(next, Outcome::Fail(EPERM));
        }
        push(number, outcome);
        next = number + 1;
    }
    push(next, Outcome::Fail(ENOSYS));
    ranges
}

/// Which interfaces for system calls the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interfaces {
    /// The native one alone, as the guest kernel that is built for it.
    Native,
    /// Perhaps those for programs of 32 bits too.
    All,
}

impl Interfaces {
    /// Those of the running kernel, which has a setting for programs of 32 bits when it runs them.
    #[must_use]
    pub fn of_kernel() -> Self {
        let exists = |path| std::path::Path::new(path).exists();
        if exists("/proc/sys/kernel") && !exists("/proc/sys/abi/vsyscall32") {
            Self::Native
        } else {
            Self::All
        }
    }
}

/// The filter for a container with these rights. For the native interface alone it has a third of the
/// instructions; a call by another one, which the kernel then has not, ends the process.
#[must_use]
pub fn program(rights: Rights, interfaces: Interfaces) -> Vec<sock_filter> {
    assembled(interfaces, |abi| instructions::search(&ranges(abi, rights)))
}

fn assembled(interfaces: Interfaces, search: impl Fn(Abi) -> Vec<sock_filter>) -> Vec<sock_filter> {
    match interfaces {
        Interfaces::Native => instructions::native_only(search(Abi::X86_64)),
        Interfaces::All => {
            instructions::dispatch(search(Abi::X86_64), search(Abi::I386), search(Abi::X32))
        }
    }
}

/// The filter of a container that is to have none: all that it keeps a program from is a vsock
/// socket, whose other end is the host, init's descriptors, which would be reached through a socket
/// of a process that init has just sent into the container, and, where there is one, a way out of its limit.
/// `io_uring` could do the first two past any filter.
#[must_use]
pub fn unconfined(rights: Rights, interfaces: Interfaces) -> Vec<sock_filter> {
    let search = |abi| instructions::search(&unconfined_ranges(abi, rights));
    assembled(interfaces, search)
}

fn unconfined_ranges(abi: Abi, rights: Rights) -> Vec<(u32, Outcome)> {
    let set = Outcome::NotOption(PASS_PROCESS);
    let get = Outcome::NotOption(PEER_PROCESS);
    let refused = Outcome::Fail(EPERM);
    let ioctl = Rule::Ioctl.outcome(rights);
    let (attributes, limits) = match rights.is_limited {
        true => (Outcome::Fail(ENOSYS), refused),
        false => (Outcome::Allow, Outcome::Allow),
    };
    // In order. 131 and 179 are `quotactl`, 425 `io_uring_setup`, 438 `pidfd_getfd`, 443 `quotactl_fd`, and 469
    // `file_setattr`, of Linux 6.17.
    let special: &[(u32, Outcome)] = match abi {
        Abi::X86_64 => &[
            (16, ioctl),
            (41, Outcome::NotVsock),
            (54, set),
            (55, get),
            (179, limits),
            (425, refused),
            (438, refused),
            (443, limits),
            (469, attributes),
        ],
        Abi::I386 => &[
            (54, ioctl),
            (102, Outcome::PlainSocketCall),
            (131, limits),
            (359, Outcome::NotVsock),
            (365, get),
            (366, set),
            (425, refused),
            (438, refused),
            (443, limits),
            (469, attributes),
        ],
        Abi::X32 => &[
            (41, Outcome::NotVsock),
            (179, limits),
            (425, refused),
            (438, refused),
            (443, limits),
            (469, attributes),
            (514, ioctl),
            (541, set),
            (542, get),
        ],
    };
    let mut ranges = Vec::with_capacity(2 * special.len() + 1);
    let mut next = 0;
    let special = special.iter();
    for (number, outcome) in special.filter(|(_, outcome)| *outcome != Outcome::Allow) {
        if *number > next {
            ranges.push((next, Outcome::Allow));
        }
        ranges.push((*number, *outcome));
        next = number + 1;
    }
    ranges.push((next, Outcome::Allow));
    ranges
}

/// Installs the filter on this process; needs `CAP_SYS_ADMIN` or no_new_privs.
///
/// # Errors
/// When the kernel has no seccomp, or refuses.
pub fn install(program: &[sock_filter]) -> Result<(), Failure> {
    sys::set_seccomp(program).stage(|| "install the system call filter")
}

#[cfg(test)]
mod tests;
