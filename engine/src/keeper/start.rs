//! A keeper of one container, from its start.

use std::{collections::BTreeMap, fs::File, path::PathBuf};

use anyhow::{Context, Result};
use contracts::keeper::Event;
use packets::Socket;

use super::{
    Keeper, Prepared, Role,
    begin::{Work, begin},
    clients::Joined,
    socket,
};
use crate::state::{
    Directories,
    container::{Config, Container, Containers},
    files::Lock,
    private,
};
use crate::{Error, ErrorKind};
use coracle_platform::{
    programs,
    sys::{self, Descriptors, Signals},
};

/// A container to be started in a host of its own.
pub struct Start {
    /// The container.
    pub container: Container,
    /// Its machine.
    pub prepared: Prepared,
    /// The first client gets the container's streams, and gives it input where this says so.
    pub attach: Option<bool>,
    /// The container ends when the first client ends without detaching.
    pub owner: bool,
}

/// Starts a keeper with this container, as a fork of this process where that may be; gives the connection of its
/// first client, which is told what becomes of the start.
///
/// # Errors
/// As `fork(2)` and `execve(2)`.
pub fn start(start: Start, directories: &Directories, may_fork: bool) -> Result<Socket> {
    begin(Work::Container(Box::new(start)), directories, may_fork)
}

/// A keeper that looks after nothing yet, and is reached by a socket of this identifier; lists of processes
/// show it by a name, without its command's arguments and environment. What it says goes into a file, if
/// one is given.
///
/// # Errors
/// When the process cannot leave its terminal, or cannot listen.
pub(super) fn new_keeper(
    directories: &Directories,
    id: &str,
    name: &str,
    words: Option<&File>,
) -> Result<Keeper> {
    sys::show_alone(&format!("coracle: keeper of {name}"));
    rustix::process::setsid().context("cannot start a session")?;
    sys::leave_terminal(words).context("cannot leave the terminal")?;
    // Each container has several here, and each client one, of a named host with many more than the 1024 that are
    // usual. A monitor sets its own limit.
    Descriptors::take_all();
    // A container may start again when another release has been installed; what this keeper talks to is its own.
    programs::keep(&["coracle-vmm", "coracle-init"]);
    let signals = Signals::new(&[libc::SIGTERM, libc::SIGINT]).context("cannot block signals")?;
    let path = socket::path(&directories.runtime, id);
    Keeper::new(directories, path, signals)
}

/// Looks after a container that starts now.
pub(super) fn keep(start: Start, first: Socket, directories: &Directories) -> Result<()> {
    let Start {
        container,
        prepared,
        attach,
        owner,
    } = start;
    let joined = Joined {
        first,
        attach,
        owner,
    };
    look_after(&container, owner, directories, |keeper, lock| {
        keeper.run(container.clone(), lock, prepared, joined)
    })
}

/// Looks after a container that does not run, for as long as its clients want it.
pub(super) fn hold(container: &Container, first: Socket, directories: &Directories) -> Result<()> {
    look_after(container, false, directories, |keeper, lock| {
        // It may have been removed, or started, while its lock was waited for.
        let container = keeper.containers.open(&container.config.id)?;
        refuse_running(&container)?;
        let number = keeper.hold(container, lock)?;
        let client = keeper.add_client(first, Role::Holding { number });
        keeper.tell(client, &Event::Done);
        keeper.work()
    })
}

fn look_after(
    container: &Container,
    owner: bool,
    directories: &Directories,
    work: impl FnOnce(&mut Keeper, Lock) -> Result<()>,
) -> Result<()> {
    let words = if owner {
        None
    } else {
        Some(
            private::create(&container.directory().join("keeper.log"))
                .context("cannot make a log")?,
        )
    };
    let Config { id, name, .. } = &container.config;
    // Before it listens, where the keeper before it may still do so.
    let lock = container.keeper_lock()?;
    let mut keeper = new_keeper(directories, id, name, words.as_ref())?;
    let result = work(&mut keeper, lock);
    if result.is_err() {
        let socket = keeper.socket.clone();
        drop(keeper);
        // Unless the next one listens there already.
        if let Ok(Some(_lock)) = container.try_lock() {
            let _ = std::fs::remove_file(socket);
        }
    }
    result
}

impl Keeper {
    /// A keeper that looks after nothing yet, and can be asked at this socket.
    pub(super) fn new(
        directories: &Directories,
        socket: PathBuf,
        signals: Signals,
    ) -> Result<Self> {
        Ok(Self {
            directories: directories.clone(),
            containers: Containers::new(directories),
            machine: None,
            named: None,
            kept: BTreeMap::new(),
            addresses: super::Addresses::default(),
            execs: Vec::new(),
            sessions: super::Sessions::default(),
            unproved: super::Unproved::default(),
            clients: BTreeMap::new(),
            listener: socket::listener(&socket)?,
            socket,
            signals,
            timeline: Vec::new(),
            kernel: String::new(),
            in_software_host: false,
            next_number: 0,
            next_client: 1,
            next_port: contracts::guest::FIRST_STREAM_PORT,
            over: false,
        })
    }

    fn run(
        &mut self,
        container: Container,
        lock: Lock,
        prepared: Prepared,
        joined: Joined,
    ) -> Result<()> {
        let number = self.take(container, lock)?;
        let client = self.add_client(
            joined.first,
            Role::Attached {
                number,
                owner: joined.owner,
            },
        );
        self.tell(client, &Event::Done);
        // Before the streams are made: the machine comes up meanwhile.
        self.boot(prepared);
        if let Some(input) = joined.attach {
            self.connect_streams(client, number, input, joined.owner)?;
        }
        self.work()
    }
}

/// Refuses to start what runs.
///
/// # Errors
/// [`NotModified`](ErrorKind::NotModified) when the container runs, and only then: whoever wants it to run is content
/// with that, and must hear of a record that cannot be read.
pub fn refuse_running(container: &Container) -> Result<()> {
    if container.state()?.status.is_live() {
        let words = format!("container {} is running already", container.short_id());
        return Err(Error::new(ErrorKind::NotModified, words).into());
    }
    Ok(())
}
