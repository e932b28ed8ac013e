//! Connections to the host.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::check;

/// `SO_VM_SOCKETS_CONNECT_TIMEOUT` of linux/vm_sockets.h, a `struct timeval`.
const VSOCK_CONNECT_TIMEOUT: i32 = 6;

/// Seconds that a connection to the host may take. The kernel's 2 are over before a machine that is
/// busy, or emulated, has run the monitor once; who waits for the guest gives it up before these.
const VSOCK_PATIENCE: libc::time_t = 100;

/// Starts a stream connection over vsock; without `wait`, `EINPROGRESS` counts as success.
pub(crate) fn vsock_connect(cid: u32, port: u32, wait: bool) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | if wait { 0 } else { libc::SOCK_NONBLOCK };
    // SAFETY: plain integers.
    let socket = check(libc::c_long::from(unsafe {
        libc::socket(libc::AF_VSOCK, kind, 0)
    }))?;
    let socket = RawFd::try_from(socket).map_err(io::Error::other)?;
    // SAFETY: the descriptor was just made and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    be_patient(&socket)?;
    // SAFETY: `sockaddr_vm` is plain integers, for which zero is a valid value.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::sa_family_t::try_from(libc::AF_VSOCK).map_err(io::Error::other)?;
    address.svm_cid = cid;
    address.svm_port = port;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_vm>());
    // SAFETY: the address is a whole `sockaddr_vm` of the length given.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            ptr::from_ref(&address).cast(),
            length.map_err(io::Error::other)?,
        )
    };
    match check(libc::c_long::from(result)) {
        Err(error) if wait || error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Lets a connection take as long as a busy host may need.
fn be_patient(socket: &OwnedFd) -> io::Result<()> {
    let patience = libc::timeval {
        tv_sec: VSOCK_PATIENCE,
        tv_usec: 0,
    };
    let length = libc::socklen_t::try_from(size_of::<libc::timeval>()).map_err(io::Error::other)?;
    // SAFETY: the option takes one `timeval`, which lives through the call.
    check(libc::c_long::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::AF_VSOCK,
            VSOCK_CONNECT_TIMEOUT,
            ptr::from_ref(&patience).cast(),
            length,
        )
    }))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_to_the_host_has_time() {
        // SAFETY: plain integers.
        let socket = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0) };
        if socket < 0 {
            // A kernel without such sockets has nothing to be patient with.
            return;
        }
        // SAFETY: the descriptor was just made and nothing else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        be_patient(&socket).unwrap();
        let mut limit = libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        let mut length = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap();
        // SAFETY: the option is one `timeval`, and both places outlive the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::AF_VSOCK,
                VSOCK_CONNECT_TIMEOUT,
                ptr::from_mut(&mut limit).cast(),
                &raw mut length,
            )
        };
        assert_eq!((result, limit.tv_sec), (0, VSOCK_PATIENCE));
    }
}
