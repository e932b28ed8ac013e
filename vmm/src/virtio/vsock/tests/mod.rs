//! Connections between a guest and the host, and what a guest may try with them.

mod credit;
mod hostile;
mod life;

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use rustix::process::{Resource, getrlimit, setrlimit};
use vm_memory::ByteValued;

pub(super) use super::packet::{HEADER, Header, NO_RECEIVE, NO_SEND, STREAM, op};
use super::*;
use crate::virtio::testing::{Buffer, Driver, EVENT_IDX, register};

pub(super) const RX: u16 = 0;
pub(super) const TX: u16 = 1;
const CID: u64 = 7;
/// A port of the host on which nobody listens.
const NOBODY: u32 = 9;

/// Bytes of data that a buffer for packets takes, as Linux's do.
pub(super) const ROOM: u32 = 4096 - HEADER_BYTES;
pub(super) const HEADER_BYTES: u32 = 44;

type Streams = Arc<Mutex<Vec<(u32, UnixStream)>>>;

/// Takes connections to all ports but one.
struct Listening(Streams);

impl Host for Listening {
    fn connect(&mut self, port: u32) -> io::Result<UnixStream> {
        if port == NOBODY {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        self.0.lock().unwrap().push((port, theirs));
        Ok(ours)
    }
}

/// A guest with its device, and the host's ends of its connections.
pub(super) struct Guest {
    pub(super) driver: Driver,
    pub(super) handle: Handle,
    pub(super) streams: Streams,
    rooms: HashMap<u16, u64>,
    free_rooms: Vec<u64>,
    /// What it says of its own buffer.
    pub(super) buf_alloc: u32,
    pub(super) fwd_cnt: u32,
}

impl Guest {
    /// A guest that was started and has no buffers for packets yet.
    pub(super) fn without_buffers() -> Self {
        Self::with_token(0)
    }

    /// The same, whose device has given so many tokens.
    pub(super) fn with_token(next_token: u32) -> Self {
        // Both ends of hundreds of connections are in this process.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        let streams = Streams::default();
        let host = Box::new(Listening(Arc::clone(&streams)));
        let (mut device, handle) = Vsock::new(CID, host).unwrap();
        device.next_token = next_token;
        let mut driver = Driver::new(Box::new(device));
        driver.start(EVENT_IDX);
        Self {
            driver,
            handle,
            streams,
            rooms: HashMap::new(),
            free_rooms: Vec::new(),
            buf_alloc: 1 << 20,
            fwd_cnt: 0,
        }
    }

    /// A guest with as many buffers as fit.
    pub(super) fn new() -> Self {
        let mut guest = Self::without_buffers();
        guest.post(256);
        guest
    }

    /// Gives the device so many buffers.
    pub(super) fn post(&mut self, count: usize) {
        self.offer_rooms(count);
        self.driver.kick(RX);
    }

    /// Makes so many buffers available, and does not say so.
    pub(super) fn offer_rooms(&mut self, count: usize) {
        for _ in 0..count {
            let address = self.free_rooms.pop();
            let address = address.unwrap_or_else(|| self.driver.allocate(ROOM + HEADER_BYTES));
            let room = Buffer::writable(address, ROOM + HEADER_BYTES);
            let head = self.driver.add(RX, &[room]);
            self.rooms.insert(head, address);
        }
    }

    pub(super) fn header(&self, host: u32, guest: u32, operation: u16) -> Header {
        Header {
            source_cid: CID,
            destination_cid: 2,
            source_port: guest,
            destination_port: host,
            kind: STREAM,
            op: operation,
            buf_alloc: self.buf_alloc,
            fwd_cnt: self.fwd_cnt,
            ..Default::default()
        }
    }

    /// Sends a packet in one chain of a header and data.
    pub(super) fn send_packet(&mut self, header: Header, data: &[u8]) {
        // The same places for every packet: it is taken before the next one is made.
        let at = 0x8_0000;
        self.driver.put(at, header.as_slice());
        self.driver.put(at + 64, data);
        let mut chain = vec![Buffer::readable(at, HEADER_BYTES)];
        if !data.is_empty() {
            let length = u32::try_from(data.len()).unwrap();
            chain.push(Buffer::readable(at + 64, length));
        }
        self.driver.add(TX, &chain);
        self.driver.kick(TX);
        while self.driver.used(TX).is_some() {}
    }

    pub(super) fn send(&mut self, host: u32, guest: u32, operation: u16, flags: u32) {
        let header = Header {
            flags,
            ..self.header(host, guest, operation)
        };
        self.send_packet(header, &[]);
    }

    pub(super) fn write(&mut self, host: u32, guest: u32, data: &[u8]) {
        let header = Header {
            length: u32::try_from(data.len()).unwrap(),
            ..self.header(host, guest, op::RW)
        };
        self.send_packet(header, data);
    }

    /// Packets that came, without giving their buffers back to the device.
    pub(super) fn take(&mut self) -> Vec<(Header, Vec<u8>)> {
        let mut packets = Vec::new();
        while let Some((head, length)) = self.driver.used(RX) {
            let address = self.rooms.remove(&head).unwrap();
            self.free_rooms.push(address);
            let bytes = self.driver.get(address, length as usize);
            let (header, data) = bytes.split_at(HEADER);
            let header = *Header::from_slice(header).unwrap();
            assert_eq!(data.len(), header.length as usize);
            assert_eq!({ header.source_cid }, 2);
            assert_eq!({ header.destination_cid }, CID);
            packets.push((header, data.to_vec()));
        }
        packets
    }

    /// Packets that came until no more come; each buffer is given back.
    pub(super) fn receive(&mut self) -> Vec<(Header, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            self.driver.run();
            let packets = self.take();
            if packets.is_empty() {
                return all;
            }
            self.post(packets.len());
            all.extend(packets);
        }
    }

    /// The operations that came, with their flags.
    pub(super) fn operations(&mut self) -> Vec<(u16, u32)> {
        let packets = self.receive();
        let operation = |(header, _): &(Header, Vec<u8>)| (header.op, header.flags);
        packets.iter().map(operation).collect()
    }

    /// The data that came in packets of data.
    pub(super) fn data(&mut self) -> Vec<u8> {
        let packets = self.receive();
        packets.into_iter().flat_map(|(_, data)| data).collect()
    }

    /// A connection of the guest's: the host's end.
    pub(super) fn connect(&mut self, host: u32, guest: u32) -> UnixStream {
        self.send(host, guest, op::REQUEST, 0);
        assert_eq!(self.operations(), [(op::RESPONSE, 0)]);
        let (port, stream) = self.streams.lock().unwrap().pop().unwrap();
        assert_eq!(port, host);
        stream
    }

    /// A connection of the host's to a port of the guest: its end and its port.
    pub(super) fn accept(&mut self, guest: u32) -> (UnixStream, u32) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        self.handle.connect(guest, theirs).unwrap();
        let packets = self.receive();
        let [(header, _)] = packets.as_slice() else {
            panic!("{packets:?}");
        };
        assert_eq!(
            ({ header.op }, { header.destination_port }),
            (op::REQUEST, guest)
        );
        let host = header.source_port;
        self.send(host, guest, op::RESPONSE, 0);
        (ours, host)
    }

    /// A connection works in both directions.
    pub(super) fn assert_works(&mut self, stream: &mut UnixStream, host: u32, guest: u32) {
        self.write(host, guest, b"from the guest");
        assert_eq!(read(stream), b"from the guest");
        stream.write_all(b"from the host").unwrap();
        assert_eq!(self.data(), b"from the host");
    }

    /// A new connection works.
    pub(super) fn assert_alive(&mut self) {
        let mut stream = self.connect(1234, 4321);
        self.assert_works(&mut stream, 1234, 4321);
    }
}

/// What the device says of its own buffer in its next packet.
pub(super) fn told(guest: &mut Guest, host: u32, port: u32) -> (u32, u32) {
    guest.send(host, port, op::CREDIT_REQUEST, 0);
    let packets = guest.receive();
    let header = packets.last().unwrap().0;
    assert_eq!({ header.op }, op::CREDIT_UPDATE);
    (header.buf_alloc, header.fwd_cnt)
}

/// Fills a stream that its host does not read: packets of 4 KiB until the device holds some.
pub(super) fn fill(guest: &mut Guest, host: u32, port: u32) -> u32 {
    let mut sent = 0;
    loop {
        let (window, forwarded) = told(guest, host, port);
        if sent + 4096 - forwarded > window {
            return sent;
        }
        guest.write(host, port, &[1; 4096]);
        sent += 4096;
    }
}

/// What a stream has now.
pub(super) fn read(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend(&piece[..count]),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return bytes;
            }
        }
    }
}

/// Whether a stream has ended.
pub(super) fn ended(stream: &mut UnixStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}
