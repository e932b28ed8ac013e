//! The monitor's owner, as the machine sees it: it is told of connections, and asks for them.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use contracts::monitor::{FromMonitor, Place, StopReason, ToMonitor, Walls};
use packets::Socket;

use crate::{
    timeline,
    virtio::{block, vsock},
};

/// What an owner can reach in a machine.
#[derive(Default)]
pub struct Ways {
    /// The guest's ports, where it has vsock.
    pub vsock: Option<vsock::Handle>,
    /// The disks, in their order.
    pub disks: Vec<block::Handle>,
}

impl Ways {
    /// What went wrong with disks, in words.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let disks = self.disks.iter().enumerate();
        let words = |(number, disk): (usize, &block::Handle)| {
            let failure = disk.failure()?;
            Some(format!("disk {number} could not be written: {failure}"))
        };
        disks.filter_map(words).collect()
    }
}

/// The owner's end of the control socket, where there is one.
#[derive(Clone, Default)]
pub struct Owner {
    /// The socket.
    pub socket: Option<Arc<Socket>>,
    /// When the guest first connected, 0 before.
    first_connection: Arc<AtomicU64>,
    /// What it is told with the first connection.
    walls: Arc<Mutex<Option<Walls>>>,
}

impl Owner {
    /// An owner who speaks over this socket.
    #[must_use]
    pub fn new(socket: Option<Socket>) -> Self {
        Self {
            socket: socket.map(Arc::new),
            first_connection: Arc::default(),
            walls: Arc::default(),
        }
    }

    /// Has the owner told, with the guest's first connection, what stands around the monitor.
    pub(crate) fn tell_walls(&self, walls: Walls) {
        *self.walls.lock().unwrap_or_else(PoisonError::into_inner) = Some(walls);
    }

    /// When the guest first connected to the host, in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn first_connection(&self) -> Option<u64> {
        Some(self.first_connection.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Takes one message of the owner's; `Some` when the machine has to stop.
    pub(crate) fn message(&self, ways: &Ways) -> Option<StopReason> {
        let Some(socket) = &self.socket else {
            return Some(StopReason::Asked);
        };
        let (message, attached) = match socket.receive::<ToMonitor>() {
            Ok(Some(received)) => received,
            Ok(None) => return Some(StopReason::Asked),
            Err(error) => {
                return Some(StopReason::Failed(format!(
                    "cannot hear from the owner: {error}"
                )));
            }
        };
        let (place, done) = match message {
            ToMonitor::Connect { port } => {
                if let (Some(vsock), Some(stream)) = (&ways.vsock, attached) {
                    // Dropping the stream closes it, which is how a refusal is told.
                    let _ = vsock.connect(port, UnixStream::from(stream));
                }
                return None;
            }
            ToMonitor::Insert { place, .. } => (place, insert(ways, place, attached)),
            ToMonitor::Remove { place } => (place, remove(ways, place)),
            ToMonitor::Stop => return Some(StopReason::Asked),
        };
        let refused = done.err();
        let told = socket.send(&FromMonitor::Extent { place, refused }, None);
        told.err()
            .map(|error| StopReason::Failed(format!("cannot tell the owner: {error}")))
    }
}

fn disk(ways: &Ways, place: Place) -> Result<&block::Handle, String> {
    let found = ways.disks.get(usize::from(place.disk));
    found.ok_or_else(|| format!("there is no disk {}", place.disk))
}

fn insert(ways: &Ways, place: Place, file: Option<OwnedFd>) -> Result<(), String> {
    let disk = disk(ways, place)?;
    let file = file.ok_or("no file came with it")?;
    let done = disk.insert(place.start, place.length, File::from(file));
    done.map_err(|error| error.to_string())
}

fn remove(ways: &Ways, place: Place) -> Result<(), String> {
    let done = disk(ways, place)?.remove(place.start, place.length);
    done.map_err(|error| error.to_string())
}

impl vsock::Host for Owner {
    fn connect(&mut self, port: u32) -> io::Result<UnixStream> {
        let Some(socket) = &self.socket else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (ours, theirs) = UnixStream::pair()?;
        let mut walls = self.walls.lock().unwrap_or_else(PoisonError::into_inner);
        let message = FromMonitor::Connection {
            port,
            walls: walls.take(),
        };
        socket.send(&message, Some(theirs.as_fd()))?;
        let now = timeline::now();
        let _ =
            self.first_connection
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        Ok(ours)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::virtio::block::{Block, Content};

    const PLACE: Place = Place {
        disk: 0,
        start: 512,
        length: 512,
    };

    fn owner() -> (Owner, Socket, Ways) {
        let (ours, theirs) = Socket::pair().unwrap();
        let disk = Block::new(vec![(Content::Zeros, 4096)], true, 1);
        let ways = Ways {
            vsock: None,
            disks: vec![disk.handle()],
        };
        (Owner::new(Some(theirs)), ours, ways)
    }

    fn insertion(place: Place) -> ToMonitor {
        ToMonitor::Insert {
            place,
            path: "layer".into(),
        }
    }

    fn answer(socket: &Socket) -> Option<String> {
        match socket.receive::<FromMonitor>().unwrap().unwrap().0 {
            FromMonitor::Extent { refused, .. } => refused,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn file_is_inserted_and_removed_and_each_is_answered() {
        let (owner, socket, ways) = owner();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 512]).unwrap();
        socket.send(&insertion(PLACE), Some(file.as_fd())).unwrap();
        assert_eq!(owner.message(&ways), None);
        assert_eq!(answer(&socket), None);
        socket
            .send(&ToMonitor::Remove { place: PLACE }, None)
            .unwrap();
        assert_eq!(owner.message(&ways), None);
        assert_eq!(answer(&socket), None);
    }

    #[test]
    fn refusal_is_told_and_the_machine_goes_on() {
        let (owner, socket, ways) = owner();
        let elsewhere = Place { disk: 1, ..PLACE };
        for (message, word) in [
            (insertion(PLACE), "no file"),
            (insertion(elsewhere), "no disk 1"),
            (ToMonitor::Remove { place: PLACE }, "no file was put"),
        ] {
            let file = tempfile::tempfile().unwrap();
            let attached = (word == "no disk 1").then(|| file.as_fd());
            socket.send(&message, attached).unwrap();
            assert_eq!(owner.message(&ways), None);
            let words = answer(&socket).unwrap();
            assert!(words.contains(word), "{words}");
        }
    }
}
