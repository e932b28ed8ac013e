//! A thread's loop: waits for its devices' descriptors and its owner's, and hands them on.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::event::{
    Timespec,
    epoll::{self, EventFlags},
};
use vmm_sys_util::eventfd::EventFd;

use crate::virtio::{Turn, Watcher, mmio::Transport};

/// A transport that vCPU threads and an event loop share.
pub type Shared = Arc<Mutex<Transport>>;

/// Number under which the owner's own descriptors are registered.
const OWNER: u32 = u32::MAX;

/// Tokens of queue notifications begin here; a device's own are below.
const NOTIFICATIONS: u32 = 0xffff_0000;

/// Events taken in one go: more than are ready at once in most rounds.
const BATCH: usize = 32;

/// An event loop.
pub struct EventLoop {
    epoll: Arc<OwnedFd>,
    devices: Vec<(Shared, Vec<EventFd>)>,
}

impl EventLoop {
    /// An empty loop.
    ///
    /// # Errors
    /// As `epoll_create(2)`.
    pub fn new() -> io::Result<Self> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        Ok(Self {
            epoll,
            devices: Vec::new(),
        })
    }

    /// A watcher for the device that [`Self::add`] takes next.
    #[must_use]
    pub fn next_watcher(&self) -> Watcher {
        let number = u32::try_from(self.devices.len()).unwrap_or(OWNER - 1);
        Watcher::new(Arc::clone(&self.epoll), number)
    }

    /// Takes a device with the events by which its queues are notified.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn add(&mut self, device: Shared, notifications: Vec<EventFd>) -> io::Result<()> {
        let watcher = self.next_watcher();
        for (queue, event) in (NOTIFICATIONS..).zip(&notifications) {
            watcher.add(as_fd(event), queue, EventFlags::IN)?;
        }
        self.devices.push((device, notifications));
        Ok(())
    }

    /// Waits for a descriptor of the owner's; [`Self::wait`] returns its token.
    ///
    /// # Errors
    /// As `epoll_ctl(2)`.
    pub fn watch(&self, source: impl AsFd, token: u32) -> io::Result<()> {
        Watcher::new(Arc::clone(&self.epoll), OWNER).add(source, token, EventFlags::IN)
    }

    /// Waits until something is ready, at most for `limit`, lets devices do their work, and calls
    /// `owner` with the token of each ready descriptor of the owner's. Gives how many were ready.
    ///
    /// # Errors
    /// As `epoll_wait(2)`.
    pub fn wait(
        &mut self,
        limit: Option<Duration>,
        mut owner: impl FnMut(u32),
    ) -> io::Result<usize> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut space = [MaybeUninit::uninit(); BATCH];
        let events = match epoll::wait(&self.epoll, &mut space, limit.as_ref()) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let count = events.len();
        for event in events {
            let (device, token) = Watcher::split(event.data);
            if device == OWNER {
                owner(token);
                continue;
            }
            let Some((device, notifications)) = usize::try_from(device)
                .ok()
                .and_then(|device| self.devices.get(device))
            else {
                continue;
            };
            let mut device = device.lock().unwrap_or_else(PoisonError::into_inner);
            match token
                .checked_sub(NOTIFICATIONS)
                .and_then(|queue| u16::try_from(queue).ok())
            {
                Some(queue) => {
                    let Some(event) = notifications.get(usize::from(queue)) else {
                        continue;
                    };
                    // It is ready, so this takes the count and does not wait.
                    let _ = event.read();
                    // Others have their turn before the rest of this one's work.
                    if device.queue_event(queue) == Turn::More {
                        let _ = event.write(1);
                    }
                }
                None => device.source_event(token, event.flags),
            }
        }
        Ok(count)
    }
}

/// An event as a descriptor that rustix takes.
pub(crate) fn as_fd(event: &EventFd) -> std::os::fd::BorrowedFd<'_> {
    crate::sys::borrow(event)
}

#[cfg(test)]
mod tests;
