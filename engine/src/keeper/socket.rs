//! The socket by which commands reach a keeper.

use std::{
    fs,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect as connect_to,
        listen, socket_with,
    },
};
use vmm::control::Socket;

use contracts::keeper::{Request, VERSION};

use crate::state::{create_directory, private};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Digits of an identifier that name a socket.
const DIGITS: usize = 32;

/// Where the keeper of a container listens.
pub(crate) fn path(runtime: &Path, id: &str) -> PathBuf {
    runtime.join("keepers").join(id.get(..DIGITS).unwrap_or(id))
}

/// Listens at a path; what a keeper that died left there is replaced.
///
/// # Errors
/// As `bind(2)`.
pub(crate) fn listener(path: &Path) -> Result<OwnedFd> {
    let make = || -> Result<OwnedFd> {
        if let Some(directory) = path.parent() {
            create_directory(directory)?;
        }
        let _ = fs::remove_file(path);
        let socket = packets()?;
        let (_directory, address) = short(path)?;
        private::close_socket(&socket)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    make().with_context(|| format!("cannot listen at {}", path.display()))
}

/// Connects to the keeper that listens at a path and understands this version of the wire, as a container's or a
/// host's state names both; `None` when it is gone.
///
/// # Errors
/// As `connect(2)`; or when it is of a later release.
pub fn connect(path: &Path, version: u16) -> Result<Option<Socket>> {
    ensure!(
        version <= VERSION,
        "its keeper is of a later release of Coracle (wire version {version}, and this release knows {VERSION}); use \
         that release, or stop it there first"
    );
    let attempt = || -> Result<Socket, Errno> {
        let socket = packets()?;
        let (_directory, address) = short(path)?;
        connect_to(&socket, &address)?;
        Ok(Socket::from(socket))
    };
    match attempt() {
        Ok(socket) => {
            if version > 0 {
                // One that is gone meanwhile is seen by its silence.
                let _ = socket.send(&Request::Hello { version: VERSION }, None);
            }
            Ok(Some(socket))
        }
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {}", path.display())),
    }
}

fn packets() -> Result<OwnedFd, Errno> {
    let kind = SocketType::SEQPACKET;
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

/// An address of a path of any length, of which a socket's address holds 107 bytes; it is good for
/// as long as the descriptor of its directory is open.
fn short(path: &Path) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty())?;
    let number = directory.as_raw_fd().to_string();
    let address = SocketAddrUnix::new(Path::new("/proc/self/fd").join(number).join(name))?;
    Ok((directory, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// What a keeper hears first of a command that knows its version.
    fn first(version: u16) -> Option<Request> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = listener(&path).unwrap();
        let link = connect(&path, version).unwrap().unwrap();
        let accepted = rustix::net::accept(&listener).unwrap();
        link.send(&Request::StopHost { seconds: None }, None)
            .unwrap();
        let received = Socket::from(accepted).receive::<Request>();
        received.unwrap().map(|(request, _)| request)
    }

    #[test]
    fn keeper_that_knows_of_no_versions_is_told_of_none() {
        assert_eq!(first(0), Some(Request::StopHost { seconds: None }));
        assert_eq!(first(VERSION), Some(Request::Hello { version: VERSION }));
    }

    #[test]
    fn keeper_of_a_later_release_is_not_asked_and_it_is_said_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listener = listener(&path).unwrap();
        let error = connect(&path, VERSION + 1).unwrap_err();
        assert!(error.to_string().contains("later release"), "{error}");
    }

    #[test]
    fn socket_with_a_long_path_is_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x".repeat(150)).join("socket");
        assert!(connect(&path, 0).unwrap().is_none());
        let _listener = listener(&path).unwrap();
        assert!(connect(&path, VERSION).unwrap().is_some());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
