//! Carries bytes from one descriptor to another without blocking, as fast as both sides go.
//!
//! Back-pressure is that of the descriptors: nothing is read before what was read is written. Where
//! one side is a pipe the bytes never enter this process (`splice(2)`); a terminal is no pipe, and
//! what it gives passes through a buffer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use contracts::guest::{Port, TAKEN};
use rustix::{
    io::{Errno, ioctl_fionread, read, write},
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt::socket_error},
    pipe::{SpliceFlags, splice},
};

use crate::terminal;

/// Bytes that are moved at a time: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// Chunks that are moved before others have their turn.
const TURN: usize = 16;

/// Most connections that are tried for one stream. Whoever floods the host with connections can be in the way of one,
/// and of the next; each try takes a round trip, and these are seconds, in which the host has closed what floods it.
const MOST_TRIES: u16 = 20_000;

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
    /// The host has not taken the connection: another one is to be made ([`Pump::reconnect`]).
    Refused,
    /// It has not taken any of them.
    Lost,
}

/// How far a connection has come.
#[derive(Debug)]
enum Stage {
    /// It is not established yet.
    Connecting,
    /// What is left of the proof to the host that it is init who has connected.
    Proving(Vec<u8>),
    /// The host has to say that it has taken it, where it says so at all.
    Asking,
    Open,
}

/// A stream of a container.
#[derive(Debug)]
pub struct Pump {
    direction: Direction,
    port: Port,
    socket: OwnedFd,
    stage: Stage,
    /// Connections that the host has not taken.
    refused: u16,
    /// A pipe or a terminal's master.
    local: OwnedFd,
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
    /// A stream between a socket that may still be connecting to a port, by which its secret is sent first,
    /// and a pipe, or with `terminal` a terminal's master. Neither descriptor may block.
    #[must_use]
    pub fn new(
        direction: Direction,
        (socket, port): (OwnedFd, Port),
        local: OwnedFd,
        terminal: bool,
    ) -> Self {
        Self {
            direction,
            port,
            socket,
            stage: Stage::Connecting,
            refused: 0,
            local,
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

    /// The host's port that it is connected to.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port.number
    }

    /// Goes on with another connection to its port, after [`Turn::Refused`].
    pub fn reconnect(&mut self, socket: OwnedFd) {
        self.socket = socket;
        self.stage = Stage::Connecting;
    }

    /// Its connection, or an attempt at one, was in vain.
    pub fn refuse(&mut self) -> Turn {
        self.refused += 1;
        match self.refused < MOST_TRIES {
            true => Turn::Refused,
            false => Turn::Lost,
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
        if let Stage::Connecting = self.stage {
            match socket_error(&self.socket) {
                Ok(Ok(())) => self.stage = Stage::Proving(self.port.secret.bytes().to_vec()),
                _ => return self.refuse(),
            }
        }
        match self.open() {
            Ok(()) if hung_up && self.direction == Direction::ToHost => self.end(),
            Ok(()) => self.carry(),
            // No word comes after this one.
            Err(Errno::AGAIN) if !hung_up => Turn::Wait,
            Err(_) => self.refuse(),
        }
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
        match self.open() {
            Ok(()) => self.carry(),
            Err(Errno::AGAIN) => Turn::Wait,
            Err(_) => self.refuse(),
        }
    }

    fn carry(&mut self) -> Turn {
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

    /// Has the host take the connection: nothing is carried before, and so nothing is lost with one that it closes.
    fn open(&mut self) -> Result<(), Errno> {
        loop {
            match &mut self.stage {
                Stage::Connecting => return Err(Errno::AGAIN),
                Stage::Proving(left) if left.is_empty() => {
                    self.stage = match self.port.answered {
                        true => Stage::Asking,
                        false => Stage::Open,
                    };
                }
                Stage::Proving(left) => match send(&self.socket, left, SendFlags::NOSIGNAL) {
                    Ok(sent) => drop(left.drain(..sent)),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                },
                Stage::Asking => {
                    let mut answer = [0];
                    match recv(&self.socket, &mut answer, RecvFlags::DONTWAIT) {
                        Ok((1, _)) if answer == [TAKEN] => self.stage = Stage::Open,
                        Ok(_) => return Err(Errno::CONNREFUSED),
                        Err(Errno::INTR) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Stage::Open => return Ok(()),
            }
        }
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
mod tests;
