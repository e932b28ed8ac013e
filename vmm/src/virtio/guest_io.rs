//! Input and output straight from and to guest memory: the kernel copies, and no reference into
//! memory that the guest changes is ever made.
#![expect(unsafe_code, reason = "the kernel is given addresses of guest memory")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use vm_memory::VolatileSlice;

/// Turns a system call's result into bytes done; `None` asks to try again.
fn done(result: isize) -> io::Result<Option<usize>> {
    match usize::try_from(result) {
        Ok(count) => Ok(Some(count)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            error => Err(error),
        },
    }
}

/// An offset as system calls take it.
fn position(offset: u64) -> io::Result<libc::off64_t> {
    offset
        .try_into()
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Fills guest memory from a file.
///
/// # Errors
/// When the file fails or ends before.
pub(crate) fn read_exact_at(
    file: impl AsFd,
    slice: &VolatileSlice<'_>,
    offset: u64,
) -> io::Result<()> {
    let descriptor = file.as_fd().as_raw_fd();
    let mut filled = 0;
    while filled < slice.len() {
        let rest = slice.offset(filled).map_err(io::Error::other)?;
        let at = position(offset + filled as u64)?;
        let guard = rest.ptr_guard_mut();
        // SAFETY: the guard keeps `rest.len()` bytes at this address mapped while the kernel writes
        // there; that the guest may write too is as with any device.
        let result = unsafe { libc::pread64(descriptor, guard.as_ptr().cast(), rest.len(), at) };
        match done(result)? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(count) => filled += count,
            None => {}
        }
    }
    Ok(())
}

/// Writes guest memory to a file.
///
/// # Errors
/// When the file fails.
pub(crate) fn write_all_at(
    file: impl AsFd,
    slice: &VolatileSlice<'_>,
    offset: u64,
) -> io::Result<()> {
    let descriptor = file.as_fd().as_raw_fd();
    let mut written = 0;
    while written < slice.len() {
        let rest = slice.offset(written).map_err(io::Error::other)?;
        let at = position(offset + written as u64)?;
        let guard = rest.ptr_guard();
        // SAFETY: the guard keeps `rest.len()` bytes at this address mapped while the kernel reads
        // them; whatever it reads is the guest's to decide.
        let result = unsafe { libc::pwrite64(descriptor, guard.as_ptr().cast(), rest.len(), at) };
        match done(result)? {
            Some(0) => return Err(io::ErrorKind::WriteZero.into()),
            Some(count) => written += count,
            None => {}
        }
    }
    Ok(())
}

/// Receives what a socket has into guest memory, at most its length; 0 at the end of the stream.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when there is nothing, and as `recv(2)`.
pub(crate) fn receive(socket: impl AsFd, slice: &VolatileSlice<'_>) -> io::Result<usize> {
    let descriptor = socket.as_fd().as_raw_fd();
    loop {
        let guard = slice.ptr_guard_mut();
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: as in `read_exact_at`.
        let result = unsafe { libc::recv(descriptor, guard.as_ptr().cast(), slice.len(), flags) };
        if let Some(count) = done(result)? {
            return Ok(count);
        }
    }
}

/// Sends guest memory to a socket, as much as it takes.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when it takes nothing now, and as `send(2)`.
pub(crate) fn send(socket: impl AsFd, slice: &VolatileSlice<'_>) -> io::Result<usize> {
    let descriptor = socket.as_fd().as_raw_fd();
    loop {
        let guard = slice.ptr_guard();
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: as in `write_all_at`.
        let result = unsafe { libc::send(descriptor, guard.as_ptr().cast(), slice.len(), flags) };
        if let Some(count) = done(result)? {
            return Ok(count);
        }
    }
}
