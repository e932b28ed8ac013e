//! A software host's channel whose other end breaks every rule, while this end goes on using it.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::mux::{
    Channel, Incoming, Mux, Receiver, Sender, Side, WINDOW,
    frame::{GREETING, HEADER, Header, Kind, MAX_PAYLOAD},
};
use coracle_platform::fuzzing::Input;

/// What a frame that nobody would send is made of, at most.
const RAW: usize = HEADER + 8;

/// Bytes of data that a step sends, for each of its argument.
const UNIT: usize = MAX_PAYLOAD / 255;

/// A channel that this end uses, and what is known of it.
struct Held {
    number: u32,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// Bytes that may be sent.
    credit: usize,
    /// What arrived and was not received.
    inbox: VecDeque<Vec<u8>>,
    /// More may arrive.
    open: bool,
    /// The other side takes more.
    wanted: bool,
}

impl Held {
    fn new(channel: Channel) -> Self {
        Self {
            number: channel.number(),
            sender: Some(channel.sender),
            receiver: Some(channel.receiver),
            credit: WINDOW,
            inbox: VecDeque::new(),
            open: true,
            wanted: true,
        }
    }

    /// Receives what must be there, or the end that must be there.
    fn receive(&mut self) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        match (self.inbox.pop_front(), self.open) {
            (Some(piece), _) => {
                let arrived = receiver.receive().expect("it has arrived");
                assert!(arrived.as_ref() == Some(&piece), "another piece arrived");
                receiver.consumed(piece.len()).expect("writing never fails");
            }
            (None, false) => assert!(!matches!(receiver.receive(), Ok(Some(_)))),
            (None, true) => {}
        }
    }

    /// Sends what there is room for, or finds that nobody wants it.
    fn send(&mut self, length: usize) {
        let Some(sender) = &mut self.sender else {
            return;
        };
        let length = length.clamp(1, WINDOW);
        if !self.wanted {
            assert!(sender.send(&vec![1; length]).is_err(), "nobody wants it");
        } else if length <= self.credit {
            self.credit -= length;
            sender.send(&vec![1; length]).expect("writing never fails");
        }
    }
}

/// All that this end holds, and what the other one does next.
struct Scene {
    input: Input,
    mux: Option<Mux>,
    held: Vec<Held>,
    /// The number of the next channel that the other end opens in order.
    next: u32,
    greeted: bool,
}

impl Scene {
    /// Does what this end does meanwhile, until the other end sends something; gives that.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(frame(0, Kind::Hello, GREETING));
        }
        loop {
            let step = self.input.below(14)?;
            let argument = self.input.byte()?;
            let size = usize::from(argument) * UNIT;
            if step == 0 {
                self.next += 2;
                return Some(frame(self.next - 2, Kind::Open, &[argument]));
            }
            if step == 1 {
                return Some(self.input.piece(RAW));
            }
            if step == 2 {
                let opened = self.mux.as_ref().map(|mux| mux.open(&[argument]));
                self.held.extend(opened.and_then(Result::ok).map(Held::new));
                continue;
            }
            let count = self.held.len();
            if count == 0 {
                continue;
            }
            let chosen = self.input.below(count)?;
            let held = self.held.get_mut(chosen)?;
            let number = held.number;
            match step {
                3..=5 => {
                    let piece = vec![argument; size];
                    if held.open && !piece.is_empty() {
                        held.inbox.push_back(piece.clone());
                    }
                    return Some(frame(number, Kind::Data, &piece));
                }
                6 => {
                    held.credit += size;
                    let grant = u32::try_from(size).unwrap_or_default();
                    return Some(frame(number, Kind::Credit, &grant.to_le_bytes()));
                }
                7 => {
                    held.open = false;
                    return Some(frame(number, Kind::Finish, &[]));
                }
                8 => {
                    held.open = false;
                    held.inbox.clear();
                    return Some(frame(number, Kind::Abort, &[]));
                }
                9 => {
                    held.wanted = false;
                    return Some(frame(number, Kind::Refuse, &[]));
                }
                10 => held.receive(),
                11 => held.send(size),
                12 => {
                    held.receiver = None;
                    held.inbox.clear();
                    held.open = false;
                }
                _ => match held.sender.take() {
                    Some(sender) if argument % 2 == 0 => sender.finish(),
                    _ => {}
                },
            }
        }
    }
}

/// The scene as the byte channel's input: one frame at each read.
struct Hostile {
    scene: Arc<Mutex<Scene>>,
    rest: VecDeque<u8>,
}

impl Read for Hostile {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest
                .extend(lock(&self.scene).next_frame().into_iter().flatten());
        }
        self.rest.read(room)
    }
}

/// What this end wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn frame(channel: u32, kind: Kind, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        channel,
        kind,
        length: payload.len(),
    };
    [&header.encode(), payload].concat()
}

/// Whatever the other end sends, nothing waits for ever, what arrives is what was sent, and what this end
/// sends keeps to the rules.
pub fn mux(bytes: &[u8]) {
    let scene = Arc::new(Mutex::new(Scene {
        input: Input::new(bytes),
        mux: None,
        held: Vec::new(),
        next: 2,
        greeted: false,
    }));
    let written = Written::default();
    let hostile = Hostile {
        scene: scene.clone(),
        rest: VecDeque::new(),
    };
    let (mux, mut reading) =
        Mux::new(hostile, written.clone(), Side::Outside).expect("writing never fails");
    lock(&scene).mux = Some(mux.clone());
    reading.greet().expect("the greeting is right");
    let _ = reading.run(|incoming: Incoming| {
        lock(&scene).held.push(Held::new(incoming.channel));
    });
    // Frames that were read but broke a rule arrived nowhere.
    let mut scene = lock(&scene);
    scene.mux = None;
    for held in &mut scene.held {
        if let Some(receiver) = &mut held.receiver {
            while let Ok(Some(_)) = receiver.receive() {}
        }
        if let Some(sender) = &mut held.sender {
            assert!(sender.send(&[1]).is_err(), "the connection is over");
        }
    }
    scene.held.clear();
    assert!(mux.open(&[]).is_err(), "the connection is over");
    keeps_the_rules(&lock(&written.0));
}

/// What this end sent can be read, and each channel is opened once.
fn keeps_the_rules(mut written: &[u8]) {
    let mut next = 1;
    while let Some((header, rest)) = written.split_first_chunk::<HEADER>() {
        let header = Header::decode(*header).expect("a frame of our own");
        if header.kind == Kind::Open {
            assert_eq!(header.channel, next, "channels are opened in order");
            next += 2;
        }
        written = rest.get(header.length..).expect("a frame is whole");
    }
    assert!(written.is_empty(), "a header is whole");
}

#[cfg(test)]
mod tests {
    #[test]
    fn mux_stands_noise() {
        coracle_platform::fuzzing::with_noise(super::mux);
    }
}
