//! The control channel to a guest's init. The guest is hostile: its words are bounded, checked
//! and never waited for without end.

use std::{
    collections::VecDeque,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use contracts::guest::{
    GuestMessage, HostMessage,
    frame::{self, Decoder},
};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

/// How long a guest may take to read one of our messages before it counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of messages that wait for a guest that does not read.
const MAX_BACKLOG: usize = 4 << 20;

/// What is said of a guest that leaves our messages unread.
const SILENT: &str = "the guest is not responding: it does not read its control channel";

/// Bytes read from a guest at a time.
const PIECE: usize = 8 << 10;

/// A guest's init, connected. Nothing here waits.
pub struct Guest {
    stream: UnixStream,
    decoder: Decoder,
    outgoing: Outgoing,
}

/// Messages that the guest has not read yet, each with the time when it has to have done so.
#[derive(Default)]
struct Outgoing {
    frames: VecDeque<(Vec<u8>, Instant)>,
    /// Bytes of the first one that were written.
    written: usize,
    /// Bytes of all.
    length: usize,
}

impl Guest {
    /// Takes the stream of a guest's control connection.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            outgoing: Outgoing::default(),
        }
    }

    /// Sends a message; what the guest does not read at once waits for [`Self::flush`].
    ///
    /// # Errors
    /// When the message is too long, or too many wait.
    pub fn send(&mut self, message: &HostMessage) -> Result<()> {
        let frame = frame::encode(message).context("the container's description is too long")?;
        let outgoing = &mut self.outgoing;
        outgoing.length += frame.len();
        if outgoing.length > MAX_BACKLOG && !outgoing.frames.is_empty() {
            bail!(SILENT);
        }
        outgoing
            .frames
            .push_back((frame, Instant::now() + WRITE_TIMEOUT));
        self.flush()
    }

    /// Writes what waits, as far as the guest has room.
    ///
    /// # Errors
    /// When the guest is gone, or has had a message to read for too long.
    pub fn flush(&mut self) -> Result<()> {
        let outgoing = &mut self.outgoing;
        while let Some((frame, until)) = outgoing.frames.front() {
            let rest = frame.get(outgoing.written..).unwrap_or_default();
            match send(
                &self.stream,
                rest,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(sent) if sent == rest.len() => {
                    outgoing.length -= frame.len();
                    outgoing.written = 0;
                    outgoing.frames.pop_front();
                }
                Ok(sent) => outgoing.written += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if *until <= Instant::now() => bail!(SILENT),
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    return Err(error).context("cannot write to the guest's control channel");
                }
            }
        }
        Ok(())
    }

    /// Until when the guest has to have read what waits, if anything does.
    pub fn deadline(&self) -> Option<Instant> {
        self.outgoing.frames.front().map(|(_, until)| *until)
    }

    /// Reads what has arrived, without waiting; `false` at the end of the stream.
    ///
    /// # Errors
    /// When the stream fails.
    pub fn receive(&mut self) -> Result<bool> {
        let mut piece = [0; PIECE];
        match recv(&self.stream, &mut piece, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok(false),
            Ok((length, _)) => {
                self.decoder.push(piece.get(..length).unwrap_or_default());
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            // A guest that is gone has closed its end, whatever word the kernel has for it.
            Err(Errno::CONNRESET) => Ok(false),
            Err(error) => Err(error).context("cannot read the guest's control channel"),
        }
    }

    /// The next whole message of what was received.
    ///
    /// # Errors
    /// When the guest breaks the contract.
    pub fn message(&mut self) -> Result<Option<GuestMessage>> {
        let message: Option<GuestMessage> = self
            .decoder
            .next_message()
            .context("guest protocol error: invalid message")?;
        if let Some(message) = &message {
            message.check()?;
        }
        Ok(message)
    }
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> HostMessage {
        HostMessage::Signal {
            id: "x".repeat(length),
            signal: 1,
        }
    }

    #[test]
    fn what_a_guest_does_not_read_waits_and_comes_whole() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut guest = Guest::new(ours);
        let sent: Vec<HostMessage> = (1..30).map(|n| message(n * 10_000)).collect();
        for message in &sent {
            guest.send(message).unwrap();
        }
        assert!(guest.deadline().is_some());
        theirs.set_nonblocking(true).unwrap();
        let mut decoder = Decoder::default();
        let mut received = Vec::new();
        while guest.deadline().is_some() || received.len() < sent.len() {
            let mut piece = [0; 4096];
            if let Ok((length, _)) = recv(&theirs, &mut piece, RecvFlags::DONTWAIT) {
                decoder.push(&piece[..length]);
            }
            while let Some(message) = decoder.next_message::<HostMessage>().unwrap() {
                received.push(message);
            }
            guest.flush().unwrap();
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn guest_that_takes_a_message_byte_by_byte_has_one_deadline_for_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut guest = Guest::new(ours);
        while guest.deadline().is_none() {
            guest.send(&message(100_000)).unwrap();
        }
        let deadline = guest.deadline().unwrap();
        let mut byte = [0; 1];
        std::io::Read::read_exact(&mut theirs, &mut byte).unwrap();
        guest.flush().unwrap();
        assert_eq!(guest.deadline(), Some(deadline));
        guest.outgoing.frames[0].1 = Instant::now();
        assert!(guest.flush().is_err());
    }

    #[test]
    fn what_waits_for_a_guest_is_bounded() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut guest = Guest::new(ours);
        let sent = (0..100).map(|_| guest.send(&message(100_000)));
        assert!(sent.take_while(Result::is_ok).count() < 60);
    }
}
