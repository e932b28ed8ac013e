//! The socket by which commands reach a keeper.

use std::{
    fs,
    io::ErrorKind,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use contracts::keeper::{Request, VERSION};
use packets::Socket;

use crate::state::create_directory;

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
        Ok(packets::listener(path)?)
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
    match Socket::connect(path) {
        Ok(socket) => {
            if version > 0 {
                // One that is gone meanwhile is seen by its silence.
                let _ = socket.send(&Request::Hello { version: VERSION }, None);
            }
            Ok(Some(socket))
        }
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error).with_context(|| format!("cannot connect to {}", path.display())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
