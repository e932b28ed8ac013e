//! One connection: a stream of the host, and the credit of both sides (section 5.10.6.3).

use std::{collections::VecDeque, io, io::Write, net::Shutdown, os::unix::net::UnixStream};

use vm_memory::VolatileSlice;

use super::packet::{NO_RECEIVE, NO_SEND};
use crate::virtio::guest_io;

/// Bytes that we take from the guest and have not yet passed on, at most; what it is told.
pub(super) const LARGE: u32 = 128 << 10;

/// The same for a connection beside many others: with [`LARGE`] for each, a guest could fill the
/// monitor's memory through connections that nobody reads.
pub(super) const SMALL: u32 = 16 << 10;

/// A connection.
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    /// The guest has answered, or it was the guest who asked.
    pub(super) established: bool,
    /// In the list of those with something for the guest.
    pub(super) queued: bool,
    /// The stream may have something; false once it said that it has not.
    pub(super) readable: bool,
    /// What the guest said that it will not do any more.
    pub(super) guest_closed: u32,
    /// What the guest was told that we will not do any more.
    host_closed: u32,
    /// The stream was told that the guest sends no more.
    shut: bool,
    /// The other end of the stream is closed, in both directions.
    hung_up: bool,
    /// Most bytes in the buffer: what the guest was promised.
    pub(super) window: u32,
    /// From the guest, for the stream.
    buffer: VecDeque<u8>,
    peer_buf_alloc: u32,
    peer_fwd_cnt: u32,
    sent: u32,
    forwarded: u32,
    told: u32,
}

/// What reading a stream for the guest gave.
pub(super) enum Read {
    /// So many bytes.
    Data(u32),
    /// Nothing now.
    Nothing,
    /// The end of the stream, with what the guest should know of it; said once.
    End(u32),
}

impl Connection {
    pub(super) fn new(stream: UnixStream, established: bool, window: u32) -> Self {
        Self {
            stream,
            established,
            queued: false,
            readable: true,
            guest_closed: 0,
            host_closed: 0,
            shut: false,
            hung_up: false,
            window,
            buffer: VecDeque::new(),
            peer_buf_alloc: 0,
            peer_fwd_cnt: 0,
            sent: 0,
            forwarded: 0,
            told: 0,
        }
    }

    /// What the guest says of its own buffer, in every packet.
    pub(super) fn heard(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        self.peer_buf_alloc = buf_alloc;
        self.peer_fwd_cnt = fwd_cnt;
    }

    /// Bytes that the guest has room for; a guest that says impossible things gets nothing.
    pub(super) fn credit(&self) -> u32 {
        let under_way = self.sent.wrapping_sub(self.peer_fwd_cnt);
        self.peer_buf_alloc.saturating_sub(under_way)
    }

    /// Whether the guest can be given something now.
    pub(super) fn wants_guest(&self) -> bool {
        self.established
            && self.readable
            && self.host_closed & NO_SEND == 0
            && self.guest_closed & NO_RECEIVE == 0
            && self.credit() > 0
    }

    /// Reads from the stream into the guest's memory.
    pub(super) fn read(&mut self, slice: &VolatileSlice<'_>) -> Read {
        match guest_io::receive(&self.stream, slice) {
            Ok(0) => self.end(),
            Ok(count) => {
                let count = u32::try_from(count).unwrap_or(0);
                self.sent = self.sent.wrapping_add(count);
                Read::Data(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Read::Nothing
            }
            Err(_) => self.end(),
        }
    }

    fn end(&mut self) -> Read {
        self.host_closed = if self.hung_up {
            NO_SEND | NO_RECEIVE
        } else {
            NO_SEND
        };
        Read::End(self.host_closed)
    }

    /// The stream may have something, and may be closed at its other end.
    pub(super) fn woken(&mut self, hung_up: bool) {
        self.readable = true;
        self.hung_up |= hung_up;
    }

    /// Whether the guest has to hear that nobody receives any more; true once, and only after all
    /// that was sent has been read.
    pub(super) fn should_tell_end(&mut self) -> bool {
        let due = self.hung_up && self.host_closed == NO_SEND;
        if due {
            self.host_closed |= NO_RECEIVE;
        }
        due
    }

    /// Takes a piece of a packet: the stream first, the buffer for the rest.
    ///
    /// # Errors
    /// When the stream is closed, or the guest sends more than it was allowed.
    pub(super) fn take(&mut self, piece: &VolatileSlice<'_>) -> io::Result<()> {
        let mut done = 0;
        while self.buffer.is_empty() && done < piece.len() {
            let rest = piece.offset(done).map_err(io::Error::other)?;
            match guest_io::send(&self.stream, &rest) {
                Ok(count) => {
                    done += count;
                    self.forward(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if done < piece.len() {
            let rest = piece.offset(done).map_err(io::Error::other)?;
            if self.buffer.len() + rest.len() > self.window as usize {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // At once what may be needed, since growing piece by piece takes up to twice as much.
            let free = self.window as usize - self.buffer.len();
            self.buffer.reserve_exact(free);
            let mut bytes = vec![0; rest.len()];
            rest.copy_to(&mut bytes);
            self.buffer.extend(bytes);
        }
        Ok(())
    }

    fn forward(&mut self, count: usize) {
        self.forwarded = self
            .forwarded
            .wrapping_add(u32::try_from(count).unwrap_or(0));
    }

    /// Passes on what was buffered, as much as the stream takes.
    ///
    /// # Errors
    /// When the stream is closed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            let (front, _) = self.buffer.as_slices();
            match (&self.stream).write(front) {
                Ok(count) => {
                    self.buffer.drain(..count);
                    self.forward(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Most connections are idle, and an idle one holds no memory.
        self.buffer = VecDeque::new();
        // Once: each time wakes those who wait for the stream, and so ourselves.
        if self.guest_closed & NO_SEND != 0 && !self.shut {
            self.shut = true;
            // Closed already is closed.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// The guest closed both directions and all that it sent was passed on.
    pub(super) fn finished(&self) -> bool {
        self.guest_closed == NO_SEND | NO_RECEIVE && self.buffer.is_empty()
    }

    /// The guest sent everything and closed, and some of it was not passed on yet.
    pub(super) fn draining(&self) -> bool {
        self.guest_closed & NO_SEND != 0 && !self.buffer.is_empty()
    }

    /// Our buffer and what was passed on, for a packet's header; the guest knows it then.
    pub(super) fn tell(&mut self) -> (u32, u32) {
        self.told = self.forwarded;
        (self.window, self.forwarded)
    }

    /// Whether the guest should hear of free space: half of it was freed since it last heard.
    pub(super) fn should_tell(&self) -> bool {
        self.forwarded.wrapping_sub(self.told) >= self.window / 2
    }
}
