//! The control channel to a guest's init. The guest is hostile: its words are bounded, checked
//! and never waited for without end.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use coracle_protocol::{
    GuestMessage, HostMessage,
    frame::{self, Decoder},
};
use rustix::net::{RecvFlags, recv};

/// How long a guest may leave our words unread before it counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read from a guest at a time.
const PIECE: usize = 8 << 10;

/// A guest's init, connected.
pub(crate) struct Guest {
    stream: UnixStream,
    decoder: Decoder,
}

impl Guest {
    /// Takes the stream of a guest's control connection.
    ///
    /// # Errors
    /// When the stream refuses a timeout.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream
            .set_write_timeout(Some(WRITE_TIMEOUT))
            .context("cannot set a timeout")?;
        Ok(Self {
            stream,
            decoder: Decoder::default(),
        })
    }

    /// Says something to the guest.
    ///
    /// # Errors
    /// When the message is too long or the guest does not read.
    pub(crate) fn send(&mut self, message: &HostMessage) -> Result<()> {
        let frame = frame::encode(message).context("the container's description is too long")?;
        match self.stream.write_all(&frame) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                bail!("the guest does not answer: it reads nothing from its control channel")
            }
            result => result.context("cannot write to the guest's control channel"),
        }
    }

    /// Reads what has arrived, without waiting; `false` at the end of the stream.
    ///
    /// # Errors
    /// When the stream fails.
    pub(crate) fn receive(&mut self) -> Result<bool> {
        let mut piece = [0; PIECE];
        match recv(&self.stream, &mut piece, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok(false),
            Ok((length, _)) => {
                self.decoder.push(piece.get(..length).unwrap_or_default());
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(true),
            // A guest that is gone has closed its end, whatever word the kernel has for it.
            Err(rustix::io::Errno::CONNRESET) => Ok(false),
            Err(error) => Err(error).context("cannot read the guest's control channel"),
        }
    }

    /// The next whole message of what was received.
    ///
    /// # Errors
    /// When the guest breaks the contract.
    pub(crate) fn message(&mut self) -> Result<Option<GuestMessage>> {
        let message: Option<GuestMessage> = self
            .decoder
            .next_message()
            .context("the guest sent something that is not a message of its contract")?;
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
