//! One stream of a mux: its state, and the two halves by which it is used.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use super::{
    Link, WINDOW,
    frame::{Kind, MAX_PAYLOAD, Violation},
    lock,
};

/// Consumed bytes after which the sender is granted as many anew: seldom enough to cost little,
/// early enough that it need not wait.
const GRANT: usize = WINDOW / 4;

/// How a direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// All was sent.
    Finished,
    /// One side gave up.
    Broken,
}

/// Both directions of a channel, as this side sees them.
#[derive(Debug)]
pub(super) struct State {
    inbox: VecDeque<Vec<u8>>,
    /// Bytes that the other side may still send.
    granted: usize,
    /// Bytes consumed since the last grant.
    consumed: usize,
    inward: Way,
    /// Bytes that this side may still send.
    credit: usize,
    outward: Way,
}

/// A channel's state, and the means to wait for it to change.
pub(super) struct Shared {
    number: u32,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn new(number: u32) -> Self {
        let state = State {
            inbox: VecDeque::new(),
            granted: WINDOW,
            consumed: 0,
            inward: Way::Open,
            credit: WINDOW,
            outward: Way::Open,
        };
        Self {
            number,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut lock(&self.state));
        self.changed.notify_all();
        result
    }

    /// Waits until the function has a result.
    fn wait<T>(&self, mut result: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut state = lock(&self.state);
        loop {
            if let Some(result) = result(&mut state) {
                return result;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

// What frames do; each tells whether both directions have ended now.
impl State {
    fn ended(&self) -> bool {
        self.inward != Way::Open && self.outward != Way::Open
    }

    pub(super) fn deliver(&mut self, channel: u32, data: Vec<u8>) -> Result<bool, Violation> {
        let (length, granted) = (data.len(), self.granted);
        if length > granted {
            return Err(Violation::Overrun {
                channel,
                length,
                granted,
            });
        }
        // What comes after the end was under way when this side refused it.
        if self.inward == Way::Open && length > 0 {
            self.granted -= length;
            self.inbox.push_back(data);
        }
        Ok(false)
    }

    pub(super) fn grant(&mut self, channel: u32, payload: &[u8]) -> Result<bool, Violation> {
        let grant = <[u8; 4]>::try_from(payload).map_err(|_| Violation::Grant(channel))?;
        let credit = usize::try_from(u32::from_le_bytes(grant))
            .ok()
            .and_then(|grant| self.credit.checked_add(grant))
            .filter(|credit| *credit <= WINDOW)
            .ok_or(Violation::Grant(channel))?;
        self.credit = credit;
        Ok(false)
    }

    pub(super) fn finish(&mut self) -> bool {
        if self.inward == Way::Open {
            self.inward = Way::Finished;
        }
        self.ended()
    }

    pub(super) fn abort(&mut self) -> bool {
        self.inward = Way::Broken;
        self.inbox.clear();
        self.ended()
    }

    pub(super) fn refuse(&mut self) -> bool {
        self.outward = Way::Broken;
        self.ended()
    }

    /// The connection is over: what has arrived can still be read.
    pub(super) fn break_off(&mut self) {
        if self.inward == Way::Open {
            self.inward = Way::Broken;
        }
        if self.outward == Way::Open {
            self.outward = Way::Broken;
        }
    }
}

/// A stream's two halves, which can be used by two threads.
pub struct Channel {
    /// What goes to the other side.
    pub sender: Sender,
    /// What comes from the other side.
    pub receiver: Receiver,
}

impl Channel {
    pub(super) fn new(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        let receiver = Receiver {
            shared: shared.clone(),
            link: link.clone(),
        };
        Self {
            sender: Sender { shared, link },
            receiver,
        }
    }

    /// The channel's number, by which the other side knows it, too.
    pub fn number(&self) -> u32 {
        self.sender.shared.number
    }
}

/// Sends a stream's bytes. Dropped before [`Sender::finish`], it tells the other side that the
/// stream broke off.
pub struct Sender {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl Sender {
    /// Sends all bytes; waits while the other side does not read.
    ///
    /// # Errors
    /// `BrokenPipe` when the other side wants no more or the connection is over.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let wanted = bytes.len().min(MAX_PAYLOAD);
            let length = self.shared.wait(|state| {
                if state.outward != Way::Open {
                    return Some(None);
                }
                let length = wanted.min(state.credit);
                state.credit -= length;
                (length > 0).then_some(Some(length))
            });
            let length = length.ok_or(io::ErrorKind::BrokenPipe)?;
            let (piece, rest) = bytes.split_at(length);
            self.link.send(self.shared.number, Kind::Data, piece)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Tells the other side that all was sent.
    pub fn finish(self) {
        self.end(Kind::Finish, Way::Finished);
    }

    fn end(&self, kind: Kind, way: Way) {
        let (was, ended) = self.shared.change(|state| {
            let was = state.outward;
            if was == Way::Open {
                state.outward = way;
            }
            (was, state.ended())
        });
        if was == Way::Open {
            // A connection that is over needs no telling.
            let _ = self.link.send(self.shared.number, kind, &[]);
            if ended {
                self.link.forget(self.shared.number);
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end(Kind::Abort, Way::Broken);
    }
}

/// Receives a stream's bytes. Dropped before the end, it tells the other side to send no more.
pub struct Receiver {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl Receiver {
    /// The next piece, as it arrived; `None` at the stream's end. Waits for it.
    ///
    /// # Errors
    /// `ConnectionReset` when the stream broke off.
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.shared
            .wait(|state| match (state.inbox.pop_front(), state.inward) {
                (Some(piece), _) => Some(Ok(Some(piece))),
                (None, Way::Open) => None,
                (None, Way::Finished) => Some(Ok(None)),
                (None, Way::Broken) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            })
    }

    /// Tells the other side that this many bytes found their place, so that it may send as many
    /// more.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn consumed(&mut self, bytes: usize) -> io::Result<()> {
        let grant = self.shared.change(|state| {
            state.consumed += bytes;
            if state.consumed < GRANT || state.inward != Way::Open {
                return None;
            }
            let grant = std::mem::take(&mut state.consumed);
            state.granted += grant;
            u32::try_from(grant).ok()
        });
        match grant {
            Some(grant) => self
                .link
                .send(self.shared.number, Kind::Credit, &grant.to_le_bytes()),
            None => Ok(()),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let (was, ended) = self.shared.change(|state| {
            let was = state.inward;
            if was == Way::Open {
                state.inward = Way::Broken;
            }
            state.inbox.clear();
            (was, state.ended())
        });
        if was == Way::Open {
            // As in `Sender::end`.
            let _ = self.link.send(self.shared.number, Kind::Refuse, &[]);
            if ended {
                self.link.forget(self.shared.number);
            }
        }
    }
}
