//! Many byte streams over one byte channel, none of which can hold up another.
//!
//! Each direction of each stream has a window: the receiver grants bytes, the sender sends no
//! more than was granted and waits otherwise. So whatever arrives has a place, the reading thread
//! never waits for anyone, and memory is bounded by [`MAX_CHANNELS`] windows.

mod channel;
pub mod frame;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

pub use channel::{Channel, Receiver, Sender};
use channel::{Shared, State};
use frame::{GREETING, HEADER, Header, Kind, MAX_PAYLOAD, Violation};

/// Bytes that each direction of a stream may have under way: many times what moves in the time of
/// one wake-up of the other side.
pub const WINDOW: usize = 512 << 10;

/// Most streams at once: a container has five, a machine's guests a few hundred.
pub const MAX_CHANNELS: usize = 4096;

/// Bytes read from the byte channel at once.
const READ_AHEAD: usize = 256 << 10;

/// Which end this is; each gives its own numbers to the channels that it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Outside the machine: odd numbers.
    Outside,
    /// In the machine: even numbers.
    Inside,
}

impl Side {
    fn first(self) -> u32 {
        match self {
            Self::Outside => 1,
            Self::Inside => 2,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Outside => Self::Inside,
            Self::Inside => Self::Outside,
        }
    }
}

/// Why the connection ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The byte channel failed or ended.
    #[error("the byte channel to the software host: {0}")]
    Channel(#[from] io::Error),
    /// The other side broke the rules.
    #[error("the other end of the software host's byte channel sent {0}")]
    Violation(#[from] Violation),
}

/// A channel that the other side opened.
pub struct Incoming {
    /// What it is for, as the other side says.
    pub purpose: Vec<u8>,
    /// The channel.
    pub channel: Channel,
}

/// One end of the connection; clones are the same end.
#[derive(Clone)]
pub struct Mux {
    link: Arc<Link>,
}

/// What all channels share.
struct Link {
    writer: Mutex<Writer>,
    table: Mutex<Table>,
    /// Held by who opens a channel, so that numbers reach the other side in order. The table
    /// cannot serve for that: the reading thread needs it while a writer waits.
    opening: Mutex<()>,
}

/// The byte channel's writing end, and room to put a frame together: a frame is one write.
struct Writer {
    output: Box<dyn Write + Send>,
    frame: Vec<u8>,
}

/// The channels.
struct Table {
    channels: HashMap<u32, Arc<Shared>>,
    /// The next number that this side gives.
    next_own: u32,
    /// The next number that the other side must give.
    next_other: u32,
    /// The connection is over.
    dead: bool,
}

/// Locks without regard to poison: what the locks guard is consistent between statements, and a
/// panic elsewhere must not take the other streams with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mux {
    /// One end over a byte channel, and what [`Reading::run`] reads from it. Greets the other end.
    ///
    /// # Errors
    /// When the greeting cannot be written.
    pub fn new(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
        side: Side,
    ) -> io::Result<(Self, Reading)> {
        let writer = Writer {
            output: Box::new(output),
            frame: Vec::new(),
        };
        let table = Table {
            channels: HashMap::new(),
            next_own: side.first(),
            next_other: side.other().first(),
            dead: false,
        };
        let link = Arc::new(Link {
            writer: Mutex::new(writer),
            table: Mutex::new(table),
            opening: Mutex::new(()),
        });
        link.send(0, Kind::Hello, GREETING)?;
        let input = BufReader::with_capacity(READ_AHEAD, Box::new(input) as Box<dyn Read + Send>);
        Ok((Self { link: link.clone() }, Reading { link, input }))
    }

    /// Opens a channel; the other side is told what for, in at most [`MAX_PAYLOAD`] bytes.
    ///
    /// # Errors
    /// When the connection is over, or there are [`MAX_CHANNELS`] already.
    pub fn open(&self, purpose: &[u8]) -> io::Result<Channel> {
        let _opening = lock(&self.link.opening);
        let shared = self.link.add(purpose)?;
        let number = shared.number();
        self.link.send(number, Kind::Open, purpose)?;
        Ok(Channel::new(shared, self.link.clone()))
    }

    #[cfg(test)]
    fn channels(&self) -> usize {
        lock(&self.link.table).channels.len()
    }
}

impl Link {
    /// A new channel of this side, which the other does not know of yet.
    fn add(&self, purpose: &[u8]) -> io::Result<Arc<Shared>> {
        let mut table = lock(&self.table);
        if table.dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if table.channels.len() >= MAX_CHANNELS || purpose.len() > MAX_PAYLOAD {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let number = table.next_own;
        table.next_own = number.checked_add(2).ok_or(io::ErrorKind::QuotaExceeded)?;
        let shared = Arc::new(Shared::new(number));
        table.channels.insert(number, shared.clone());
        Ok(shared)
    }

    /// Writes one frame in one piece.
    fn send(&self, channel: u32, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let header = Header {
            channel,
            kind,
            length: payload.len(),
        };
        let mut writer = lock(&self.writer);
        let Writer { output, frame } = &mut *writer;
        frame.clear();
        frame.extend_from_slice(&header.encode());
        frame.extend_from_slice(payload);
        output.write_all(frame)?;
        output.flush()
    }

    /// Forgets a channel of which both directions have ended.
    fn forget(&self, number: u32) {
        lock(&self.table).channels.remove(&number);
    }
}

/// The reading half of an end.
pub struct Reading {
    link: Arc<Link>,
    input: BufReader<Box<dyn Read + Send>>,
}

impl Reading {
    /// Waits for the other end's greeting; must come before [`Self::run`].
    ///
    /// # Errors
    /// When the byte channel ends, or the other side is another program or version.
    pub fn greet(&mut self) -> Result<(), Error> {
        let mut payload = Vec::new();
        let header = self.frame(&mut payload)?;
        if (header.channel, header.kind) == (0, Kind::Hello) && payload == GREETING {
            return Ok(());
        }
        Err(Violation::Greeting(String::from_utf8_lossy(&payload).into_owned()).into())
    }

    /// Reads until the connection ends, and hands each new channel to `accept`, which must not
    /// wait for any channel. All channels are broken afterwards.
    pub fn run(mut self, mut accept: impl FnMut(Incoming)) -> Error {
        let mut payload = Vec::new();
        let error = loop {
            match self.step(&mut payload, &mut accept) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        let mut table = lock(&self.link.table);
        table.dead = true;
        for (_, shared) in table.channels.drain() {
            shared.change(State::break_off);
        }
        error
    }

    fn frame(&mut self, payload: &mut Vec<u8>) -> Result<Header, Error> {
        let mut header = [0; HEADER];
        self.input.read_exact(&mut header)?;
        let header = Header::decode(header)?;
        payload.resize(header.length, 0);
        self.input.read_exact(payload)?;
        Ok(header)
    }

    fn step(
        &mut self,
        payload: &mut Vec<u8>,
        accept: &mut impl FnMut(Incoming),
    ) -> Result<(), Error> {
        let Header {
            channel: number,
            kind,
            ..
        } = self.frame(payload)?;
        if kind == Kind::Open {
            let channel = self.opened(number)?;
            accept(Incoming {
                purpose: std::mem::take(payload),
                channel,
            });
            return Ok(());
        }
        let Some(shared) = self.find(number, kind)? else {
            return Ok(());
        };
        let ended = shared.change(|state| match kind {
            Kind::Hello | Kind::Open => Err(Violation::Channel(number, kind)),
            Kind::Data => state.deliver(number, std::mem::take(payload)),
            Kind::Credit => state.grant(number, payload),
            Kind::Finish => Ok(state.finish()),
            Kind::Abort => Ok(state.abort()),
            Kind::Refuse => Ok(state.refuse()),
        })?;
        if ended {
            self.link.forget(number);
        }
        Ok(())
    }

    /// A channel that the other side has just opened.
    fn opened(&self, number: u32) -> Result<Channel, Violation> {
        let mut table = lock(&self.link.table);
        if number != table.next_other {
            return Err(Violation::Order(number));
        }
        // Both sides together: each keeps to the limit for those that it opens itself.
        if table.channels.len() >= 2 * MAX_CHANNELS {
            return Err(Violation::Channels(2 * MAX_CHANNELS));
        }
        table.next_other = number.checked_add(2).ok_or(Violation::Order(number))?;
        let shared = Arc::new(Shared::new(number));
        table.channels.insert(number, shared.clone());
        Ok(Channel::new(shared, self.link.clone()))
    }

    /// The channel of a frame; `None` when it has ended here and the other side, when it sent
    /// this, could not yet know.
    fn find(&self, number: u32, kind: Kind) -> Result<Option<Arc<Shared>>, Violation> {
        let table = lock(&self.link.table);
        if let Some(shared) = table.channels.get(&number) {
            return Ok(Some(shared.clone()));
        }
        let own = number % 2 == table.next_own % 2;
        let next = if own {
            table.next_own
        } else {
            table.next_other
        };
        if number == 0 || number >= next {
            return Err(Violation::Channel(number, kind));
        }
        Ok(None)
    }
}
