//! A client's connection: its bytes, and its requests one after the other.

use std::{
    io::{self, BufRead, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use super::{
    head::{Head, Malformed, end_of_head},
    limits::{BODY_TIME, HEAD_TIME, KEEP_ALIVE_TIME, MAX_HEAD},
};

/// Bytes that are read at a time.
const PIECE: usize = 16 << 10;

/// A connection with what was read from it and not used yet.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    start: usize,
}

/// Why no request came.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The connection failed, or its client was too slow.
    Failed,
    /// What came is no request.
    Malformed(Malformed),
}

impl From<io::Error> for NoRequest {
    fn from(_: io::Error) -> Self {
        Self::Failed
    }
}

impl Connection {
    /// A connection of which nothing has been read.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The socket, for writing.
    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The next request's head; `None` when the client has no more.
    pub(super) fn head(&mut self) -> Result<Option<Head>, NoRequest> {
        self.stream.set_read_timeout(Some(KEEP_ALIVE_TIME))?;
        // Some clients send an empty line after a body (RFC 9112, section 2.2).
        loop {
            match self.fill_buf()? {
                [] => return Ok(None),
                [b'\r' | b'\n', ..] => self.consume(1),
                _ => break,
            }
        }
        let deadline = Instant::now() + HEAD_TIME;
        let mut searched = 0;
        let end = loop {
            let unread = self.unread();
            if let Some(end) = end_of_head(unread, searched).filter(|end| *end <= MAX_HEAD) {
                break end;
            }
            if unread.len() >= MAX_HEAD {
                return Err(NoRequest::Malformed(Malformed {
                    status: 431,
                    reason: "the request's head is too large",
                }));
            }
            searched = unread.len();
            let left = deadline.saturating_duration_since(Instant::now());
            // A time of zero would mean none.
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            if self.read_more()? == 0 {
                return Err(NoRequest::Failed);
            }
        };
        let head = Head::parse(self.unread().get(..end).unwrap_or_default());
        self.consume(end);
        self.stream.set_read_timeout(Some(BODY_TIME))?;
        head.map(Some).map_err(NoRequest::Malformed)
    }

    /// What was read and not used yet; the socket is read directly from then on.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.unread().to_vec();
        self.consume(unread.len());
        unread
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn read_more(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let before = self.buffer.len();
        self.buffer.resize(before + PIECE, 0);
        let into = self.buffer.get_mut(before..).unwrap_or_default();
        let result = loop {
            match self.stream.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer
            .truncate(before + *result.as_ref().unwrap_or(&0));
        result
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let length = available.read(into)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread().is_empty() {
            self.read_more()?;
        }
        Ok(self.unread())
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.buffer.len().min(self.start + amount);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
