//! What depends on the processor's architecture.

use vm_memory::GuestAddress;

#[cfg(target_arch = "x86_64")]
pub mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64 as this;

/// A piece of the guest's memory that was read from the kernel's file, and that is not for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where it is: on a page's boundary.
    pub start: GuestAddress,
    /// Its bytes: whole pages.
    pub length: u64,
    /// Where it stands in the file: on a page's boundary.
    pub offset: u64,
}
