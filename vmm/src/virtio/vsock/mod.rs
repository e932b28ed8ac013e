//! Socket device (virtio 1.2, section 5.10): streams between the guest and unix sockets.

mod connection;
mod device;
mod packet;

use std::{
    collections::VecDeque,
    io,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use self::device::Running;
use super::{Active, Device, Turn, read_space};

/// Descriptors of a queue: some hundred packets under way.
const QUEUE_SIZE: u16 = 256;
/// Queues: to the guest, from the guest, events.
const SIZES: [u16; 3] = [QUEUE_SIZE; 3];

/// Host-initiated connections that wait for the device at most.
const MAX_WAITING: usize = 256;

/// Who takes the guest's connections.
pub trait Host: Send {
    /// The guest connects to a port of the host; the stream is the monitor's end.
    ///
    /// # Errors
    /// For a port on which nobody listens: the guest's connection is refused.
    fn connect(&mut self, port: u32) -> io::Result<UnixStream>;
}

/// Connections to the guest that wait for the device, and the event that tells it.
struct Waiting {
    streams: Mutex<VecDeque<(u32, UnixStream)>>,
    event: EventFd,
}

/// Makes connections to the guest, from any thread.
#[derive(Clone)]
pub struct Handle {
    waiting: Arc<Waiting>,
}

impl Handle {
    /// Connects a stream to a port on which the guest listens. A guest that refuses closes it.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn connect(&self, port: u32, stream: UnixStream) -> io::Result<()> {
        let mut streams = self
            .waiting
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= MAX_WAITING {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        streams.push_back((port, stream));
        self.waiting.event.write(1)
    }
}

/// A socket device.
pub struct Vsock {
    cid: u64,
    host: Option<Box<dyn Host>>,
    waiting: Arc<Waiting>,
    /// Counts on across resets, so that an event of a connection from before one is nobody's.
    next_token: u32,
    active: Option<Running>,
}

impl Vsock {
    /// A device for a guest of this context identifier, and the handle to connect to it.
    ///
    /// # Errors
    /// When the system gives no event.
    pub fn new(cid: u64, host: Box<dyn Host>) -> io::Result<(Self, Handle)> {
        let event = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?;
        let waiting = Arc::new(Waiting {
            streams: Mutex::default(),
            event,
        });
        let handle = Handle {
            waiting: Arc::clone(&waiting),
        };
        Ok((
            Self {
                cid,
                host: Some(host),
                waiting,
                next_token: 0,
                active: None,
            },
            handle,
        ))
    }
}

impl Device for Vsock {
    fn id(&self) -> u32 {
        19
    }

    fn name(&self) -> &'static str {
        "vsock"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&self.cid.to_le_bytes(), offset, data);
    }

    fn activate(&mut self, active: Active) {
        let Some(host) = self.host.take() else { return };
        let waiting = Arc::clone(&self.waiting);
        match Running::new(self.cid, active, host, waiting, self.next_token) {
            Ok(running) => self.active = Some(running),
            // Not started, and so until the driver resets it.
            Err(host) => self.host = Some(host),
        }
    }

    /// Work that is left is for a turn that the device's own event asks for.
    fn queue_event(&mut self, queue: u16) -> Turn {
        if let Some(running) = &mut self.active {
            running.queue_event(queue);
        }
        Turn::Done
    }

    fn source_event(&mut self, token: u32, events: rustix::event::epoll::EventFlags) {
        if let Some(running) = &mut self.active {
            running.source_event(token, events);
        }
    }

    fn reset(&mut self) {
        if let Some(running) = self.active.take() {
            let (host, next_token) = running.stop();
            self.host = Some(host);
            self.next_token = next_token;
        }
    }
}

#[cfg(test)]
mod tests;
