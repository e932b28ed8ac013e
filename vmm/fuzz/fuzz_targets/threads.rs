//! A hostile driver of two threads: one changes rings, descriptors, buffers and registers while the device works on
//! them. A device does not panic, its turns end, and it works once the driver has reset it.
#![no_main]

use std::{io, os::unix::net::UnixStream, thread};

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use vmm::virtio::{
    Device,
    balloon::Balloon,
    block::{Block, Content},
    rng::Rng,
    testing::{Driver, HEAP, NEXT, RUNNING, Raw, WRITE, register},
    vsock::{Host, Vsock},
};

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Which {
    Block { read_only: bool },
    Vsock,
    Rng,
    Balloon,
}

/// What the first thread does: chains as they should be, which the other one spoils.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Step {
    Request { queue: u8, kind: u8, sector: u16, length: u16, writable: bool },
    Packet { operation: u8, flags: u8, data: u16 },
    Room { queue: u8, length: u16 },
    Turn,
}

#[derive(Debug, Arbitrary)]
struct Input {
    which: Which,
    steps: Vec<Step>,
    /// Acts of the other thread, and where it goes on from when they are used up.
    acts: Vec<u64>,
    seed: u64,
}

/// Closes each connection at once.
struct Closing;

impl Host for Closing {
    fn connect(&mut self, port: u32) -> io::Result<UnixStream> {
        match port {
            0 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => UnixStream::pair().map(|(ours, _)| ours),
        }
    }
}

/// Bytes of a disk's file.
const DISK: u64 = 64 << 10;

fn device(which: Which) -> Box<dyn Device> {
    match which {
        Which::Block { read_only } => {
            let file = tempfile::tempfile().unwrap();
            file.set_len(DISK).unwrap();
            let content = vec![(Content::File { file, offset: 0 }, DISK)];
            Box::new(Block::new(content, read_only, 2))
        }
        Which::Vsock => Box::new(Vsock::new(3, Box::new(Closing)).unwrap().0),
        Which::Rng => Box::new(Rng::new()),
        Which::Balloon => Box::new(Balloon::new()),
    }
}

fn chain(driver: &mut Driver, queue: u16, head: &[u8], data: (u32, bool), status: bool) {
    if driver.free_descriptors(queue) == 0 {
        return;
    }
    let head = driver.data(head);
    let raw = |address, length, flags, next| Raw { address, length, flags, next };
    let way = if data.1 { WRITE } else { 0 };
    let more = if status { NEXT } else { 0 };
    let mut table = vec![raw(head.address, head.length, NEXT, 1), raw(HEAP, data.0, way | more, 2)];
    if status {
        table.push(raw(HEAP, 1, WRITE, 0));
    }
    driver.add_table(queue, &table);
}

fn step(driver: &mut Driver, queues: u16, step: Step) {
    match step {
        Step::Request { queue, kind, sector, length, writable } => {
            let mut header = u32::from(kind % 16).to_le_bytes().to_vec();
            header.extend([0; 4]);
            header.extend(u64::from(sector).to_le_bytes());
            let length = u32::from(length) / 512 * 512;
            chain(driver, u16::from(queue) % queues, &header, (length, writable), true);
        }
        Step::Packet { operation, flags, data } => {
            let mut header = 3_u64.to_le_bytes().to_vec();
            header.extend(2_u64.to_le_bytes());
            header.extend([1, 0, 0, 0, 1, 0, 0, 0]);
            header.extend(u32::from(data).to_le_bytes());
            header.extend([1, 0, operation % 9, 0, flags % 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
            chain(driver, 1 % queues, &header, (data.into(), false), false);
        }
        Step::Room { queue, length } => {
            let queue = u16::from(queue) % queues;
            if driver.free_descriptors(queue) > 0 {
                let room = Raw { address: HEAP + 0x10_0000, length: length.into(), flags: WRITE, next: 0 };
                driver.add_table(queue, &[room]);
            }
        }
        Step::Turn => {
            (0..queues).for_each(|queue| driver.notify(queue));
            driver.turn();
        }
    }
}

/// Steps of one run: what a driver of this size of memory has places for.
const STEPS: usize = 200;

fuzz_target!(|input: Input| {
    let Input { which, steps, acts, seed } = input;
    let device = device(which);
    let queues = u16::try_from(device.queue_sizes().len()).unwrap();
    let mut driver = Driver::new(device);
    driver.start(1 << 29);
    let hand = driver.hand();
    let other = {
        let hand = hand.clone();
        thread::spawn(move || {
            acts.into_iter().for_each(|number| hand.act(number));
            hand.act_until_over(seed);
        })
    };
    for next in steps.into_iter().take(STEPS) {
        if driver.read(register::STATUS) != RUNNING {
            driver.reset();
            // The other thread may be faster.
            if driver.negotiate(1 << 29 | 1 << 32) {
                (0..queues).for_each(|queue| driver.set_up_queue(queue));
                driver.write(register::STATUS, RUNNING);
            } else {
                (0..queues).for_each(|queue| driver.set_up_queue(queue));
            }
        }
        step(&mut driver, queues, next);
    }
    hand.end();
    other.join().unwrap();
    driver.run();
    driver.reset();
    driver.start(0);
    driver.run();
});
