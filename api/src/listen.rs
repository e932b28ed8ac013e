//! The socket that clients connect to: a file that only its user can use, in a directory that only its
//! user can enter.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::Mode,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Mode of a directory that is made for the socket, and of the socket.
const DIRECTORY: u32 = 0o700;
const SOCKET: u32 = 0o600;

/// A listening socket, whose file is removed with it.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file: another server may have replaced it.
    file: (u64, u64),
}

/// Why nobody can connect there.
#[derive(Debug)]
pub enum ListenError {
    /// A server listens there already.
    InUse(PathBuf),
    /// There is something else of that name.
    NotASocket(PathBuf),
    /// The system refuses.
    Failed(PathBuf, io::Error),
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => write!(
                formatter,
                "a server listens at {} already; use it, or give another --socket",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                formatter,
                "{} is not a socket; give another --socket",
                path.display()
            ),
            Self::Failed(path, _) => write!(formatter, "cannot listen at {}", path.display()),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(_, source) => Some(source),
            _ => None,
        }
    }
}

impl Listening {
    /// Listens at a path. What a server that died left there is replaced.
    ///
    /// # Errors
    /// When somebody listens there, or the system refuses.
    pub fn at(path: &Path) -> Result<Self, ListenError> {
        let failed = |error: io::Error| ListenError::Failed(path.into(), error);
        let path = std::path::absolute(path).map_err(failed)?;
        let failed = |error: io::Error| ListenError::Failed(path.clone(), error);
        if let Some(directory) = path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(DIRECTORY);
            builder.create(directory).map_err(failed)?;
        }
        remove_stale(&path)?;
        let listener = UnixListener::from(bound(&path).map_err(failed)?);
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        Ok(Self {
            listener,
            file: (metadata.dev(), metadata.ino()),
            path,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let metadata = fs::symlink_metadata(&self.path);
        if metadata.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.into()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| ListenError::Failed(path.into(), error))
        }
        _ => Err(ListenError::InUse(path.into())),
    }
}

fn bound(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // bind(2) gives the file the socket's own mode, less the umask: it is never open to others.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(SOCKET))?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_and_its_new_directory_are_the_user_s_alone() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("new/docker.sock");
        let listening = Listening::at(&path).unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        UnixStream::connect(&path).unwrap();
        drop(listening);
        assert!(!path.exists());
    }

    #[test]
    fn only_what_a_dead_server_left_is_replaced() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("docker.sock");
        let first = Listening::at(&path).unwrap();
        assert!(matches!(Listening::at(&path), Err(ListenError::InUse(_))));
        // As a server that is killed leaves it.
        std::mem::forget(first.listener().unwrap());
        fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let second = Listening::at(&path).unwrap();
        // The first one's end does not take the second one's away.
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        fs::write(&path, "").unwrap();
        assert!(matches!(
            Listening::at(&path),
            Err(ListenError::NotASocket(_))
        ));
        assert!(path.exists());
    }
}
