//! Pieces of the uncompressed archive on their way to the threads that use them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::tar::Input;

/// Bytes of a piece: large enough that handing over costs nothing, small enough for caches.
pub(super) const PIECE: usize = 256 << 10;
/// Pieces that may wait for one thread.
pub(super) const WAITING: usize = 8;
/// Pieces that are kept for use again: those that wait, those in use, and one being filled.
const KEPT: usize = WAITING + 3;

/// What goes through a channel. A channel that ends without `End` ends with a failure.
pub(super) enum Message {
    Piece(Arc<Vec<u8>>),
    End,
}

/// Gives the same bytes to several threads.
pub(super) struct Feeder {
    receivers: Vec<SyncSender<Message>>,
    kept: Vec<Arc<Vec<u8>>>,
}

/// One of the receiving threads is gone.
pub(super) struct Gone;

impl Feeder {
    pub(super) fn new(receivers: Vec<SyncSender<Message>>) -> Self {
        Self {
            receivers,
            kept: Vec::new(),
        }
    }

    /// An empty piece, one that all are done with where there is one.
    pub(super) fn piece(&mut self) -> Vec<u8> {
        let free = self
            .kept
            .iter()
            .position(|piece| Arc::strong_count(piece) == 1);
        free.and_then(|index| Arc::into_inner(self.kept.swap_remove(index)))
            .map_or_else(
                || Vec::with_capacity(PIECE),
                |mut piece| {
                    piece.clear();
                    piece
                },
            )
    }

    pub(super) fn send(&mut self, piece: Vec<u8>) -> Result<(), Gone> {
        let piece = Arc::new(piece);
        for receiver in &self.receivers {
            receiver
                .send(Message::Piece(Arc::clone(&piece)))
                .map_err(|_| Gone)?;
        }
        if self.kept.len() < KEPT {
            self.kept.push(piece);
        }
        Ok(())
    }

    /// Says that this was all.
    pub(super) fn end(self) {
        for receiver in self.receivers {
            // A thread that does not wait for the end any more has its reason.
            drop(receiver.send(Message::End));
        }
    }
}

/// The pieces as one stream again.
pub(super) struct Pieces {
    receiver: Receiver<Message>,
    piece: Arc<Vec<u8>>,
    used: usize,
    ended: bool,
}

impl Pieces {
    pub(super) fn new(receiver: Receiver<Message>) -> Self {
        Self {
            receiver,
            piece: Arc::default(),
            used: 0,
            ended: false,
        }
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.piece.len() && !self.ended {
            self.piece = Arc::default();
            self.used = 0;
            match self.receiver.recv() {
                Ok(Message::Piece(piece)) => self.piece = piece,
                Ok(Message::End) => self.ended = true,
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(&self.piece[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
    }
}

impl Input for Pieces {}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
