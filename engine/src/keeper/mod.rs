//! A keeper: the process that looks after a host and the containers in it.
//!
//! It owns the monitor, the channel to the guest's init, the containers' logs and their state on
//! disk. Commands reach it by a unix socket. It has one thread and one loop, which waits for all of
//! them at once; nothing that a guest or a command does or leaves undone makes it wait elsewhere.
//! `begin` says how it comes to be.

mod begin;
mod carry;
pub mod client;
mod clients;
mod end;
mod exec_requests;
mod execs;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod health;
mod held;
mod incoming;
mod kept;
mod launch;
mod life;
mod named;
mod network;
mod phase;
mod prepare;
mod proof;
mod restart;
mod sessions;
mod shelf;
mod socket;
mod start;
mod streams;

use std::{
    collections::BTreeMap,
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The program `coracle-keeper`.
pub use begin::main;
pub use incoming::CHANNEL_UP;
pub use named::start as start_host;
/// A connection to a keeper.
pub use packets::Socket as Link;
pub use prepare::{Prepared, boots_own_kernel, prepare, prepare_host};
pub use restart::wants_start;
pub use socket::connect;
#[cfg(test)]
pub(crate) use socket::{listener, path as socket_path};
pub use start::{Start, refuse_running, start};

use crate::Guest;
use crate::host::Host;
use crate::state::{
    Directories,
    container::{Container, Containers, Probes, State},
    files::Lock,
};
use clients::{Client, Role};
use coracle_platform::sys::Signals;
use execs::Exec;
use health::Probe;
use life::Life;
use named::Named;
use network::Addresses;
use proof::Unproved;
use sessions::Sessions;
use streams::{PIECE, Source, Streams};

/// A container that is looked after.
struct Kept {
    record: Container,
    state: State,
    life: Life,
    streams: Streams,
    /// Steps of its start and end, beside those of its machine.
    timeline: Vec<(String, u64)>,
    /// What went wrong that it could only see as an I/O error, in words.
    warnings: Vec<String>,
    probe: Probe,
    /// When its health was written down last, and whether it has changed since.
    health_saved: Option<Instant>,
    health_is_unsaved: bool,
    /// The last runs of its health command.
    probes: Probes,
    /// While they are open nobody removes the layers.
    layers: Vec<File>,
    lock: Lock,
}

/// The guest, while there is one.
struct Machine {
    host: Host,
    guest: Option<Guest>,
    /// The guest has opened its control channel, which it does once.
    connected: bool,
    /// The guest has said hello.
    greeted: bool,
    start_timeout: Duration,
}

/// The process's state.
struct Keeper {
    directories: Directories,
    containers: Containers,
    machine: Option<Machine>,
    /// The named host that this is the keeper of; without one, the machine is its container's.
    named: Option<Named>,
    kept: BTreeMap<u32, Kept>,
    addresses: Addresses,
    execs: Vec<Exec>,
    sessions: Sessions,
    unproved: Unproved,
    clients: BTreeMap<u64, Client>,
    listener: OwnedFd,
    socket: PathBuf,
    signals: Signals,
    timeline: Vec<(String, u64)>,
    /// The guest kernel's release.
    kernel: String,
    /// Its machines are in the software host.
    in_software_host: bool,
    /// Number of the next container.
    next_number: u32,
    next_client: u64,
    next_port: u32,
    over: bool,
}

/// What a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Signal,
    Listener,
    Client(u64),
    Host,
    Guest,
    Unproved(u64),
    /// There is room for messages that wait for the guest.
    GuestRoom,
    Stream(u32, Source),
    /// What a health command writes: standard output (0) or error (1).
    Probe(u32, usize),
}

impl Keeper {
    /// Looks after the containers until the last one is gone.
    fn work(&mut self) -> Result<()> {
        let mut piece = vec![0; PIECE];
        while !self.over {
            self.turn(&mut piece, None)?;
        }
        Ok(())
    }

    /// Waits until something is ready or due, at most until `latest`, and does it.
    fn turn(&mut self, piece: &mut [u8], latest: Option<Instant>) -> Result<()> {
        for token in self.wait(latest)? {
            self.ready(token, piece)?;
        }
        self.deadlines();
        self.unproved.expire();
        self.tidy();
        self.settle_execs();
        self.probe();
        self.let_go_of_unwanted();
        self.settle();
        Ok(())
    }

    /// Waits until something is ready or due.
    fn wait(&self, latest: Option<Instant>) -> Result<Vec<Token>> {
        let mut waiting = Waiting::default();
        waiting.add(Token::Signal, self.signals.as_fd(), false);
        waiting.add(Token::Listener, self.listener.as_fd(), false);
        // Clients first: what they ask for in order comes before what follows from it.
        for (number, client) in &self.clients {
            waiting.add(Token::Client(*number), client.socket.as_fd(), false);
        }
        if let Some(machine) = &self.machine {
            // Connections come before the words about them.
            waiting.add(Token::Host, machine.host.as_fd(), false);
            if let Some(guest) = &machine.guest {
                waiting.add(Token::Guest, guest.as_fd(), false);
                if guest.deadline().is_some() {
                    waiting.add(Token::GuestRoom, guest.as_fd(), true);
                }
            }
        }
        for (number, stream) in self.unproved.sources() {
            waiting.add(Token::Unproved(number), stream, false);
        }
        for (number, kept) in &self.kept {
            for (source, descriptor, room) in kept.streams.sources() {
                waiting.add(Token::Stream(*number, source), descriptor, room);
            }
            for (index, descriptor) in kept.probe.sources() {
                waiting.add(Token::Probe(*number, index), descriptor, false);
            }
        }
        let deadlines = self.kept.values().filter_map(|kept| kept.life.next());
        let probes = self.kept.values().filter_map(|kept| kept.probe.at());
        let named = self.named.iter().filter_map(Named::next);
        let next = deadlines.chain(probes).chain(named);
        let guest = self.machine.iter().flat_map(|machine| &machine.guest);
        let next = next.chain(guest.filter_map(Guest::deadline));
        let next = next
            .chain(self.late_exec())
            .chain(self.unproved.next())
            .chain(latest)
            .min();
        waiting.wait(next)
    }

    fn ready(&mut self, token: Token, piece: &mut [u8]) -> Result<()> {
        match token {
            Token::Signal => {
                self.signals
                    .receive_number()
                    .context("cannot read a signal")?;
                self.stop_all(None);
            }
            Token::Listener => self.accept(),
            Token::Client(number) => self.hear(number),
            Token::Host => self.host_event(),
            Token::Guest => self.guest_messages(),
            Token::Unproved(number) => self.prove(number),
            Token::GuestRoom => self.flush_guest(),
            Token::Stream(number, source) => {
                if let Some(kept) = self.kept.get_mut(&number) {
                    kept.streams.event(source, piece);
                }
            }
            Token::Probe(number, index) => self.read_probe(number, index, piece),
        }
        Ok(())
    }

    /// The container of this identifier.
    fn number_of(&self, id: &str) -> Option<u32> {
        let mut all = self.kept.iter();
        all.find(|(_, kept)| kept.record.config.id == id)
            .map(|(number, _)| *number)
    }

    /// Notes a step of the machine's.
    fn mark(&mut self, step: &str) {
        self.timeline
            .push((step.into(), coracle_platform::clock::now()));
    }

    /// Notes a step of a container's.
    fn mark_of(&mut self, number: u32, step: &str) {
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.timeline
                .push((step.into(), coracle_platform::clock::now()));
        }
    }
}

/// Descriptors to wait for, and what they are.
#[derive(Default)]
struct Waiting<'a> {
    tokens: Vec<Token>,
    descriptors: Vec<PollFd<'a>>,
}

impl<'a> Waiting<'a> {
    fn add(&mut self, token: Token, descriptor: BorrowedFd<'a>, room: bool) {
        let flags = if room { PollFlags::OUT } else { PollFlags::IN };
        self.tokens.push(token);
        self.descriptors
            .push(PollFd::from_borrowed_fd(descriptor, flags));
    }

    fn wait(mut self, until: Option<Instant>) -> Result<Vec<Token>> {
        let timeout = until.map(|at| {
            // Never early, so that the deadline has passed when this returns.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut self.descriptors, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error).context("cannot wait for the containers"),
        }
        let ready = self.tokens.into_iter().zip(&self.descriptors);
        Ok(ready
            .filter(|(_, descriptor)| !descriptor.revents().is_empty())
            .map(|(token, _)| token)
            .collect())
    }
}
