//! The socket that clients connect to: a file that only its user can use, in a directory that only its
//! user can enter.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, Mode, flock},
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    },
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
        // Two servers that find what a third one left would take it from each other.
        let _turn = turn(&path).map_err(failed)?;
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
    let failed = |error: io::Error| ListenError::Failed(path.into(), error);
    match try_connect(path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed),
        // One that has no time to accept anybody listens, too.
        _ => Err(ListenError::InUse(path.into())),
    }
}

/// Connects without waiting, and goes away again.
fn try_connect(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

/// A lock on the directory, until it is dropped: between a look at what is there and listening in its place,
/// nobody else does the same.
fn turn(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = File::open(directory)?;
    retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive))?;
    Ok(directory)
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
    use std::{os::unix::net::UnixStream, thread};

    use super::*;

    #[test]
    fn one_of_many_servers_gets_the_socket() {
        let top = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = top.path().join(format!("{round}.sock"));
            // As a server that was killed leaves it.
            drop(UnixListener::bind(&path).unwrap());
            let servers: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    thread::spawn(move || Listening::at(&path))
                })
                .collect();
            let servers: Vec<_> = servers
                .into_iter()
                .map(|server| server.join().unwrap())
                .collect();
            let listening = servers.iter().filter(|server| server.is_ok()).count();
            assert_eq!(listening, 1, "{servers:?}");
            UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn socket_waits_for_who_looks_at_it() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("docker.sock");
        let _listening = Listening::at(&path).unwrap();
        let own = turn(&path).unwrap();
        let other = File::open(top.path()).unwrap();
        let taken = flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(taken, Err(Errno::AGAIN));
        drop(own);
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    }

    #[test]
    fn server_that_accepts_nobody_keeps_its_socket() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("docker.sock");
        let socket = bound(&path).unwrap();
        listen(&socket, 0).unwrap();
        let mut waiting = Vec::new();
        while waiting.len() < 8 {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            let address = SocketAddrUnix::new(&path).unwrap();
            let connected = connect(&client, &address);
            waiting.push(client);
            if connected == Err(Errno::AGAIN) {
                break;
            }
        }
        assert!(matches!(Listening::at(&path), Err(ListenError::InUse(_))));
    }

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
