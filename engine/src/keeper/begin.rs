//! How a keeper begins: by the program `coracle-keeper`, or as a fork of a process that has one thread and has said
//! that it may be forked. What the new process does is the same.
//!
//! The program gets what it is to do as the first packet of its first client's socket, which is its standard input:
//! its arguments and its environment say nothing of it, since other users can read the former.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Seek, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use contracts::keeper::{Event, VERSION};
use packets::Socket;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Prepared, Start, named, start};
use crate::host;
use crate::state::{
    Directories,
    container::{Container, Containers},
    host::{Host, Hosts},
};
use coracle_platform::{programs, sys};

/// The program.
const PROGRAM: &str = "coracle-keeper";

/// Version of what the program is told, to be raised with each change of [`Order`] or of what it holds. Version 1 has no
/// `require_jail`.
const ORDER_VERSION: u16 = 2;

/// Exit code of a keeper that failed.
const FAILED: u8 = 1;

/// What a front has said of the keepers that it starts, and of the machines that these start.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// A keeper may be a fork of this process.
    pub may_fork: bool,
    /// No machine is started whose monitor does not get all of its jail.
    pub require_jail: bool,
    /// The environment of a keeper that is a program; most of it is left out.
    pub environment: fn() -> Vec<(OsString, OsString)>,
}

/// What a keeper is there for.
pub(super) enum Work {
    /// A container that starts now, in a machine of its own.
    Container(Box<Start>),
    /// A container that does not run, and starts when somebody asks for it.
    Hold(Box<Container>),
    /// A named host.
    Host(Box<Host>, Prepared),
}

/// The same as the program is told.
#[derive(Serialize, Deserialize)]
struct Order {
    /// [`ORDER_VERSION`]: the program is of the same release.
    version: u16,
    /// [`VERSION`] of the packets that follow.
    #[serde(default)]
    wire: u16,
    directories: Directories,
    #[serde(default)]
    require_jail: bool,
    task: Task,
}

/// What it is there for, by what is on disk. The machine travels beside it, as a file in memory.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Task {
    Container {
        id: String,
        attach: Option<bool>,
        owner: bool,
    },
    Hold {
        id: String,
    },
    Host {
        id: String,
    },
}

/// What a new keeper knows: an order, with what that names.
struct Ordered {
    work: Work,
    directories: Directories,
    require_jail: bool,
}

/// Starts a keeper, as a fork of this process where its front has said that it `may_fork`; gives the connection of
/// its first client.
///
/// # Errors
/// When no process can be made, or the program is missing.
pub(super) fn begin(work: Work, directories: &Directories, launch: &Launch) -> Result<Socket> {
    let (ours, theirs) = Socket::pair().context("cannot make a socket")?;
    let ordered = |work| Ordered {
        work,
        directories: directories.clone(),
        require_jail: launch.require_jail,
    };
    let executes = !forks(&work, launch.may_fork, sys::has_one_thread());
    if executes {
        execute(&work, theirs, launch)?;
        order(&ours, ordered(work))?;
        return Ok(ours);
    }
    if sys::fork().context("cannot start a keeper")?.is_some() {
        return Ok(ours);
    }
    // What follows is the new process.
    drop(ours);
    std::process::exit(run(ordered(work), theirs).into())
}

/// Whether a keeper is a fork. It keeps the memory of what it is a fork of, and all that was to be done at that one's
/// end: only a front that knows what it has wants that.
fn forks(work: &Work, may_fork: bool, has_one_thread: bool) -> bool {
    // One that only holds is in no hurry, and takes 1.7 MiB less as a program.
    may_fork && has_one_thread && !matches!(work, Work::Hold(_))
}

/// Executes the program, whose first client's socket this is.
fn execute(work: &Work, first: Socket, launch: &Launch) -> Result<()> {
    let program = programs::find(PROGRAM)?;
    let mut command = Command::new(&program);
    command
        .env_clear()
        .envs(
            (launch.environment)()
                .into_iter()
                .filter(|(name, _)| sys::is_kept(name)),
        )
        .stdin(OwnedFd::from(first))
        .stdout(Stdio::null());
    let owned = matches!(work, Work::Container(start) if start.owner);
    // An owner's keeper tells the same person what goes wrong.
    if !owned {
        command.stderr(Stdio::null());
    }
    sys::disown(&mut command);
    let spawned = command.spawn();
    let mut child = spawned.with_context(|| format!("cannot start {}", program.display()))?;
    // It has made way for its child, which is nobody's here.
    child.wait().context("cannot wait for a keeper's start")?;
    Ok(())
}

/// Tells the program what it is there for.
fn order(link: &Socket, ordered: Ordered) -> Result<()> {
    let (task, prepared) = match ordered.work {
        Work::Container(start) => {
            let Start {
                container,
                prepared,
                attach,
                owner,
            } = *start;
            let id = container.config.id;
            (Task::Container { id, attach, owner }, Some(prepared))
        }
        Work::Hold(container) => (
            Task::Hold {
                id: container.config.id,
            },
            None,
        ),
        Work::Host(host, prepared) => (Task::Host { id: host.config.id }, Some(prepared)),
    };
    let order = Order {
        version: ORDER_VERSION,
        wire: VERSION,
        directories: ordered.directories,
        require_jail: ordered.require_jail,
        task,
    };
    let prepared = prepared.as_ref().map(write_file).transpose()?;
    let told = link.send(&order, prepared.as_ref().map(AsFd::as_fd));
    told.context("cannot tell a keeper what to do")
}

/// The program, from its first packet to its exit code.
pub fn main() -> ExitCode {
    match first_packet() {
        Ok((ordered, first)) => run(ordered, first).into(),
        Err(error) => {
            log::error!("{error:#}");
            FAILED.into()
        }
    }
}

fn first_packet() -> Result<(Ordered, Socket)> {
    let first = std::io::stdin().as_fd().try_clone_to_owned();
    let first = Socket::from(first.context("cannot duplicate standard input")?);
    let ordered = read_order(&first);
    // Nobody is to wait for a start that fails here.
    if let Err(error) = &ordered {
        fail(&first, error);
    }
    Ok((ordered?, first))
}

fn read_order(first: &Socket) -> Result<Ordered> {
    let received = first.receive::<Order>();
    let received = received.context("this program is started by coracle, not by hand")?;
    let (order, file) = received.context("whoever started this keeper is gone")?;
    let Order {
        version,
        wire,
        directories,
        require_jail,
        task,
    } = order;
    ensure!(
        (version, wire) == (ORDER_VERSION, VERSION),
        "{PROGRAM} is of another release than what has started it; install all of Coracle's programs of one"
    );
    let prepared = || -> Result<Prepared> {
        read_file(file.context("a keeper was started without its machine")?)
    };
    let work = match task {
        Task::Container { id, attach, owner } => Work::Container(Box::new(Start {
            container: open(&id, &directories)?,
            prepared: prepared()?,
            attach,
            owner,
        })),
        Task::Hold { id } => Work::Hold(Box::new(open(&id, &directories)?)),
        Task::Host { id } => Work::Host(Box::new(Hosts::new(&directories).find(&id)?), prepared()?),
    };
    Ok(Ordered {
        work,
        directories,
        require_jail,
    })
}

fn open(id: &str, directories: &Directories) -> Result<Container> {
    Containers::new(directories).open(id)
}

/// The new process, from its work to its exit code.
fn run(ordered: Ordered, first: Socket) -> u8 {
    let result = keep(ordered, first);
    host::remove_groups();
    match result {
        Ok(()) => 0,
        Err(error) => {
            log::error!("{error:#}");
            FAILED
        }
    }
}

fn keep(ordered: Ordered, first: Socket) -> Result<()> {
    let Ordered {
        work,
        directories,
        require_jail,
    } = ordered;
    sys::close_all_but(&first).context("cannot close descriptors")?;
    let told = first.as_fd().try_clone_to_owned().map(Socket::from)?;
    let result = match work {
        Work::Container(start) => start::keep(*start, first, &directories, require_jail),
        Work::Hold(container) => start::hold(&container, first, &directories, require_jail),
        Work::Host(host, prepared) => named::keep(&host, prepared, first, &directories),
    };
    if let Err(error) = &result {
        fail(&told, error);
    }
    result
}

fn fail(link: &Socket, error: &anyhow::Error) {
    let message = format!("{error:#}");
    let _ = link.send(&Event::Failed { message, code: 125 }, None);
}

/// A file in memory with this value, to be read from its start: a machine's plan can be longer than a packet.
fn write_file(value: &impl Serialize) -> Result<File> {
    let json = serde_json::to_vec(value).context("cannot write a machine's plan")?;
    let write = || -> std::io::Result<File> {
        let mut file = File::from(memfd_create("machine", MemfdFlags::CLOEXEC)?);
        file.write_all(&json)?;
        file.rewind()?;
        Ok(file)
    };
    write().context("cannot make a file in memory")
}

fn read_file<T: DeserializeOwned>(file: OwnedFd) -> Result<T> {
    let mut json = Vec::new();
    let read = File::from(file).read_to_end(&mut json);
    read.context("cannot read a machine's plan")?;
    if json.is_empty() {
        bail!("a machine's plan is empty");
    }
    serde_json::from_slice(&json).context("cannot understand a machine's plan")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::{Design, Place};
    use crate::state::container::Config;

    const CONTAINER: &str = include_str!("fuzzing/container.json");

    fn directories(directory: &tempfile::TempDir) -> Directories {
        Directories {
            data: directory.path().into(),
            cache: directory.path().into(),
            runtime: directory.path().into(),
        }
    }

    fn machine() -> Prepared {
        let plan = contracts::monitor::Plan {
            kernel: "/kernel".into(),
            initramfs: None,
            command_line: "x".repeat(packets::MAX_PACKET),
            memory_mib: 64,
            cpus: 1,
            disks: Vec::new(),
            vsock_cid: None,
            boot_deadline_ms: 0,
            require_jail: true,
        };
        Prepared {
            design: Design::Machine(Box::new(plan), Place::Here),
            start_timeout: Duration::from_secs(7),
        }
    }

    #[test]
    fn program_is_told_all_that_a_fork_would_know() {
        let directory = tempfile::tempdir().unwrap();
        let directories = directories(&directory);
        let config: Config = serde_json::from_str(CONTAINER).unwrap();
        let container = Containers::new(&directories).create(config).unwrap();
        let (ours, theirs) = Socket::pair().unwrap();
        let start = Start {
            container: container.clone(),
            prepared: machine(),
            attach: Some(true),
            owner: true,
        };
        let given = Ordered {
            work: Work::Container(Box::new(start)),
            directories: directories.clone(),
            require_jail: true,
        };
        order(&ours, given).unwrap();
        let told = read_order(&theirs).unwrap();
        assert_eq!(told.directories.runtime, directories.runtime);
        assert!(told.require_jail);
        let Work::Container(start) = told.work else {
            panic!("another work");
        };
        assert_eq!(start.container.config, container.config);
        assert_eq!((start.attach, start.owner), (Some(true), true));
        assert_eq!(start.prepared.start_timeout, machine().start_timeout);
        let (Design::Machine(plan, place), Design::Machine(given, _)) =
            (start.prepared.design, machine().design)
        else {
            panic!("another design");
        };
        assert_eq!((plan, place), (given, Place::Here));
    }

    #[test]
    fn program_of_another_release_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = Socket::pair().unwrap();
        let mut others: Vec<serde_json::Value> =
            [(ORDER_VERSION + 1, VERSION), (ORDER_VERSION, VERSION + 1)]
                .map(|(version, wire)| Order {
                    version,
                    wire,
                    directories: directories(&directory),
                    require_jail: false,
                    task: Task::Host { id: "1".into() },
                })
                .iter()
                .map(|order| serde_json::to_value(order).unwrap())
                .collect();
        // One of an earlier build, which knew of no jail that is required.
        let mut earlier = others[0].clone();
        earlier["version"] = 1.into();
        for missing in ["wire", "require_jail"] {
            earlier.as_object_mut().unwrap().remove(missing);
        }
        others.push(earlier);
        for order in others {
            ours.send(&order, None).unwrap();
            let error = read_order(&theirs).err().unwrap();
            assert!(error.to_string().contains("release"), "{error}");
        }
        ours.send(&"noise", None).unwrap();
        assert!(read_order(&theirs).is_err());
        drop(ours);
        assert!(read_order(&theirs).is_err());
    }

    #[test]
    fn only_a_front_that_has_said_so_is_forked() {
        let directory = tempfile::tempdir().unwrap();
        let directories = directories(&directory);
        assert!(!crate::Settings::new(directories.clone()).may_fork);
        let config: Config = serde_json::from_str(CONTAINER).unwrap();
        let container = Containers::new(&directories).create(config).unwrap();
        let start = || {
            Work::Container(Box::new(Start {
                container: container.clone(),
                prepared: machine(),
                attach: None,
                owner: false,
            }))
        };
        assert!(forks(&start(), true, true));
        assert!(!forks(&start(), false, true));
        assert!(!forks(&start(), true, false));
        assert!(!forks(&Work::Hold(Box::new(container.clone())), true, true));
    }

    /// The tests of a program run in threads of their own.
    #[test]
    fn process_with_threads_is_seen_to_have_them() {
        std::thread::spawn(|| assert!(!sys::has_one_thread()))
            .join()
            .unwrap();
    }
}
