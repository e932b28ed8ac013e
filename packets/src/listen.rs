//! Sockets at paths of any length.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, fchmod, open},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    },
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket at a path where nothing is, which takes connections of its owner's processes.
///
/// # Errors
/// As `bind(2)`.
pub fn listener(path: &Path) -> std::io::Result<OwnedFd> {
    let socket = socket()?;
    let (_directory, address) = short(path)?;
    // bind(2) gives the file the socket's own mode, less the umask: it is never open to others.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// A socket that is connected to the one at this path.
pub(super) fn connected(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    let (_directory, address) = short(path)?;
    connect(&socket, &address)?;
    Ok(socket)
}

fn socket() -> Result<OwnedFd, Errno> {
    let kind = SocketType::SEQPACKET;
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

/// An address of a path of any length, of which a socket's address holds 107 bytes; it is good for
/// as long as the descriptor of its directory is open.
fn short(path: &Path) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    let name = path.file_name().unwrap_or_default();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty())?;
    let number = directory.as_raw_fd().to_string();
    let address = SocketAddrUnix::new(Path::new("/proc/self/fd").join(number).join(name))?;
    Ok((directory, address))
}
