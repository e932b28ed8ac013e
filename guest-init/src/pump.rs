//! Carries bytes from one descriptor to another without blocking, as fast as both sides go.
//!
//! Back-pressure is that of the descriptors: nothing is read before what was read is written. Where
//! one side is a pipe the bytes never enter this process (`splice(2)`); a terminal is no pipe, and
//! what it gives passes through a buffer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use contracts::guest::Secret;
use rustix::{
    io::{Errno, ioctl_fionread, read, write},
    net::{SendFlags, Shutdown, send, shutdown, sockopt::socket_error},
    pipe::{SpliceFlags, splice},
};

use crate::terminal;

/// Bytes that are moved at a time: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// Chunks that are moved before others have their turn.
const TURN: usize = 16;

/// Which side the socket is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the container to a socket.
    ToHost,
    /// From a socket to the container.
    ToContainer,
}

/// What a turn ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing more can be done until a descriptor becomes ready.
    Wait,
    /// There is more, and others should have their turn first.
    More,
    /// The stream has ended, and the other side knows.
    Ended,
}

/// A stream of a container.
#[derive(Debug)]
pub struct Pump {
    direction: Direction,
    socket: OwnedFd,
    /// A pipe or a terminal's master.
    local: OwnedFd,
    /// The socket's connection is not established yet.
    connecting: bool,
    /// What is left of the proof to the host that it is init who has connected.
    proof: Vec<u8>,
    buffer: Option<Buffer>,
    /// So many bytes are still carried, and then it ends.
    rest: Option<usize>,
}

/// Bytes read and not yet written.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    written: usize,
    /// The last byte read was not the end of a line.
    line_is_open: bool,
    /// What ends a terminal's input has been put into the buffer.
    finished: bool,
}

impl Pump {
    /// A stream between a socket that may still be connecting, by which the secret is sent first,
    /// and a pipe, or with `terminal` a terminal's master. Neither descriptor may block.
    #[must_use]
    pub fn new(
        direction: Direction,
        (socket, secret): (OwnedFd, Secret),
        local: OwnedFd,
        terminal: bool,
    ) -> Self {
        Self {
            direction,
            socket,
            local,
            connecting: true,
            proof: secret.bytes().to_vec(),
            buffer: terminal.then(Buffer::default),
            rest: None,
        }
    }

    /// Ends it with what is in the pipe now: whoever writes from here on is not who it was for.
    pub fn end_with_what_is_there(&mut self) {
        // A terminal hangs up by itself.
        if self.direction == Direction::ToHost && self.buffer.is_none() {
            let waiting = ioctl_fionread(&self.local).unwrap_or(0);
            self.rest = Some(usize::try_from(waiting).unwrap_or(usize::MAX));
        }
    }

    /// Which way it goes.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Its two descriptors, to be waited for edge-triggered: the socket and the local one.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.socket.as_fd(), self.local.as_fd()]
    }

    /// The socket is ready for something.
    pub fn socket_event(&mut self, hung_up: bool) -> Turn {
        if self.connecting {
            match socket_error(&self.socket) {
                Ok(Ok(())) if !hung_up || self.direction == Direction::ToContainer => {
                    self.connecting = false;
                }
                _ => return self.end(),
            }
        }
        if hung_up && self.direction == Direction::ToHost {
            return self.end();
        }
        self.turn()
    }

    /// The local descriptor is ready for something.
    pub fn local_event(&mut self, hung_up: bool) -> Turn {
        if hung_up && self.direction == Direction::ToContainer {
            return self.end();
        }
        self.turn()
    }

    /// Moves what can be moved.
    pub fn turn(&mut self) -> Turn {
        if self.connecting {
            return Turn::Wait;
        }
        match self.prove() {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Turn::Wait,
            Err(_) => return self.end(),
        }
        for _ in 0..TURN {
            let moved = if self.buffer.is_some() {
                self.copy()
            } else {
                self.splice()
            };
            match moved {
                Ok(true) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Turn::Wait,
                // The end; or a broken pipe, a reset connection, a terminal hung up.
                Ok(false) | Err(_) => return self.end(),
            }
        }
        Turn::More
    }

    /// Sends what is left of the secret, which is all of it or nothing: a new connection has room.
    fn prove(&mut self) -> Result<(), Errno> {
        while !self.proof.is_empty() {
            match send(&self.socket, &self.proof, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.proof.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn ends(&self) -> (&OwnedFd, &OwnedFd) {
        match self.direction {
            Direction::ToHost => (&self.local, &self.socket),
            Direction::ToContainer => (&self.socket, &self.local),
        }
    }

    fn splice(&mut self) -> Result<bool, Errno> {
        let most = self.rest.map_or(CHUNK, |rest| rest.min(CHUNK));
        if most == 0 {
            return Ok(false);
        }
        let (source, sink) = self.ends();
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = splice(source, None, sink, None, most, flags)?;
        if let Some(rest) = &mut self.rest {
            *rest -= moved;
        }
        Ok(moved > 0)
    }

    fn copy(&mut self) -> Result<bool, Errno> {
        let (source, sink) = match self.direction {
            Direction::ToHost => (&self.local, &self.socket),
            Direction::ToContainer => (&self.socket, &self.local),
        };
        let Some(buffer) = &mut self.buffer else {
            return Ok(false);
        };
        if let Some(rest) = buffer.bytes.get(buffer.written..)
            && !rest.is_empty()
        {
            buffer.written += write(sink, rest)?;
            return Ok(true);
        }
        if buffer.finished {
            return Ok(false);
        }
        buffer.bytes.resize(CHUNK, 0);
        buffer.written = CHUNK;
        let length = read(source, &mut buffer.bytes)?;
        buffer.bytes.truncate(length);
        buffer.written = 0;
        match (length, self.direction) {
            (0, Direction::ToContainer) => {
                buffer.bytes = terminal::end_of_input(sink, buffer.line_is_open);
                buffer.finished = true;
                Ok(true)
            }
            _ => {
                buffer.line_is_open = buffer.bytes.last().is_some_and(|byte| *byte != b'\n');
                Ok(length > 0)
            }
        }
    }

    /// Tells the host that there is no more; the container learns it when the pipe is dropped.
    fn end(&self) -> Turn {
        let how = match self.direction {
            Direction::ToHost => Shutdown::Write,
            Direction::ToContainer => Shutdown::Both,
        };
        // A connection that is broken already needs no end.
        let _ = shutdown(&self.socket, how);
        Turn::Ended
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write, pipe},
        os::unix::net::UnixStream,
    };

    use contracts::guest::SECRET_BYTES;

    use super::*;

    const SECRET: Secret = Secret::new(*b"sixteen bytes!!!");

    #[test]
    fn what_a_host_wrote_before_it_hung_up_arrives() {
        let (mut host, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (mut reader, writer) = pipe().unwrap();
        let socket = (ours.into(), SECRET);
        let mut pump = Pump::new(Direction::ToContainer, socket, writer.into(), false);
        assert!(matches!(pump.socket_event(false), Turn::Wait));
        host.read_exact(&mut [0; SECRET_BYTES]).unwrap();
        host.write_all(b"input").unwrap();
        drop(host);
        assert!(matches!(pump.socket_event(true), Turn::Ended));
        drop(pump);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "input");
    }

    #[test]
    fn secret_is_sent_before_any_output_and_once() {
        let (mut host, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (reader, mut writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        writer.write_all(b"output").unwrap();
        let socket = (ours.into(), SECRET);
        let mut pump = Pump::new(Direction::ToHost, socket, reader.into(), false);
        assert!(matches!(pump.turn(), Turn::Wait));
        assert!(matches!(pump.socket_event(false), Turn::Wait));
        drop(writer);
        assert!(matches!(pump.turn(), Turn::Ended));
        drop(pump);
        let mut text = Vec::new();
        host.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"sixteen bytes!!!output");
    }
}
