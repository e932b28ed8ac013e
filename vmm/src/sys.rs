//! Descriptors of libraries that do not speak of them in the standard library's types.
#![expect(unsafe_code, reason = "borrows raw descriptors of types that own them")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Borrows the descriptor of a value that owns it.
pub(crate) fn borrow<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open for as long as its owner lives, which the borrow outlives not.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}
