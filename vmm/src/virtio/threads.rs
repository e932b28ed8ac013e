//! Drivers of two threads: one changes rings, descriptors, buffers and registers while the device works on them.
//! Whatever they do, a device does not panic, its turns end, nothing is changed but what is the guest's, and it works
//! once the driver has reset it.

use std::{
    fs::File,
    io,
    os::unix::{fs::FileExt, net::UnixStream},
    sync::{Arc, Mutex},
    thread,
};

use super::{
    Device,
    balloon::Balloon,
    block::{Block, Content},
    rng::Rng,
    testing::{Buffer, Driver, EVENT_IDX, RUNNING, Rings, VERSION_1, register},
    vsock::{Host, Vsock},
};

/// Rounds of the first thread, in each of which all queues are notified.
const ROUNDS: u64 = 300;

/// Works a device with both threads; it is started again afterwards, by the first alone.
fn fight(device: Box<dyn Device>, seed: u64) -> Driver {
    let queues = u16::try_from(device.queue_sizes().len()).unwrap();
    let mut driver = Driver::new(device);
    driver.start(EVENT_IDX);
    let hand = driver.hand();
    let other = {
        let hand = hand.clone();
        thread::spawn(move || hand.act_until_over(seed))
    };
    let mut number = seed;
    for _ in 0..ROUNDS {
        // Resets of the other's, and queues that are gone with them.
        if driver.read(register::STATUS) != RUNNING {
            driver.reset();
            if driver.negotiate(EVENT_IDX | VERSION_1) {
                (0..queues).for_each(|queue| driver.set_up_queue(queue));
                driver.write(register::STATUS, RUNNING);
            }
        }
        for queue in 0..queues {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let [low, high, ..] = number.to_be_bytes();
            hand.put(Rings::new(queue, 256).available + 2, &[low, high]);
            driver.notify(queue);
        }
        driver.turn();
    }
    hand.end();
    other
        .join()
        .expect("the other thread has no reason to panic");
    driver.run();
    driver.reset();
    driver.start(EVENT_IDX);
    driver
}

/// A disk in the middle of a file, between ones.
fn disk(read_only: bool) -> (Box<Block>, File) {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[1; 3 << 16], 0).unwrap();
    let content = Content::File {
        file: file.try_clone().unwrap(),
        offset: 1 << 16,
    };
    let block = Block::new(vec![(content, 1 << 16)], read_only, 2);
    (Box::new(block), file)
}

fn bytes(file: &File, offset: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

#[test]
fn disk_is_changed_nowhere_but_where_it_is_and_serves_again() {
    for (seed, read_only) in [(11, false), (12, true), (13, false), (14, true)] {
        let (block, file) = disk(read_only);
        let mut driver = fight(block, seed);
        for offset in [0, 2 << 16] {
            assert!(bytes(&file, offset) == vec![1; 1 << 16], "{seed} {offset}");
        }
        assert_eq!(file.metadata().unwrap().len(), 3 << 16);
        assert!(!read_only || bytes(&file, 1 << 16) == vec![1; 1 << 16]);
        let (header, room, status) = (driver.data(&[0; 16]), driver.room(512), driver.room(1));
        driver.add(0, &[header, room, status]);
        driver.kick(0);
        assert_eq!(driver.used(0).map(|(_, written)| written), Some(513));
    }
}

#[test]
fn random_numbers_are_given_again() {
    for seed in 21..25 {
        let mut driver = fight(Box::new(Rng::new()), seed);
        let room = driver.room(64);
        driver.add(0, &[room]);
        driver.kick(0);
        assert_eq!(driver.used(0).map(|(_, written)| written), Some(64));
    }
}

#[test]
fn memory_is_given_back_again() {
    for seed in 31..35 {
        let mut driver = fight(Box::new(Balloon::new()), seed);
        let page = 0x80_0000;
        driver.put(page, &[7; 8]);
        driver.add(2, &[Buffer::writable(page, 4096)]);
        driver.kick(2);
        assert!(driver.used(2).is_some());
        assert_eq!(driver.get(page, 8), [0; 8]);
    }
}

type Streams = Arc<Mutex<Vec<UnixStream>>>;

struct Listening(Streams);

impl Host for Listening {
    fn connect(&mut self, _port: u32) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.0.lock().unwrap().push(theirs);
        Ok(ours)
    }
}

#[test]
fn connections_are_made_again() {
    for seed in 41..45 {
        let streams = Streams::default();
        let host = Box::new(Listening(Arc::clone(&streams)));
        let (vsock, _handle) = Vsock::new(3, host).unwrap();
        let mut driver = fight(Box::new(vsock), seed);
        streams.lock().unwrap().clear();
        let room = driver.room(4096);
        driver.add(0, &[room]);
        let mut request = 3_u64.to_le_bytes().to_vec();
        request.extend(2_u64.to_le_bytes());
        request.extend([6, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0]);
        request.extend([0; 12]);
        let request = driver.data(&request);
        driver.add(1, &[request]);
        driver.kick(1);
        assert_eq!(streams.lock().unwrap().len(), 1);
        assert_eq!(driver.used(0).map(|(_, written)| written), Some(44));
    }
}
