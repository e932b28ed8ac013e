//! What the standard library and rustix do not offer safely: what a child process does before it
//! becomes its program, and mount attributes.
#![expect(
    unsafe_code,
    reason = "pre_exec, unshare and mount_setattr have no safe interface"
)]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::Path,
    process::Command,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    mount::mount_bind,
    process::{ioctl_tiocsctty, setsid},
    thread::UnshareFlags,
};

/// Lets the child inherit these descriptors, under their numbers. Only the child: another child
/// that is started at the same time does not get them.
pub(super) fn inherit(command: &mut Command, descriptors: Vec<OwnedFd>) {
    let pass = move || {
        for descriptor in &descriptors {
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes `fcntl` system calls on descriptors
    // that it owns; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(pass) };
}

/// What stands at a place, and the path that it is to be found at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Substitute {
    pub(super) place: CString,
    pub(super) path: CString,
}

/// Puts the child into a mount namespace of its own, in which files are found at these places of others; where
/// that cannot be, it finds the others.
pub(super) fn substitute(command: &mut Command, substitutes: Vec<Substitute>) {
    let bind = move || {
        if unshare(UnshareFlags::NEWNS).is_ok() {
            for Substitute { place, path } in &substitutes {
                let _ = mount_bind(place.as_c_str(), path.as_c_str());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes `unshare` and `mount` system calls, with strings that it
    // owns; it allocates nothing and takes no lock. The child has one thread.
    unsafe { command.pre_exec(bind) };
}

/// Makes the child the leader of a session of its own, without a terminal.
pub(super) fn new_session(command: &mut Command) {
    // SAFETY: between fork and exec the closure only makes one `setsid` system call.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Ok(())
        });
    }
}

/// Makes the child the leader of a session whose terminal is its standard input.
pub(super) fn own_terminal(command: &mut Command) {
    // SAFETY: between fork and exec the closure only makes a `setsid` and an `ioctl` system call,
    // on a descriptor that the standard library has opened as the child's standard input.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Ok(ioctl_tiocsctty(BorrowedFd::borrow_raw(libc::STDIN_FILENO))?)
        });
    }
}

/// Puts this process, which must have one thread only, into new namespaces.
///
/// # Errors
/// As `unshare(2)`.
pub(super) fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    // SAFETY: what makes this call unsafe is the sharing of descriptors between threads; the
    // callers unshare namespaces alone.
    Ok(unsafe { rustix::thread::unshare_unsafe(namespaces) }?)
}

/// Makes every mount below `/` read-only in this process's mount namespace.
///
/// # Errors
/// As `mount_setattr(2)`; `ENOSYS` before Linux 5.12.
pub(super) fn make_all_mounts_read_only() -> io::Result<()> {
    set_attributes(
        Path::new("/"),
        libc::AT_RECURSIVE,
        (libc::MOUNT_ATTR_RDONLY, 0),
    )
}

/// Makes the mount at a path writable again.
///
/// # Errors
/// As `mount_setattr(2)`.
pub(super) fn make_mount_writable(path: &Path) -> io::Result<()> {
    set_attributes(path, 0, (0, libc::MOUNT_ATTR_RDONLY))
}

fn set_attributes(path: &Path, flags: i32, (set, clear): (u64, u64)) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a string that ends with a zero byte, and the structure lives until the
    // call returns; its size is given with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A descriptor's number, for a command line.
pub(super) fn number(descriptor: &OwnedFd) -> String {
    descriptor.as_raw_fd().to_string()
}
