//! Which system calls each kind of thread may make. Anything else ends the process.

use std::{collections::BTreeMap, sync::Arc};

use libc::sock_filter;

use super::{
    instructions::{self, Outcome},
    sys,
};

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Runs a virtual processor.
    Vcpu,
    /// Serves disks.
    Disk,
    /// Everything else: the owner, vsock, random numbers, the balloon.
    Main,
}

/// Every thread: locks, memory of the allocator, time, events, its own end.
const COMMON: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    // A device is activated on the processor that sets its status, and watches its descriptors.
    libc::SYS_epoll_ctl,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    // Keys of the hash tables that a device makes when it is activated.
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
];

// Which of the guest's memory is there, before what holds something is packed.
const VCPU: &[i64] = &[libc::SYS_mincore];

const DISK: &[i64] = &[
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pread64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_pwrite64,
];

const MAIN: &[i64] = &[
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_writev,
];

/// `KVM_RUN` (`linux/kvm.h`), the only request of a processor's thread.
const KVM_RUN: u32 = 0xae80;
/// `FIONBIO`, by which a socket becomes non-blocking.
const FIONBIO: u32 = 0x5421;

/// A compiled filter, which threads of a kind share.
#[derive(Clone)]
pub struct Filter {
    program: Arc<[sock_filter]>,
}

impl Filter {
    /// Puts the filter on the calling thread, for good. The thread has given up new privileges.
    ///
    /// # Panics
    /// When the kernel refuses: a thread without its filter must not run.
    pub fn apply(&self) {
        sys::set_filter(&self.program).expect("a kernel that runs KVM has system call filters");
    }
}

/// Compiles the filter of a kind of thread.
#[must_use]
pub fn filter(kind: Kind) -> Filter {
    let own: &[i64] = match kind {
        Kind::Vcpu => VCPU,
        Kind::Disk => DISK,
        Kind::Main => MAIN,
    };
    let calls = COMMON.iter().chain(own);
    let mut rules: BTreeMap<i64, Outcome> = calls.map(|call| (*call, Outcome::Allow)).collect();
    // Memory that is mapped anew is never executable.
    let plain = Outcome::Without(2, libc::PROT_EXEC.unsigned_abs());
    rules.insert(libc::SYS_mmap, plain);
    rules.insert(libc::SYS_mprotect, plain);
    // Memory given back: the allocator's own, and the guest's.
    let given = libc::MADV_DONTNEED.unsigned_abs();
    rules.insert(libc::SYS_madvise, Outcome::Equal(2, given));
    // What stays of the guest's once it idles is to stay small.
    let small = libc::MADV_NOHUGEPAGE.unsigned_abs();
    let given_or_small = Outcome::Either(2, [given, small]);
    // The standard library, built to find mistakes, asks whether a descriptor is open before it
    // closes it.
    if cfg!(debug_assertions) {
        rules.insert(
            libc::SYS_fcntl,
            Outcome::Equal(1, libc::F_GETFD.unsigned_abs()),
        );
    }
    match kind {
        Kind::Vcpu => {
            rules.insert(libc::SYS_ioctl, Outcome::Equal(1, KVM_RUN));
            rules.insert(libc::SYS_madvise, given_or_small);
        }
        Kind::Main => {
            rules.insert(libc::SYS_ioctl, Outcome::Equal(1, FIONBIO));
            let unix = Outcome::Equal(0, libc::AF_UNIX.unsigned_abs());
            rules.insert(libc::SYS_socketpair, unix);
            rules.insert(libc::SYS_madvise, given_or_small);
        }
        Kind::Disk => {}
    }
    Filter {
        program: instructions::program(&rules).into(),
    }
}
