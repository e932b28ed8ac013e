//! The device at work: packets in, packets out.

use std::{
    collections::{HashMap, VecDeque},
    os::unix::net::UnixStream,
    sync::{Arc, PoisonError},
};

use rustix::event::epoll::EventFlags;
use virtio_queue::{Queue, QueueOwnedT, QueueT};

use super::{
    Host, Waiting,
    connection::{Connection, LARGE, Read, SMALL},
    packet::{Header, Incoming, NO_RECEIVE, NO_SEND, Outgoing, STREAM, op},
};
use crate::virtio::{Active, Interrupt, Memory, Turn, Watcher, service::MAX_TURN_BYTES};

/// The host's context identifier.
const HOST_CID: u64 = 2;

/// Most connections at once: each holds a descriptor and a buffer.
const MAX_CONNECTIONS: usize = 1024;

/// Answers that wait for the guest's buffers, beyond which nothing is refused in words any more: such packets are
/// dropped. If they waited instead, a process that floods its guest's queue with connections would stop both
/// directions for all in the guest: Linux takes no answers while it has many resets of its own to send, which stand in
/// that queue behind the flood.
const MAX_REFUSALS: usize = 4096;

/// Answers of all kinds; beyond it the guest's packets wait, so that a guest which floods us without reading fills
/// nothing but its own queue. Processes in it cannot get that far: what is not a refusal belongs to a connection, of
/// which there are few.
const MAX_ANSWERS: usize = 4 * MAX_REFUSALS;

/// First port of the host's own connections, above what services use.
const FIRST_OWN_PORT: u32 = 1 << 30;

/// Connections that get a large window, as most guests never have more; further ones get a small
/// one. All windows together, and so what a guest can make the monitor hold, are 23 MiB.
const MAX_LARGE: usize = 64;

/// Token of the event that tells of waiting connections; connections count up from 1.
const WAITING: u32 = 0;

/// Largest token of a connection: those above are the event loop's.
const MAX_TOKEN: u32 = 0x7fff_ffff;

/// Queues.
const TO_GUEST: u16 = 0;
const FROM_GUEST: u16 = 1;

/// Packets for one turn in each direction, before other devices and the owner have theirs.
const ROUND: usize = 256;

/// Pieces of guest memory that the packets of a turn may be in, its last packet aside: each is a system call, and a
/// packet may be in 255. Linux has one or two for each.
const ROUND_PIECES: usize = 2048;

/// What a turn in one direction may still do.
struct Round {
    bytes: u64,
    pieces: usize,
}

impl Round {
    fn new() -> Self {
        Self {
            bytes: MAX_TURN_BYTES,
            pieces: ROUND_PIECES,
        }
    }

    /// Takes a packet of so many bytes in so many pieces; whether the turn is over.
    fn spend(&mut self, bytes: u32, pieces: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(bytes.into());
        self.pieces = self.pieces.saturating_sub(pieces);
        self.bytes == 0 || self.pieces == 0
    }
}

/// Who talks to whom: host port, guest port.
type Key = (u32, u32);

pub(super) struct Running {
    cid: u64,
    memory: Memory,
    to_guest: Queue,
    from_guest: Queue,
    interrupt: Interrupt,
    watcher: Watcher,
    host: Box<dyn Host>,
    waiting: Arc<Waiting>,
    connections: HashMap<Key, (u32, Connection)>,
    /// Connections that the guest has closed and forgotten while the stream still takes what was
    /// sent, by token.
    draining: HashMap<u32, Connection>,
    tokens: HashMap<u32, Key>,
    next_token: u32,
    next_port: u32,
    /// Packets without data.
    answers: VecDeque<Header>,
    /// Connections that may have something for the guest, each once.
    ready: VecDeque<Key>,
}

/// What there is for a buffer of the guest's.
enum Next {
    Packet(Header),
    /// The buffer is too small for what there is.
    NoRoom,
    Nothing,
}

impl Running {
    /// Takes over the queues; gives the host back when the system refuses.
    pub(super) fn new(
        cid: u64,
        active: Active,
        host: Box<dyn Host>,
        waiting: Arc<Waiting>,
        next_token: u32,
    ) -> Result<Self, Box<dyn Host>> {
        let Active {
            memory,
            queues,
            interrupt,
            watcher,
            ..
        } = active;
        let mut queues = queues.into_iter();
        let (Some(to_guest), Some(from_guest)) = (queues.next(), queues.next()) else {
            return Err(host);
        };
        let event = crate::event_loop::as_fd(&waiting.event);
        let watched = watcher.add(event, WAITING, EventFlags::IN);
        if !to_guest.ready() || !from_guest.ready() || watched.is_err() {
            let _ = watcher.remove(event);
            return Err(host);
        }
        Ok(Self {
            cid,
            memory,
            to_guest,
            from_guest,
            interrupt,
            watcher,
            host,
            waiting,
            connections: HashMap::new(),
            draining: HashMap::new(),
            tokens: HashMap::new(),
            next_token,
            next_port: FIRST_OWN_PORT,
            answers: VecDeque::new(),
            ready: VecDeque::new(),
        })
    }

    /// Closes everything; gives the host back, and the token to go on with.
    pub(super) fn stop(self) -> (Box<dyn Host>, u32) {
        let _ = self
            .watcher
            .remove(crate::event_loop::as_fd(&self.waiting.event));
        let open = self.connections.values().map(|(_, connection)| connection);
        for connection in open.chain(self.draining.values()) {
            let _ = self.watcher.remove(&connection.stream);
        }
        (self.host, self.next_token)
    }

    pub(super) fn queue_event(&mut self, queue: u16) {
        if queue == FROM_GUEST || queue == TO_GUEST {
            self.work();
        }
    }

    pub(super) fn source_event(&mut self, token: u32, events: EventFlags) {
        if token == WAITING {
            // It is ready, so this takes the count and does not wait.
            let _ = self.waiting.event.read();
            self.connect_waiting();
        } else if let Some(key) = self.tokens.get(&token).copied() {
            // Edge-triggered: both directions may have changed.
            if let Some((_, connection)) = self.connections.get_mut(&key) {
                connection.woken(events.contains(EventFlags::HUP));
            }
            self.progress(key);
        } else {
            self.drain(token);
        }
        self.work();
    }

    /// One turn: takes the guest's packets, and gives it what there is. Asks for another turn when
    /// something is left of which nobody would notify.
    fn work(&mut self) {
        let received = self.receive();
        let blocked = self.answers.len() >= MAX_ANSWERS;
        let sent = self.send();
        let unblocked = blocked && self.answers.len() < MAX_ANSWERS;
        if received == Turn::More || sent == Turn::More || unblocked {
            // A full counter is ready all the same.
            let _ = self.waiting.event.write(1);
        }
    }

    fn connect_waiting(&mut self) {
        loop {
            let mut streams = self
                .waiting
                .streams
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let Some((port, stream)) = streams.pop_front() else {
                return;
            };
            drop(streams);
            let key = (self.next_port, port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_OWN_PORT);
            if self.insert(key, stream, false) {
                self.answer(key, op::REQUEST, 0);
            }
        }
    }

    /// Whether there is place for one more connection.
    fn place(&self) -> bool {
        self.connections.len() + self.draining.len() < MAX_CONNECTIONS
    }

    fn insert(&mut self, key: Key, stream: UnixStream, established: bool) -> bool {
        if !self.place() || self.connections.contains_key(&key) {
            return false;
        }
        let token = self.free_token();
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if stream.set_nonblocking(true).is_err()
            || self.watcher.add(&stream, token, events).is_err()
        {
            return false;
        }
        let window = if self.connections.len() + self.draining.len() < MAX_LARGE {
            LARGE
        } else {
            SMALL
        };
        self.tokens.insert(token, key);
        self.connections
            .insert(key, (token, Connection::new(stream, established, window)));
        true
    }

    /// The next token that no connection has; there are far more than connections.
    fn free_token(&mut self) -> u32 {
        loop {
            self.next_token = self.next_token % MAX_TOKEN + 1;
            let token = self.next_token;
            if !self.tokens.contains_key(&token) && !self.draining.contains_key(&token) {
                return token;
            }
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some((_, connection)) = self.take_out(key) {
            // Closing the stream takes it from the loop as well, unless someone else holds it.
            let _ = self.watcher.remove(&connection.stream);
        }
    }

    /// Takes a connection out of all lists. One that stayed among those with something for the
    /// guest would let a guest that connects and resets make that list longer without end.
    fn take_out(&mut self, key: Key) -> Option<(u32, Connection)> {
        let (token, connection) = self.connections.remove(&key)?;
        self.tokens.remove(&token);
        if connection.queued {
            self.ready.retain(|queued| *queued != key);
        }
        Some((token, connection))
    }

    /// The guest forgets a connection. What it sent before it closed is still passed on: Linux
    /// forgets eight seconds after it closed, whether the other side has read all or not.
    fn forget(&mut self, key: Key) {
        let draining = |(_, connection): &(u32, Connection)| connection.draining();
        if !self.connections.get(&key).is_some_and(draining) {
            return self.remove(key);
        }
        if let Some((token, connection)) = self.take_out(key) {
            self.draining.insert(token, connection);
        }
    }

    /// Passes on more of a connection that the guest has forgotten.
    fn drain(&mut self, token: u32) {
        let Some(connection) = self.draining.get_mut(&token) else {
            return;
        };
        if (connection.flush().is_err() || !connection.draining())
            && let Some(connection) = self.draining.remove(&token)
        {
            let _ = self.watcher.remove(&connection.stream);
        }
    }

    /// Ends a connection, and tells the guest.
    fn abort(&mut self, key: Key) {
        self.remove(key);
        self.answer(key, op::RST, 0);
    }

    /// A packet without data for the guest.
    fn answer(&mut self, (host, guest): Key, operation: u16, flags: u32) {
        let (buf_alloc, fwd_cnt) = self
            .connections
            .get_mut(&(host, guest))
            .map_or((0, 0), |(_, c)| c.tell());
        self.answers.push_back(Header {
            source_cid: HOST_CID,
            destination_cid: self.cid,
            source_port: host,
            destination_port: guest,
            kind: STREAM,
            op: operation,
            flags,
            buf_alloc,
            fwd_cnt,
            ..Default::default()
        });
    }

    /// Puts a connection among those with something for the guest.
    fn mark(&mut self, key: Key) {
        if let Some((_, connection)) = self.connections.get_mut(&key)
            && connection.wants_guest()
            && !connection.queued
        {
            connection.queued = true;
            self.ready.push_back(key);
        }
    }

    /// Moves what can be moved, after something of a connection changed.
    fn progress(&mut self, key: Key) {
        let Some((_, connection)) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.flush().is_err() {
            return self.abort(key);
        }
        if connection.finished() {
            return self.abort(key);
        }
        if connection.should_tell_end() {
            self.answer(key, op::SHUTDOWN, NO_SEND | NO_RECEIVE);
        } else if connection.should_tell() {
            self.answer(key, op::CREDIT_UPDATE, 0);
        }
        self.mark(key);
    }

    /// Takes packets of the guest, until there is no room for answers.
    fn receive(&mut self) -> Turn {
        let memory = self.memory.clone();
        let mut turn = Turn::More;
        let (mut taken, mut idle) = (false, false);
        let mut round = Round::new();
        let _ = self.from_guest.disable_notification(&memory);
        for _ in 0..ROUND {
            if self.answers.len() >= MAX_ANSWERS {
                // It goes on when some of them were sent.
                turn = Turn::Done;
                break;
            }
            let Some(chain) = self.from_guest.pop_descriptor_chain(&memory) else {
                let more = self.from_guest.enable_notification(&memory);
                if more.unwrap_or(false) && !idle {
                    idle = true;
                    continue;
                }
                turn = Turn::Done;
                break;
            };
            idle = false;
            let head = chain.head_index();
            let mut over = false;
            if let Some(packet) = Incoming::read(&memory, chain) {
                self.packet(&packet);
                over = round.spend(packet.header.length, packet.pieces_at_most());
            }
            if self.from_guest.add_used(&memory, head, 0).is_err() {
                turn = Turn::Done;
                break;
            }
            taken = true;
            if over {
                break;
            }
        }
        if taken && self.from_guest.needs_notification(&memory).unwrap_or(false) {
            self.interrupt.used();
        }
        turn
    }

    fn packet(&mut self, packet: &Incoming) {
        let header = packet.header;
        let (source, destination) = (header.source_cid, header.destination_cid);
        if source != self.cid || destination != HOST_CID {
            return;
        }
        let key = (header.destination_port, header.source_port);
        let operation = header.op;
        if header.kind != STREAM {
            return self.refuse(key, operation);
        }
        if let Some((_, connection)) = self.connections.get_mut(&key) {
            connection.heard(header.buf_alloc, header.fwd_cnt);
        }
        match (operation, self.connections.get_mut(&key)) {
            (op::REQUEST, None) => self.request(key, header),
            (op::RESPONSE, Some((_, connection))) if !connection.established => {
                connection.established = true;
                self.mark(key);
            }
            (op::RST, Some(_)) => self.forget(key),
            (op::SHUTDOWN, Some((_, connection))) => {
                connection.guest_closed |= header.flags & (NO_RECEIVE | NO_SEND);
                self.progress(key);
            }
            (op::RW, Some((_, connection))) if connection.established => {
                let open = connection.guest_closed & NO_SEND == 0;
                let taken = packet.pieces(&self.memory).is_ok_and(|pieces| {
                    open && pieces.iter().all(|piece| connection.take(piece).is_ok())
                });
                if taken {
                    self.progress(key);
                } else {
                    self.abort(key);
                }
            }
            (op::CREDIT_UPDATE, Some(_)) => self.mark(key),
            (op::CREDIT_REQUEST, Some(_)) => {
                self.answer(key, op::CREDIT_UPDATE, 0);
                self.mark(key);
            }
            (_, Some(_)) => self.abort(key),
            (_, None) => self.refuse(key, operation),
        }
    }

    /// Resets what is not connected; a reset is not answered by another.
    fn refuse(&mut self, key: Key, operation: u16) {
        if operation != op::RST && self.may_refuse() {
            self.answer(key, op::RST, 0);
        }
    }

    /// Whether there is room for an answer that belongs to no connection.
    fn may_refuse(&self) -> bool {
        self.answers.len() < MAX_REFUSALS
    }

    fn request(&mut self, key: Key, header: Header) {
        // Neither taken, which would need an answer, nor refused: whoever asks will ask again.
        if !self.may_refuse() {
            return;
        }
        let connected = self.place()
            && self
                .host
                .connect(key.0)
                .is_ok_and(|stream| self.insert(key, stream, true));
        if !connected {
            return self.answer(key, op::RST, 0);
        }
        if let Some((_, connection)) = self.connections.get_mut(&key) {
            connection.heard(header.buf_alloc, header.fwd_cnt);
        }
        self.answer(key, op::RESPONSE, 0);
        self.mark(key);
    }

    /// Fills the guest's buffers: answers first, then data of one connection after the other.
    fn send(&mut self) -> Turn {
        let memory = self.memory.clone();
        let mut turn = Turn::More;
        let (mut used, mut idle) = (false, false);
        let mut round = Round::new();
        let _ = self.to_guest.disable_notification(&memory);
        for _ in 0..ROUND {
            if self.answers.is_empty() && self.ready.is_empty() {
                turn = Turn::Done;
                break;
            }
            let Some(chain) = self.to_guest.pop_descriptor_chain(&memory) else {
                let more = self.to_guest.enable_notification(&memory);
                if more.unwrap_or(false) && !idle {
                    idle = true;
                    continue;
                }
                turn = Turn::Done;
                break;
            };
            idle = false;
            let head = chain.head_index();
            // A buffer that nothing fits into is given back as it is, and does not hold up others.
            let mut written = 0;
            if let Some(room) = Outgoing::new(chain) {
                match self.next(&memory, &room) {
                    Next::Packet(header) => written = room.finish(&memory, header),
                    Next::NoRoom => {}
                    Next::Nothing => {
                        // Nothing after all: the buffer is for the next packet.
                        self.to_guest.go_to_previous_position();
                        turn = Turn::Done;
                        break;
                    }
                }
            }
            if self.to_guest.add_used(&memory, head, written).is_err() {
                turn = Turn::Done;
                break;
            }
            used = true;
            if round.spend(written, 1) {
                break;
            }
        }
        if used && self.to_guest.needs_notification(&memory).unwrap_or(false) {
            self.interrupt.used();
        }
        turn
    }

    /// The next packet for the guest, its data already in place.
    fn next(&mut self, memory: &Memory, room: &Outgoing) -> Next {
        if let Some(header) = self.answers.pop_front() {
            return Next::Packet(header);
        }
        while let Some(key) = self.ready.pop_front() {
            let Some((_, connection)) = self.connections.get_mut(&key) else {
                continue;
            };
            connection.queued = false;
            if !connection.wants_guest() {
                continue;
            }
            let Some(slice) = room.data(memory, connection.credit()) else {
                connection.queued = true;
                self.ready.push_front(key);
                return Next::NoRoom;
            };
            let (operation, length, flags) = match connection.read(&slice) {
                Read::Nothing => continue,
                Read::Data(length) => (op::RW, length, 0),
                Read::End(flags) => (op::SHUTDOWN, 0, flags),
            };
            let (buf_alloc, fwd_cnt) = connection.tell();
            self.mark(key);
            return Next::Packet(Header {
                source_cid: HOST_CID,
                destination_cid: self.cid,
                source_port: key.0,
                destination_port: key.1,
                length,
                kind: STREAM,
                op: operation,
                flags,
                buf_alloc,
                fwd_cnt,
            });
        }
        Next::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, atomic::AtomicU32};

    use vm_memory::GuestAddress;
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;
    use crate::{event_loop::EventLoop, owner::Owner, virtio::testing::Rings};

    fn queue(number: u16) -> Queue {
        let rings = Rings::new(number, 16);
        let mut queue = Queue::new(16).unwrap();
        queue.set_desc_table_address(Some(rings.descriptors.try_into().unwrap()), None);
        queue.set_avail_ring_address(Some(rings.available.try_into().unwrap()), None);
        queue.set_used_ring_address(Some(rings.used.try_into().unwrap()), None);
        queue.set_ready(true);
        queue
    }

    fn running() -> Running {
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let interrupt = Interrupt::new(Arc::new(AtomicU32::new(0)), Arc::new(event()));
        let active = Active {
            memory: Memory::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap(),
            queues: vec![queue(0), queue(1)],
            features: 0,
            interrupt,
            watcher: EventLoop::new().unwrap().next_watcher(),
        };
        let waiting = Arc::new(Waiting {
            streams: Mutex::default(),
            event: event(),
        });
        let running = Running::new(3, active, Box::new(Owner::default()), waiting, 0);
        running.ok().unwrap()
    }

    #[test]
    fn connections_that_are_reset_leave_no_list_longer() {
        let mut running = running();
        let key = (5, 6);
        for round in 0..100 {
            let (stream, _other) = UnixStream::pair().unwrap();
            assert!(running.insert(key, stream, true));
            let (_, connection) = running.connections.get_mut(&key).unwrap();
            connection.heard(1000, 0);
            running.mark(key);
            running.mark(key);
            assert_eq!(running.ready.len(), 1, "{round}");
            running.forget(key);
            assert_eq!((running.ready.len(), running.tokens.len()), (0, 0));
        }
    }
}
