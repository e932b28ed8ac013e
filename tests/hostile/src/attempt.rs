//! One try at something that may be forbidden, in a process of its own, and what came of it in a word.

use crate::sys;

/// The error number of a system call that failed.
pub(crate) type Refused = i32;

/// What a child says of an attempt that worked; error numbers are below.
const DONE: i32 = 200;

/// Tries something in a child, which may be killed for it; prints what came of it.
pub(crate) fn attempt(name: &str, action: impl FnOnce() -> Result<u64, Refused>) {
    let outcome = in_child(action);
    println!("{name}: {outcome}");
}

/// What comes of something that a child does.
pub(crate) fn in_child(action: impl FnOnce() -> Result<u64, Refused>) -> String {
    let child = sys::fork(|| match action() {
        Ok(_) => DONE,
        Err(number) => number,
    });
    match child.and_then(sys::wait) {
        Ok(sys::End::Code(DONE)) => "done".into(),
        Ok(sys::End::Code(number)) => name_of(number),
        Ok(sys::End::Signal(number)) => format!("signal {number}"),
        Err(number) => format!("no child: {}", name_of(number)),
    }
}

/// The name of an error number.
pub(crate) fn name_of(number: Refused) -> String {
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ESRCH, "ESRCH"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENFILE, "ENFILE"),
        (libc::EMFILE, "EMFILE"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::ETXTBSY, "ETXTBSY"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EROFS, "EROFS"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ELOOP, "ELOOP"),
        (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::ENOPKG, "ENOPKG"),
        (libc::EXDEV, "EXDEV"),
        (libc::EDQUOT, "EDQUOT"),
    ];
    let known = names.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("error {number}"), |(_, name)| (*name).into())
}
