//! The standard streams of a container: to and from its guest, its log, and the clients that are
//! attached to it. Nothing here waits.

use std::{
    io::{self, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use contracts::guest::{Port, Stdio};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send, sockopt},
};

use crate::state::log;
use coracle_platform::clock;

/// Bytes that are read at a time; no client has more than these waiting, nor has the container.
pub(super) const PIECE: usize = 64 << 10;

/// Bytes of room that a client's socket gets when its container has ended, beyond what it has: what
/// waits goes there, and nobody has to stay for it.
const LAST_ROOM: usize = 4 * PIECE;

/// A descriptor of a container's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The guest's end of standard output (0) or error (1).
    Output(usize),
    /// A client that had no room for output.
    Taker(usize, u64),
    /// The guest's end of standard input, which had no room.
    Input,
    /// A client that gives input.
    Giver(u64),
}

/// Streams of a container.
#[derive(Debug)]
pub(super) struct Streams {
    stdio: Stdio,
    input: Input,
    outputs: [Output; 2],
    pub(super) log: Option<log::Writer>,
    /// When the first byte of output came, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) first_byte: Option<u64>,
}

/// That the guest is to connect a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Promise {
    /// It never was, or has done so.
    #[default]
    None,
    /// Its connection is waited for.
    Open,
    /// Nobody wants the stream any more: init's connection is closed once it is taken. Init makes another one,
    /// thousands of times, where it is not taken.
    Unwanted,
}

impl Promise {
    fn of(port: Option<Port>) -> Self {
        match port {
            Some(_) => Self::Open,
            None => Self::None,
        }
    }

    /// The same when nobody wants the stream any more.
    fn given_up(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Open | Self::Unwanted => Self::Unwanted,
        }
    }
}

#[derive(Debug, Default)]
struct Input {
    guest: Option<UnixStream>,
    promise: Promise,
    pending: Vec<u8>,
    givers: Vec<(u64, UnixStream)>,
    /// Who gave what is pending, or ended it.
    last: Option<u64>,
    /// It ends with the first client.
    once: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Output {
    guest: Option<UnixStream>,
    takers: Vec<Taker>,
    promise: Promise,
}

/// A client that takes output.
#[derive(Debug)]
struct Taker {
    client: u64,
    stream: UnixStream,
    pending: Vec<u8>,
    /// The container's writes fail when this client reads no more.
    owner: bool,
}

impl Streams {
    /// Streams that the guest will connect to these ports. Standard input ends with the first
    /// client where `once`.
    pub(super) fn new(stdio: Stdio, once: bool, log: Option<log::Writer>) -> Self {
        let output = |port: Option<Port>| Output {
            promise: Promise::of(port),
            ..Output::default()
        };
        Self {
            stdio,
            input: Input {
                promise: Promise::of(stdio.stdin),
                once,
                ..Input::default()
            },
            outputs: [output(stdio.stdout), output(stdio.stderr)],
            log,
            first_byte: None,
        }
    }

    /// The ports that the guest is to connect to.
    pub(super) fn stdio(&self) -> Stdio {
        self.stdio
    }

    /// A port that was promised, while a connection to it is waited for.
    pub(super) fn promised(&self, port: u32) -> Option<Port> {
        let [stdout, stderr] = &self.outputs;
        let all = [
            (self.stdio.stdin, self.input.promise),
            (self.stdio.stdout, stdout.promise),
            (self.stdio.stderr, stderr.promise),
        ];
        let waited = all
            .into_iter()
            .filter(|(_, promise)| *promise != Promise::None);
        waited
            .filter_map(|(own, _)| own)
            .find(|own| own.number == port)
    }

    /// Takes the guest's connection to a port, which has been proved to be init's; gives it back
    /// when it is for someone else.
    pub(super) fn connect(&mut self, port: u32, stream: UnixStream) -> Option<UnixStream> {
        let ports = [self.stdio.stdin, self.stdio.stdout, self.stdio.stderr];
        let own = |own: &Option<Port>| own.is_some_and(|own| own.number == port);
        let slots = match ports.iter().position(own) {
            Some(0) => (&mut self.input.promise, &mut self.input.guest),
            Some(index) => match self.outputs.get_mut(index - 1) {
                Some(output) => (&mut output.promise, &mut output.guest),
                None => return Some(stream),
            },
            None => return Some(stream),
        };
        // A second connection to a port is closed.
        if std::mem::take(slots.0) == Promise::Open && stream.set_nonblocking(true).is_ok() {
            *slots.1 = Some(stream);
        }
        self.feed();
        None
    }

    /// Attaches a client; gives the other ends, by index, that it has to get.
    ///
    /// # Errors
    /// As `socketpair(2)`.
    pub(super) fn attach(
        &mut self,
        client: u64,
        input: bool,
        owner: bool,
    ) -> io::Result<Vec<(u8, UnixStream)>> {
        let mut theirs = Vec::new();
        let pair = || -> io::Result<(UnixStream, UnixStream)> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            Ok((ours, theirs))
        };
        if input && self.stdio.stdin.is_some() {
            let (ours, other) = pair()?;
            self.input.givers.push((client, ours));
            theirs.push((0, other));
        }
        let ports = [self.stdio.stdout, self.stdio.stderr];
        for ((output, port), index) in self.outputs.iter_mut().zip(ports).zip(1..) {
            if port.is_none() {
                continue;
            }
            let (ours, other) = pair()?;
            theirs.push((index, other));
            // Closed at once where the container's end is closed already.
            if !output.is_over() {
                output.takers.push(Taker {
                    client,
                    stream: ours,
                    pending: Vec::new(),
                    owner,
                });
            }
        }
        Ok(theirs)
    }

    /// A client is gone before the start: as if it had never come.
    pub(super) fn forget(&mut self, client: u64) {
        self.detach(client, true);
        if self.input.last == Some(client) {
            self.input.last = None;
            self.input.ended = false;
            self.input.pending.clear();
        }
    }

    /// A client is gone; input goes on without it where it left in good order.
    pub(super) fn detach(&mut self, client: u64, in_order: bool) {
        for output in &mut self.outputs {
            output.takers.retain(|taker| taker.client != client);
        }
        if in_order {
            self.input.givers.retain(|(giver, _)| *giver != client);
        } else if self.input.givers.iter().any(|(giver, _)| *giver == client) {
            self.no_more_from(client);
        }
    }

    /// What is waited for, and whether for room.
    pub(super) fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>, bool)> {
        let outputs = self.outputs.iter().enumerate().flat_map(|(index, output)| {
            let slow = output
                .takers
                .iter()
                .filter(|taker| !taker.pending.is_empty());
            let guest = output
                .guest
                .as_ref()
                .filter(|_| output.takers.iter().all(|taker| taker.pending.is_empty()));
            slow.map(move |taker| {
                (
                    Source::Taker(index, taker.client),
                    taker.stream.as_fd(),
                    true,
                )
            })
            .chain(guest.map(move |guest| (Source::Output(index), guest.as_fd(), false)))
        });
        let input = &self.input;
        let full = !input.pending.is_empty();
        let guest = input.guest.as_ref().filter(|_| full);
        let givers = input.givers.iter().filter(move |_| !full);
        outputs
            .chain(guest.map(|guest| (Source::Input, guest.as_fd(), true)))
            .chain(givers.map(|(client, stream)| (Source::Giver(*client), stream.as_fd(), false)))
    }

    /// Goes on with what is ready; `piece` is room for [`PIECE`] bytes.
    pub(super) fn event(&mut self, source: Source, piece: &mut [u8]) {
        match source {
            Source::Output(index) => self.read_output(index, piece),
            Source::Taker(index, client) => {
                if let Some(output) = self.outputs.get_mut(index) {
                    output.flush(client);
                }
            }
            Source::Input => self.feed(),
            Source::Giver(client) => self.read_input(client, piece),
        }
    }

    fn read_output(&mut self, index: usize, piece: &mut [u8]) {
        let Some(output) = self.outputs.get_mut(index) else {
            return;
        };
        let Some(guest) = &output.guest else { return };
        let length = match recv(guest, &mut *piece, RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return,
            // A guest that is gone has closed its end, whatever word the kernel has for it.
            Err(_) => 0,
        };
        let bytes = piece.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            output.guest = None;
            output.takers.retain(|taker| !taker.pending.is_empty());
            return;
        }
        self.first_byte.get_or_insert_with(clock::now);
        if let Some(log) = &mut self.log {
            let stream = u8::try_from(index + 1).unwrap_or(1);
            // A full disk costs the log, not the container.
            let _ = log.write(stream, clock::wall(), bytes);
        }
        output.give(bytes);
    }

    fn read_input(&mut self, client: u64, piece: &mut [u8]) {
        let Some((_, stream)) = self.input.givers.iter().find(|(giver, _)| *giver == client) else {
            return;
        };
        match recv(stream, &mut *piece, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.no_more_from(client),
            Ok((length, _)) => {
                let bytes = piece.get(..length).unwrap_or_default();
                self.input.last = Some(client);
                self.input.pending.extend_from_slice(bytes);
                self.feed();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.no_more_from(client),
        }
    }

    fn no_more_from(&mut self, client: u64) {
        self.input.givers.retain(|(giver, _)| *giver != client);
        if self.input.once {
            self.input.last = Some(client);
            self.input.ended = true;
            self.input.givers.clear();
        }
        self.feed();
    }

    /// Gives the guest what input waits for it.
    fn feed(&mut self) {
        let input = &mut self.input;
        let Some(guest) = &input.guest else { return };
        while !input.pending.is_empty() {
            match send(
                guest,
                &input.pending,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(sent) => drop(input.pending.drain(..sent)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The container wants no more; neither do the clients have to give more.
                Err(_) => {
                    input.guest = None;
                    input.pending.clear();
                    input.givers.clear();
                    return;
                }
            }
        }
        if input.ended {
            let _ = guest.shutdown(Shutdown::Write);
            input.guest = None;
        }
    }

    /// The container has ended, and wants no more input. Its output may still be on its way.
    pub(super) fn end_input(&mut self) {
        self.input = Input {
            promise: self.input.promise.given_up(),
            ..Input::default()
        };
    }

    /// All output has been read.
    pub(super) fn drained(&self) -> bool {
        self.outputs.iter().all(Output::is_over)
    }

    /// Output was promised, and the guest has never connected it.
    pub(super) fn lacks_output(&self) -> bool {
        let is_awaited = |output: &Output| output.promise == Promise::Open;
        self.outputs.iter().any(is_awaited)
    }

    /// A client has no room for output.
    pub(super) fn is_held_back(&self) -> bool {
        let mut takers = self.outputs.iter().flat_map(|output| &output.takers);
        takers.any(|taker| !taker.pending.is_empty())
    }

    /// Lets go of the clients: what waits for them is left in their sockets.
    pub(super) fn release(&mut self) {
        for output in &mut self.outputs {
            output.guest = None;
            output.promise = output.promise.given_up();
            for mut taker in output.takers.drain(..) {
                if taker.pending.is_empty() {
                    continue;
                }
                if let Ok(room) = sockopt::socket_send_buffer_size(&taker.stream) {
                    let _ = sockopt::set_socket_send_buffer_size(&taker.stream, room + LAST_ROOM);
                }
                let _ = taker.stream.write_all(&taker.pending);
            }
        }
    }
}

impl Output {
    /// Nothing comes by it any more.
    fn is_over(&self) -> bool {
        self.guest.is_none() && self.promise != Promise::Open
    }

    /// Gives bytes to all clients; what one has no room for waits.
    fn give(&mut self, bytes: &[u8]) {
        for taker in &mut self.takers {
            taker.pending.extend_from_slice(bytes);
        }
        let clients: Vec<u64> = self.takers.iter().map(|taker| taker.client).collect();
        for client in clients {
            self.flush(client);
        }
    }

    fn flush(&mut self, client: u64) {
        let Some(taker) = self.takers.iter_mut().find(|taker| taker.client == client) else {
            return;
        };
        let over = loop {
            if taker.pending.is_empty() {
                break self.is_over();
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&taker.stream, &taker.pending, flags) {
                Ok(sent) => drop(taker.pending.drain(..sent)),
                Err(Errno::AGAIN) => break false,
                Err(Errno::INTR) => {}
                Err(_) => {
                    if let (true, Some(guest)) = (taker.owner, &self.guest) {
                        // As in a pipe that nobody reads.
                        let _ = guest.shutdown(Shutdown::Both);
                    }
                    break true;
                }
            }
        };
        if over {
            self.takers.retain(|taker| taker.client != client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const fn port(number: u32) -> Option<Port> {
        Some(Port {
            answered: true,
            number,
            secret: contracts::guest::Secret::new([0; contracts::guest::SECRET_BYTES]),
        })
    }

    const STDIO: Stdio = Stdio {
        stdin: port(10),
        stdout: port(11),
        stderr: None,
    };

    /// Streams whose standard output is connected, and the guest's end of it.
    fn running() -> (Streams, UnixStream) {
        let mut streams = Streams::new(STDIO, true, None);
        let (guest, ours) = UnixStream::pair().unwrap();
        assert!(streams.connect(11, ours).is_none());
        (streams, guest)
    }

    #[test]
    fn output_reaches_every_client_and_ends_with_the_container() {
        let (mut streams, mut guest) = running();
        let mut piece = [0; PIECE];
        let mut clients: Vec<UnixStream> = (1..=2)
            .map(|client| streams.attach(client, false, false).unwrap().remove(0).1)
            .collect();
        guest.write_all(b"hello").unwrap();
        streams.event(Source::Output(0), &mut piece);
        drop(guest);
        streams.event(Source::Output(0), &mut piece);
        assert!(streams.drained());
        for client in &mut clients {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        }
    }

    #[test]
    fn client_that_does_not_read_holds_the_container_back_and_loses_nothing() {
        let (mut streams, mut guest) = running();
        let mut piece = [0; PIECE];
        let mut client = streams.attach(1, false, false).unwrap().remove(0).1;
        guest.set_nonblocking(true).unwrap();
        let mut written = 0;
        while streams
            .sources()
            .any(|(source, _, _)| source == Source::Output(0))
        {
            written += guest.write(&[b'x'; PIECE]).unwrap_or(0);
            streams.event(Source::Output(0), &mut piece);
        }
        assert!(written < 4 << 20, "{written} bytes were taken");
        streams.release();
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert!(read.len() >= PIECE && read.iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn input_that_comes_before_the_guest_waits_for_it_and_ends_with_its_client() {
        let mut streams = Streams::new(STDIO, true, None);
        let mut piece = [0; PIECE];
        let mut client = streams.attach(1, true, false).unwrap().remove(0).1;
        client.write_all(b"typed").unwrap();
        streams.event(Source::Giver(1), &mut piece);
        drop(client);
        streams.event(Source::Giver(1), &mut piece);
        let (mut guest, ours) = UnixStream::pair().unwrap();
        streams.connect(10, ours);
        let mut text = String::new();
        guest.read_to_string(&mut text).unwrap();
        assert_eq!(text, "typed");
    }

    #[test]
    fn port_is_promised_once() {
        let mut streams = Streams::new(STDIO, true, None);
        assert!(streams.promised(11).is_some());
        let (_guest, ours) = UnixStream::pair().unwrap();
        assert!(streams.connect(11, ours).is_none());
        assert!(streams.promised(11).is_none());
        assert!(streams.promised(10).is_some());
        assert!(streams.promised(12).is_none());
    }

    /// Init takes a connection that is closed before it is taken for one that somebody was in the way of.
    #[test]
    fn connection_that_nobody_wants_any_more_is_taken_once_and_closed() {
        let mut streams = Streams::new(STDIO, true, None);
        streams.end_input();
        streams.release();
        assert!(streams.drained() && !streams.lacks_output());
        for number in [10, 11] {
            assert!(streams.promised(number).is_some(), "{number}");
            let (mut guest, ours) = UnixStream::pair().unwrap();
            assert!(streams.connect(number, ours).is_none());
            assert_eq!(guest.read(&mut [0]).unwrap(), 0);
            assert!(streams.promised(number).is_none(), "{number}");
        }
        assert_eq!(streams.sources().count(), 0);
    }

    #[test]
    fn second_connection_to_a_port_is_closed() {
        let (mut streams, _guest) = running();
        let (mut second, ours) = UnixStream::pair().unwrap();
        assert!(streams.connect(11, ours).is_none());
        assert_eq!(second.read(&mut [0]).unwrap(), 0);
    }
}
