//! Connections of a guest that have yet to prove that they are init's.
//!
//! Ports count up, and whoever may open a vsock socket in the guest can connect to one that was
//! promised before init does. So a promise comes with a secret that init alone is told
//! ([`contracts::guest::Secret`]), and a connection is nobody's until it has sent it: nothing else
//! is read from it and nothing written to it, and it does not use the promise up. One that has proved it is told that it is
//! taken; where init sees a connection closed before, it makes another one, so that no flood of others takes a stream away.

use std::{
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use contracts::guest::{Port, SECRET_BYTES, Secret, Stdio, TAKEN};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::Keeper;

/// Most connections to one port of which none has proved anything, and most of all ports: a guest
/// could take all of a keeper's descriptors otherwise. Any of them gives way to a new one: the oldest could be init's,
/// whose proof comes a moment after the connection, and more in a software host; and who is there first and only waits
/// must keep nobody out. So whoever floods a port pushes init's connection out now and then, but not every time, and
/// init connects again.
const MOST_OF_A_PORT: usize = 64;
const MOST: usize = 256;

/// How long a connection may take where its machine says nothing of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that have proved nothing yet.
#[derive(Debug, Default)]
pub(super) struct Unproved {
    /// The oldest first.
    all: Vec<Connection>,
    last: u64,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    port: u32,
    secret: Secret,
    stream: UnixStream,
    sent: [u8; SECRET_BYTES],
    length: usize,
    until: Instant,
}

/// What has become of a connection.
enum Proof {
    /// It has not sent enough.
    Waiting,
    /// It is init's.
    Init,
    /// It is not.
    Forged,
}

impl Unproved {
    /// Takes a connection to a promised port; gives its number.
    fn add(&mut self, port: Port, stream: UnixStream, until: Instant) -> u64 {
        let same = |connection: &Connection| connection.port == port.number;
        let of_port = self.all.iter().filter(|one| same(one)).count();
        let rivals: Vec<usize> = match of_port >= MOST_OF_A_PORT {
            true => {
                let all = self.all.iter().enumerate().filter(|(_, one)| same(one));
                all.map(|(index, _)| index).collect()
            }
            false if self.all.len() >= MOST => (0..self.all.len()).collect(),
            false => Vec::new(),
        };
        if let Some(index) = one_of(&rivals) {
            self.all.remove(index);
        }
        self.last += 1;
        self.all.push(Connection {
            number: self.last,
            port: port.number,
            secret: port.secret,
            stream,
            sent: [0; SECRET_BYTES],
            length: 0,
            until,
        });
        self.last
    }

    /// What is waited for.
    pub(super) fn sources(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let all = self.all.iter();
        all.map(|connection| (connection.number, connection.stream.as_fd()))
    }

    /// When the next of them is given up.
    pub(super) fn next(&self) -> Option<Instant> {
        self.all.iter().map(|connection| connection.until).min()
    }

    /// Closes those that have taken too long.
    pub(super) fn expire(&mut self) {
        if !self.all.is_empty() {
            let now = Instant::now();
            self.all.retain(|connection| connection.until > now);
        }
    }

    /// Reads what a connection has sent; gives it with its port once it has proved to be init's.
    fn read(&mut self, number: u64) -> Option<(u32, UnixStream)> {
        let index = self.all.iter().position(|one| one.number == number)?;
        match self.all.get_mut(index)?.read() {
            Proof::Waiting => None,
            Proof::Forged => {
                self.all.remove(index);
                None
            }
            Proof::Init => {
                let connection = self.all.remove(index);
                Some((connection.port, connection.stream))
            }
        }
    }
}

impl Connection {
    /// Reads no more than the secret: what follows is the stream's.
    fn read(&mut self) -> Proof {
        while let Some(room) = self.sent.get_mut(self.length..)
            && !room.is_empty()
        {
            match recv(&self.stream, room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Proof::Forged,
                Ok((length, _)) => self.length += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Proof::Waiting,
                Err(_) => return Proof::Forged,
            }
        }
        match self.secret.is_proved_by(&self.sent) {
            true => Proof::Init,
            false => Proof::Forged,
        }
    }
}

impl Keeper {
    /// Promises ports for the streams of a process.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn promise(&mut self, stdin: bool, stdout: bool, stderr: bool) -> Result<Stdio> {
        let first = self.next_port;
        let port = |wanted: bool, index: u32| {
            let number = first.wrapping_add(index);
            wanted
                .then(|| {
                    secret().map(|secret| Port {
                        number,
                        secret,
                        answered: true,
                    })
                })
                .transpose()
        };
        let stdio = Stdio {
            stdin: port(stdin, 0)?,
            stdout: port(stdout, 1)?,
            stderr: port(stderr, 2)?,
        };
        self.next_port = first.wrapping_add(3);
        Ok(stdio)
    }

    /// Takes a guest's connection to a port that was promised, until it has proved whose it is; any
    /// other is closed.
    pub(super) fn doubt(&mut self, port: u32, stream: UnixStream) {
        let Some(port) = self.promised(port) else {
            return;
        };
        let machine = self.machine.as_ref();
        let patience = machine.map_or(PATIENCE, |machine| machine.start_timeout);
        let number = self.unproved.add(port, stream, Instant::now() + patience);
        // It may have come with the connection.
        self.prove(number);
    }

    /// A port that was promised, while a connection to it is waited for.
    fn promised(&self, port: u32) -> Option<Port> {
        let mut all = self.kept.values();
        let promised = all.find_map(|kept| kept.streams.promised(port));
        promised.or_else(|| self.promised_to_exec(port))
    }

    /// Goes on with a connection that has something to read.
    pub(super) fn prove(&mut self, number: u64) {
        let Some((port, stream)) = self.unproved.read(number) else {
            return;
        };
        // Its promise may be used up meanwhile, and init may have given it up.
        let promised = self.promised(port);
        if !promised.is_some_and(|port| !port.answered || answer(&stream)) {
            return;
        }
        let mut left = Some(stream);
        for kept in self.kept.values_mut() {
            left = left.and_then(|stream| kept.streams.connect(port, stream));
        }
        if let Some(stream) = left {
            self.connect_exec(port, &stream);
        }
    }
}

/// Tells init that its connection is taken: it waits for that, and there is room.
fn answer(stream: &UnixStream) -> bool {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    send(stream, &[TAKEN], flags) == Ok(1)
}

/// Any of some, which nobody can foresee; the first where the system has no random numbers.
fn one_of(all: &[usize]) -> Option<usize> {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    let number = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or_default();
    all.get(number.checked_rem(all.len())?).copied()
}

fn secret() -> Result<Secret> {
    let mut bytes = [0; SECRET_BYTES];
    let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("cannot get random numbers")?;
    anyhow::ensure!(length == SECRET_BYTES, "cannot get enough random numbers");
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests;
