//! The machine of a keeper's containers, while there is one.

use std::{os::unix::net::UnixStream, time::Duration};

use crate::{Guest, host::Host};

/// A machine, and how far its guest has come.
pub(super) struct Machine {
    pub(super) host: Host,
    channel: Channel,
    pub(super) start_timeout: Duration,
}

/// The control channel, which a guest opens once.
enum Channel {
    /// The guest has not connected yet.
    Awaited,
    /// It has, and has not said hello.
    Open(Guest),
    /// It has said hello: containers can be started.
    Greeted(Guest),
    /// It has closed the channel, or was given up.
    Closed,
}

impl Machine {
    /// One that was just started.
    pub(super) fn new(host: Host, start_timeout: Duration) -> Self {
        Self {
            host,
            channel: Channel::Awaited,
            start_timeout,
        }
    }

    /// The guest connects to the port of the channel; false when it has done so before. The first connection is
    /// init's: it is there before any container. A later one is nobody's that may be heard, even when init has closed
    /// its own.
    pub(super) fn connect(&mut self, stream: UnixStream) -> bool {
        let is_first = matches!(self.channel, Channel::Awaited);
        if is_first {
            self.channel = Channel::Open(Guest::new(stream));
        }
        is_first
    }

    /// The guest says hello; false when it does not belong here.
    pub(super) fn greet(&mut self) -> bool {
        match std::mem::replace(&mut self.channel, Channel::Closed) {
            Channel::Open(guest) => {
                self.channel = Channel::Greeted(guest);
                true
            }
            channel => {
                self.channel = channel;
                false
            }
        }
    }

    /// Containers can be started in it.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.channel, Channel::Greeted(_))
    }

    /// Nothing is heard of its guest any more, nor said to it.
    pub(super) fn close_channel(&mut self) {
        self.channel = Channel::Closed;
    }

    pub(super) fn guest(&self) -> Option<&Guest> {
        match &self.channel {
            Channel::Open(guest) | Channel::Greeted(guest) => Some(guest),
            Channel::Awaited | Channel::Closed => None,
        }
    }

    pub(super) fn guest_mut(&mut self) -> Option<&mut Guest> {
        match &mut self.channel {
            Channel::Open(guest) | Channel::Greeted(guest) => Some(guest),
            Channel::Awaited | Channel::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packets::Socket;

    fn machine() -> Machine {
        let (control, _) = Socket::pair().unwrap();
        Machine::new(Host::at(control), Duration::ZERO)
    }

    /// What happens to the channel, whether it belongs there, and whether containers can be started after it.
    #[test]
    fn channel_is_opened_once_greeted_once_and_closed_for_good() {
        let mut machine = machine();
        let stream = || UnixStream::pair().unwrap().0;
        assert!(!machine.greet() && machine.guest().is_none());
        assert!(machine.connect(stream()) && machine.guest().is_some());
        assert!(!machine.connect(stream()) && !machine.is_up());
        assert!(machine.greet() && machine.is_up());
        assert!(!machine.greet() && machine.is_up());
        machine.close_channel();
        assert!(!machine.is_up() && machine.guest().is_none());
        assert!(!machine.connect(stream()) && !machine.greet());
        assert!(machine.guest().is_none());
    }
}
