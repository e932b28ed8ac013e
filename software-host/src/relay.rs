//! Carries a control socket, and the streams that its packets bring, through the mux. Both ends
//! do the same.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use packets::Socket;
use serde::{Deserialize, Serialize};

use super::mux::{Channel, Mux, Receiver, Sender, frame::MAX_PAYLOAD};

/// Largest message in bytes: a monitor's plan, which tells of every extent of its disks.
pub(super) const MAX_MESSAGE: usize = 64 << 20;

/// Gives a packet a descriptor, where it is one that needs it.
pub(super) type Attach = fn(&[u8]) -> Option<OwnedFd>;

/// What a channel is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A stream that comes with a message on another channel.
    Stream,
    /// The control socket of a monitor to be started; the first message is its plan.
    Monitor {
        /// The program's path.
        program: String,
    },
    /// A shell: the first message brings its terminal's stream, the following are [`Size`]; in the
    /// other direction comes [`Ended`].
    Shell {
        /// The kind of terminal (`TERM`).
        term: String,
        /// The terminal's size at first.
        size: Size,
    },
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// A shell has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit code; 128 + n on signal n.
    pub code: u8,
}

/// A mux, and the streams that wait for the message which brings them.
pub(super) struct Exchange {
    mux: Mux,
    strays: Mutex<HashMap<u32, Channel>>,
}

impl Exchange {
    /// An exchange over this mux.
    pub(super) fn new(mux: Mux) -> Arc<Self> {
        Arc::new(Self {
            mux,
            strays: Mutex::new(HashMap::new()),
        })
    }

    /// Opens a channel for this purpose.
    ///
    /// # Errors
    /// When the connection is over.
    pub(super) fn open(&self, purpose: &Purpose) -> io::Result<Channel> {
        self.mux.open(&serde_json::to_vec(purpose)?)
    }

    /// Keeps a [`Purpose::Stream`] until its message comes.
    pub(super) fn keep(&self, channel: Channel) {
        self.strays().insert(channel.number(), channel);
    }

    fn strays(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Channel>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Relays between a local socket and a channel until both directions have ended. A packet from
    /// the channel that brings no stream gets the descriptor that `attach` has for it, if any. When
    /// the local end is done, `last_words` may add a packet to the last that it sent; when the channel is, the
    /// local end is told, and `left` is called.
    pub(super) fn relay(
        self: &Arc<Self>,
        local: &Arc<Socket>,
        mut sender: Sender,
        messages: Messages,
        attach: Attach,
        last_words: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
        left: impl FnOnce() + Send + 'static,
    ) {
        let down = {
            let (this, local) = (self.clone(), local.clone());
            thread::spawn(move || {
                match this.downward(&local, messages, attach) {
                    Ok(()) => local.finish(),
                    Err(_) => local.close(),
                }
                left();
            })
        };
        let mut last = Vec::new();
        match self.upward(local, &mut sender, &mut last) {
            Ok(()) => {
                let told = match last_words(&last) {
                    Some(words) => send(&mut sender, 0, &words),
                    None => Ok(()),
                };
                if told.is_ok() {
                    sender.finish();
                }
            }
            // The other end of the channel wants no more: neither does the local one then. Nor does anyone wait
            // for what does not come any more.
            Err(_) => {
                drop(sender);
                local.close();
            }
        }
        // A panic there has been told on standard error.
        let _ = down.join();
    }

    fn upward(&self, local: &Socket, sender: &mut Sender, last: &mut Vec<u8>) -> io::Result<()> {
        // A socket that fails has ended, too.
        while let Ok(Some((bytes, attached))) = local.receive_bytes() {
            let stream = match attached {
                // A guest can flood us with connections until there are no more channels, descriptors or threads: then
                // this one is closed, on both sides, and the others go on.
                Some(attached) => match self.open(&Purpose::Stream) {
                    Ok(channel) => {
                        let number = channel.number();
                        let _ = bridge(UnixStream::from(attached), channel);
                        number
                    }
                    Err(_) => 0,
                },
                None => 0,
            };
            send(sender, stream, &bytes)?;
            *last = bytes;
        }
        Ok(())
    }

    fn downward(&self, local: &Socket, mut messages: Messages, attach: Attach) -> io::Result<()> {
        let mut listens = true;
        while let Some((bytes, stream)) = messages.next(MAX_MESSAGE)? {
            // Taken even if nobody is there for it: so it ends, on both sides.
            let attached = self.stream(stream)?.or_else(|| attach(&bytes));
            if listens
                && local
                    .send_bytes(&bytes, attached.as_ref().map(AsFd::as_fd))
                    .is_err()
            {
                local.close();
                listens = false;
            }
        }
        Ok(())
    }

    /// The local end of a stream that a message names; `None` for none, and where no descriptor is left.
    ///
    /// # Errors
    /// When there is no such stream.
    pub(super) fn stream(&self, number: u32) -> io::Result<Option<OwnedFd>> {
        if number == 0 {
            return Ok(None);
        }
        let channel = self
            .strays()
            .remove(&number)
            .ok_or(io::ErrorKind::InvalidData)?;
        // Without a descriptor or a thread for it the stream ends at once, on both sides: see `upward`.
        let Ok((near, far)) = UnixStream::pair() else {
            return Ok(None);
        };
        let _ = bridge(near, channel);
        Ok(Some(far.into()))
    }
}

/// Sends a message, which brings the stream of this number unless that is 0.
///
/// # Errors
/// When the channel is broken.
pub(super) fn send(sender: &mut Sender, stream: u32, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message = Vec::with_capacity(8 + bytes.len());
    message.extend_from_slice(&length.to_le_bytes());
    message.extend_from_slice(&stream.to_le_bytes());
    message.extend_from_slice(bytes);
    sender.send(&message)
}

/// The messages of a channel.
pub struct Messages {
    receiver: Receiver,
    buffer: Vec<u8>,
}

impl Messages {
    /// From a channel's receiver.
    pub fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            buffer: Vec::new(),
        }
    }

    /// The next message and the number of its stream (0: none); `None` at the channel's end.
    ///
    /// # Errors
    /// When the channel broke off, or the message is larger than `limit`.
    pub fn next(&mut self, limit: usize) -> io::Result<Option<(Vec<u8>, u32)>> {
        let Some(length) = self.number()? else {
            return Ok(None);
        };
        let stream = self.number()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit);
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        if !self.fill(length)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = self.buffer.split_off(length);
        Ok(Some((std::mem::replace(&mut self.buffer, rest), stream)))
    }

    fn number(&mut self) -> io::Result<Option<u32>> {
        if !self.fill(4)? {
            return Ok(None);
        }
        let rest = self.buffer.split_off(4);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        Ok(<[u8; 4]>::try_from(bytes).ok().map(u32::from_le_bytes))
    }

    /// Has at least this many bytes in the buffer; false at an end before the first of them.
    fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.buffer.len() < length {
            match self.receiver.receive()? {
                Some(piece) => {
                    self.buffer.extend_from_slice(&piece);
                    self.receiver.consumed(piece.len())?;
                }
                None if self.buffer.is_empty() => return Ok(false),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(true)
    }
}

/// Joins a local stream and a channel by two threads of their own, one for each direction. Each
/// direction ends by itself, in order or broken off, as it does on the other side.
///
/// # Errors
/// When the stream cannot be duplicated.
pub(super) fn bridge(stream: UnixStream, channel: Channel) -> io::Result<()> {
    let Channel { sender, receiver } = channel;
    let other = stream.try_clone()?;
    thread::Builder::new()
        .name("to-mux".into())
        .spawn(move || outward(&other, sender))?;
    thread::Builder::new()
        .name("from-mux".into())
        .spawn(move || inward(&stream, receiver))?;
    Ok(())
}

fn outward(mut stream: &UnixStream, mut sender: Sender) {
    let mut buffer = vec![0; MAX_PAYLOAD];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return sender.finish(),
            Ok(length) => {
                let (piece, _) = buffer.split_at(length);
                if sender.send(piece).is_err() {
                    // Whoever writes into the stream learns that nobody reads any more.
                    let _ = stream.shutdown(Shutdown::Read);
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The sender is dropped, which tells the other side.
            Err(_) => return,
        }
    }
}

fn inward(mut stream: &UnixStream, mut receiver: Receiver) {
    loop {
        match receiver.receive() {
            Ok(Some(piece)) => {
                let written = stream
                    .write_all(&piece)
                    .and_then(|()| receiver.consumed(piece.len()));
                if written.is_err() {
                    // The receiver is dropped, which tells the other side.
                    return;
                }
            }
            Ok(None) => {
                let _ = stream.shutdown(Shutdown::Write);
                return;
            }
            Err(_) => {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
