//! A hostile driver: whatever it writes into registers, rings, descriptors and packets, a device
//! does not panic, and comes to rest when the driver does.
#![no_main]

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use vmm::virtio::{
    Device,
    balloon::Balloon,
    block::{Block, Content},
    rng::Rng,
    testing::{Driver, HEAP, MEMORY, NEXT, Raw, WRITE, register},
    vsock::{Handle, Host, Vsock},
};

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Which {
    Block { read_only: bool },
    Vsock,
    Rng,
    Balloon,
}

/// Where a buffer is: most are in memory, and some nearly.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Place {
    Heap(u16),
    Rings(u16),
    End(u8),
    Anywhere(u64),
}

impl Place {
    fn address(self) -> u64 {
        match self {
            Self::Heap(offset) => HEAP + u64::from(offset) * 16,
            Self::Rings(offset) => u64::from(offset) * 8,
            Self::End(before) => MEMORY as u64 - u64::from(before),
            Self::Anywhere(address) => address,
        }
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Piece {
    place: Place,
    length: u16,
    more: u8,
    flags: u8,
    next: u8,
}

impl Piece {
    fn raw(self) -> Raw {
        Raw {
            address: self.place.address(),
            // Long ones are rare, as the upper half is.
            length: u32::from(self.length) | u32::from(self.more / 128 * self.more) << 16,
            flags: u16::from(self.flags % 8),
            next: self.next.into(),
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Step {
    Register { at: u8, value: u32 },
    Bytes { at: u16, bytes: [u8; 8], length: u8 },
    Restart { event_idx: bool },
    Describe { queue: u8, index: u8, piece: Piece },
    Table { queue: u8, pieces: Vec<Piece> },
    Offer { queue: u8, head: u16 },
    Available { queue: u8, index: u16 },
    Put { at: u16, bytes: Vec<u8> },
    Request { queue: u8, kind: u8, sector: u16, length: u16, writable: bool },
    Range { kind: bool, sector: u16, sectors: u32, flags: u8 },
    Packet { host: u8, guest: u8, operation: u8, flags: u8, data: u16, credit: u32 },
    Rooms { count: u8, length: u16 },
    Notify { queue: u8 },
    Turn,
    Connect { port: u8 },
    Write { stream: u8, length: u16 },
    Read { stream: u8 },
    Close { stream: u8 },
}

type Streams = Arc<Mutex<Vec<UnixStream>>>;

struct Listening(Streams);

impl Host for Listening {
    fn connect(&mut self, port: u32) -> io::Result<UnixStream> {
        if port == 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        self.0.lock().unwrap().push(theirs);
        Ok(ours)
    }
}

/// Bytes of a disk's file.
const DISK: u64 = 64 << 10;

fn disk() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(DISK).unwrap();
    file
}

struct Scene {
    driver: Driver,
    queues: u16,
    handle: Option<Handle>,
    streams: Streams,
}

impl Scene {
    fn new(which: Which) -> Self {
        let streams = Streams::default();
        let mut handle = None;
        let device: Box<dyn Device> = match which {
            Which::Block { read_only } => {
                let file = Content::File { file: disk(), offset: 0 };
                let mut content = vec![(file, DISK)];
                if read_only {
                    content.push((Content::Bytes(vec![7; 1024]), 1024));
                    content.push((Content::Zeros, 4096));
                }
                Box::new(Block::new(content, read_only, 2))
            }
            Which::Vsock => {
                let host = Box::new(Listening(Arc::clone(&streams)));
                let (vsock, connect) = Vsock::new(3, host).unwrap();
                handle = Some(connect);
                Box::new(vsock)
            }
            Which::Rng => Box::new(Rng::new()),
            Which::Balloon => Box::new(Balloon::new()),
        };
        let queues = u16::try_from(device.queue_sizes().len()).unwrap();
        let mut scene = Self {
            driver: Driver::new(device),
            queues,
            handle,
            streams,
        };
        scene.restart(true);
        scene
    }

    fn restart(&mut self, event_idx: bool) {
        self.driver.reset();
        self.driver.start(u64::from(event_idx) << 29);
    }

    fn queue(&self, queue: u8) -> u16 {
        u16::from(queue) % self.queues
    }

    /// Makes a table available, where a descriptor for it is free.
    fn table(&mut self, queue: u16, table: &[Raw]) {
        if self.driver.free_descriptors(queue) > 0 && !table.is_empty() {
            self.driver.add_table(queue, table);
        }
        while self.driver.used(queue).is_some() {}
    }

    /// A chain of what is to be read, and what is to be written.
    fn chain(&mut self, queue: u16, head: &[u8], data: (u64, u32, bool), status: bool) {
        let head = self.driver.data(head);
        let raw = |address, length, flags, next| Raw { address, length, flags, next };
        let way = if data.2 { WRITE } else { 0 };
        let mut table = vec![raw(head.address, head.length, NEXT, 1)];
        let more = if status { NEXT } else { 0 };
        table.push(raw(data.0, data.1, way | more, 2));
        if status {
            table.push(raw(HEAP, 1, WRITE, 0));
        }
        self.table(queue, &table);
    }

    fn step(&mut self, step: Step) {
        let driver = &mut self.driver;
        match step {
            Step::Register { at, value } => {
                driver.write(u64::from(at), value);
                if u64::from(at) == register::STATUS && driver.read(register::STATUS) != 15 {
                    self.restart(true);
                }
            }
            Step::Bytes { at, mut bytes, length } => {
                let (at, length) = (u64::from(at), usize::from(length % 9));
                if !(register::STATUS..register::STATUS + 4).contains(&at) {
                    driver.write_bytes(at, &bytes[..length]);
                }
                driver.read_bytes(at, &mut bytes[..length]);
            }
            Step::Restart { event_idx } => self.restart(event_idx),
            Step::Describe { queue, index, piece } => {
                let queue = self.queue(queue);
                let size = self.driver.rings(queue).size;
                self.driver.describe(queue, u16::from(index) % size, piece.raw());
            }
            Step::Table { queue, pieces } => {
                let queue = self.queue(queue);
                let table: Vec<Raw> = pieces.iter().take(300).map(|piece| piece.raw()).collect();
                self.table(queue, &table);
            }
            Step::Offer { queue, head } => {
                let queue = self.queue(queue);
                self.driver.offer(queue, head % 300);
            }
            Step::Available { queue, index } => {
                let queue = self.queue(queue);
                self.driver.set_available(queue, index);
            }
            Step::Put { at, bytes } => {
                driver.put(HEAP + u64::from(at), bytes.get(..4096).unwrap_or(&bytes));
            }
            Step::Request { queue, kind, sector, length, writable } => {
                let mut header = u32::from(kind % 16).to_le_bytes().to_vec();
                header.extend([0; 4]);
                header.extend(u64::from(sector).to_le_bytes());
                let queue = self.queue(queue);
                let length = u32::from(length) / 512 * 512;
                self.chain(queue, &header, (HEAP, length, writable), true);
            }
            Step::Range { kind, sector, sectors, flags } => {
                let mut range = u64::from(sector).to_le_bytes().to_vec();
                range.extend(sectors.to_le_bytes());
                range.extend(u32::from(flags % 4).to_le_bytes());
                let data = driver.data(&range);
                let mut header = if kind { 13_u32 } else { 11 }.to_le_bytes().to_vec();
                header.extend([0; 12]);
                self.chain(0, &header, (data.address, 16, false), true);
            }
            Step::Packet { host, guest, operation, flags, data, credit } => {
                let mut header = 3_u64.to_le_bytes().to_vec();
                header.extend(2_u64.to_le_bytes());
                header.extend(u32::from(guest % 8).to_le_bytes());
                header.extend(u32::from(host % 8).to_le_bytes());
                header.extend(u32::from(data).to_le_bytes());
                header.extend([1, 0, operation % 9, 0]);
                header.extend(u32::from(flags % 4).to_le_bytes());
                header.extend(credit.to_le_bytes());
                header.extend((credit >> 7).to_le_bytes());
                self.chain(1 % self.queues, &header, (HEAP, data.into(), false), false);
            }
            Step::Rooms { count, length } => {
                for _ in 0..count % 32 {
                    let room = Raw {
                        address: HEAP + 0x10_0000,
                        length: length.into(),
                        flags: WRITE,
                        next: 0,
                    };
                    self.table(0, &[room]);
                }
            }
            Step::Notify { queue } => {
                let queue = self.queue(queue);
                self.driver.notify(queue);
            }
            Step::Turn => {
                driver.turn();
            }
            Step::Connect { port } => {
                if let Some(handle) = &self.handle {
                    let (ours, theirs) = UnixStream::pair().unwrap();
                    ours.set_nonblocking(true).unwrap();
                    let _ = handle.connect(port.into(), theirs);
                    self.streams.lock().unwrap().push(ours);
                }
            }
            Step::Write { stream, length } => {
                if let Some(mut stream) = self.streams.lock().unwrap().get(usize::from(stream)) {
                    let _ = stream.write(&vec![5; length.into()]);
                }
            }
            Step::Read { stream } => {
                if let Some(mut stream) = self.streams.lock().unwrap().get(usize::from(stream)) {
                    let _ = stream.read(&mut [0; 32768]);
                }
            }
            Step::Close { stream } => {
                let mut streams = self.streams.lock().unwrap();
                if usize::from(stream) < streams.len() {
                    streams.remove(stream.into());
                }
            }
        }
    }
}

/// Steps of one run: what a driver of this size of memory can have of its own places.
const STEPS: usize = 200;

fuzz_target!(|input: (Which, Vec<Step>)| {
    let (which, steps) = input;
    let mut scene = Scene::new(which);
    for step in steps.into_iter().take(STEPS) {
        scene.step(step);
    }
    for queue in 0..scene.queues {
        scene.driver.notify(queue);
    }
    scene.driver.run();
    // Whatever was before, it works after a reset.
    scene.restart(false);
    scene.driver.run();
});
