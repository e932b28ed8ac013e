//! One request and its answer.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use super::{
    body::Body,
    connection::Connection,
    head::{Head, Malformed},
    limits::{MAX_DRAIN, WRITE_TIME},
    reply::{self, Reply},
};

/// A request that is to be answered once, by one of [`Self::reply`], [`Self::stream`] and
/// [`Self::hijack`].
#[derive(Debug)]
pub struct Exchange<'c> {
    connection: &'c mut Connection,
    head: Head,
    body: Body,
    /// The client waits to be told before it sends the body.
    waits: bool,
    /// The connection can be used for another request.
    keep: bool,
    answered: bool,
}

/// An answer whose body is sent piece by piece: each write is a chunk of its own, and sent at once.
#[derive(Debug)]
pub struct Streaming<'e> {
    stream: &'e UnixStream,
    chunked: bool,
    /// Whether the connection can be used again, which it can when the body is complete.
    keep: &'e mut bool,
    kept: bool,
}

/// A connection that has become a raw stream.
#[derive(Debug)]
pub struct Hijacked {
    /// The connection. Nothing is waited for less than forever on it.
    pub stream: UnixStream,
    /// What the client has sent after its request already.
    pub early: Vec<u8>,
}

impl<'c> Exchange<'c> {
    /// An exchange that begins with this head.
    ///
    /// # Errors
    /// When it is not clear where the request's body ends.
    pub fn new(connection: &'c mut Connection, head: Head) -> Result<Self, Malformed> {
        let body = Body::new(head.framing()?);
        Ok(Self {
            waits: head.expects_continue() && !body.is_over(),
            keep: head.keeps_alive(),
            connection,
            head,
            body,
            answered: false,
        })
    }

    /// The request's head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether the request has a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        !self.body.is_over()
    }

    /// Whether an answer has begun.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// The client's socket: it hangs up when the client is gone.
    #[must_use]
    pub fn client(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    /// Reads the next bytes of the body; 0 at its end. Clients that wait to be asked for it are.
    ///
    /// # Errors
    /// When the client is gone or too slow, or the body malformed.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.waits {
            self.waits = false;
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let read = self.body.read(&mut self.connection, into);
        if read.is_err() {
            self.keep = false;
        }
        read
    }

    /// Reads all of a body that has at most so many bytes; `None` where it has more.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_all(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut whole = Vec::new();
        let mut piece = vec![0; 16 << 10];
        loop {
            let length = self.read(&mut piece)?;
            if length == 0 {
                return Ok(Some(whole));
            }
            whole.extend_from_slice(piece.get(..length).unwrap_or_default());
            if whole.len() > most {
                self.keep = false;
                return Ok(None);
            }
        }
    }

    /// Answers with a whole body.
    ///
    /// # Errors
    /// When the client is gone or does not read.
    pub fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        self.answered = true;
        self.finish_body();
        let mut bytes = reply::head(reply.status, reply::reason(reply.status), &reply.headers);
        if !reply.is_bodiless() {
            bytes += &format!("Content-Length: {}\r\n", reply.body.len());
        }
        bytes += &reply::date();
        bytes += self.connection_header();
        bytes += "\r\n";
        let mut bytes = bytes.into_bytes();
        if !reply.is_bodiless() && self.head.method != "HEAD" {
            bytes.extend_from_slice(&reply.body);
        }
        self.write(&bytes)
    }

    /// Answers with headers at once and a body that comes piece by piece.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn stream(&mut self, reply: &Reply) -> io::Result<Streaming<'_>> {
        self.answered = true;
        self.finish_body();
        // Who asks in the old version knows the end by the connection's.
        let chunked = self.head.minor > 0;
        self.keep &= chunked;
        let mut head = reply::head(reply.status, reply::reason(reply.status), &reply.headers);
        if chunked {
            head += "Transfer-Encoding: chunked\r\n";
        }
        head += &reply::date();
        head += self.connection_header();
        head += "\r\n";
        self.write(head.as_bytes())?;
        let stream = self.connection.stream();
        stream.set_write_timeout(None)?;
        let kept = std::mem::replace(&mut self.keep, false);
        Ok(Streaming {
            stream,
            chunked,
            keep: &mut self.keep,
            kept,
        })
    }

    /// Makes the connection a raw stream, in the form that the client asks for: `101` for those that want
    /// to upgrade, and else `200` with a body that ends with the connection.
    ///
    /// # Errors
    /// When the client is gone; and before anything is answered, when its body does not end.
    pub fn hijack(&mut self, reply: &Reply) -> io::Result<Hijacked> {
        // The request's body is not the stream's, whether the connection is to be used again or not: what
        // cannot be read to its end would be a process's input.
        self.drain()?;
        let stream = self.connection.stream().try_clone()?;
        self.answered = true;
        self.keep = false;
        let mut head = match self.head.upgrades() {
            true => {
                let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
                reply::head(101, "UPGRADED", &reply.headers) + upgrade
            }
            false => reply::head(200, "OK", &reply.headers),
        };
        head += "\r\n";
        self.write(head.as_bytes())?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        Ok(Hijacked {
            stream,
            early: self.connection.take_unread(),
        })
    }

    /// Whether the connection can be used for another request.
    pub(super) fn end(self) -> bool {
        self.answered && self.keep && self.body.is_over()
    }

    /// Reads what is left of the body, so that the next request is found after it.
    fn finish_body(&mut self) {
        if self.body.is_over() {
            return;
        }
        if self.waits {
            // A client that was not asked for its body may send it or not.
            self.keep = false;
            return;
        }
        if self.keep && self.drain().is_err() {
            self.keep = false;
        }
    }

    /// Reads what is left of the body, and asks for it where the client waits for that.
    fn drain(&mut self) -> io::Result<()> {
        let mut left = MAX_DRAIN;
        let mut piece = vec![0; 16 << 10];
        while !self.body.is_over() {
            let length = self.read(&mut piece)?;
            left = left.checked_sub(length).ok_or_else(|| {
                self.keep = false;
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the request's body is too large",
                )
            })?;
        }
        Ok(())
    }

    fn connection_header(&self) -> &'static str {
        match (self.keep, self.head.minor) {
            (false, _) => "Connection: close\r\n",
            (true, 0) => "Connection: keep-alive\r\n",
            (true, _) => "",
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.connection.stream();
        stream.set_write_timeout(Some(WRITE_TIME))?;
        let written = stream.write_all(bytes);
        if written.is_err() {
            self.keep = false;
        }
        written
    }
}

impl Streaming<'_> {
    /// A client that does not read is waited for no longer than so: then it is given up. For answers that are
    /// written by those for whom others wait.
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(time))
    }

    /// Says that the body is complete. Without it, the client sees that it is not.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn finish(self) -> io::Result<()> {
        if self.chunked {
            let mut stream = self.stream;
            stream.write_all(b"0\r\n\r\n")?;
        }
        *self.keep = self.kept;
        Ok(())
    }
}

impl Write for Streaming<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            // An empty chunk would be the end.
            return Ok(0);
        }
        if self.chunked {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            self.stream.write_all(&chunk)?;
        } else {
            self.stream.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Streaming<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
