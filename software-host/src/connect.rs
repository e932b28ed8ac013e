//! Reaches the broker, and starts one where none is.

use std::{
    env,
    fs::{self, File},
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use packets::Socket;
use rustix::fs::{FlockOperation, flock};

use super::{
    broker::{self, Settings},
    kernel, qemu, requirements, sys,
    wire::{self, Envelope, Notice, Reply, Request},
};
use coracle_platform::{
    Directories,
    private::{self, create_directory},
    programs,
};

/// How often a broker that is just ending is followed by another try.
const TRIES: usize = 3;

/// Seconds without clients after which a machine stops, unless told otherwise.
const IDLE_SECONDS: u64 = 600;

/// Variables that tell otherwise: seconds without clients, MiB of memory.
const IDLE_VARIABLE: &str = "CORACLE_MACHINE_IDLE";
const MEMORY_VARIABLE: &str = "CORACLE_MACHINE_MEMORY";

/// The lock that a broker's starter holds until the socket is there.
const LOCK: &str = "lock";

/// Is there from the software host's stop by a person to its next start.
const STOPPED: &str = "stopped";

/// The broker's log.
const LOG: &str = "broker.log";

/// A connection to the broker; `None` when there is none.
///
/// # Errors
/// When the socket is there and cannot be used.
pub(super) fn running(directories: &Directories) -> Result<Option<Socket>> {
    let path = directory(directories).join(super::SOCKET);
    match Socket::connect(&path) {
        Ok(packets) => Ok(Some(packets)),
        Err(error) => match error.kind() {
            // None was started, or one was killed.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error).with_context(|| format!("cannot connect to {}", path.display())),
        },
    }
}

/// Sends a request on a connection, and gives the reply; `None` when the broker is just ending.
///
/// # Errors
/// When the broker says that it cannot.
pub(super) fn ask(
    packets: &Socket,
    request: &Request,
    attached: Option<BorrowedFd<'_>>,
) -> Result<Option<Reply>> {
    let envelope = Envelope {
        version: wire::VERSION,
        request: serde_json::to_value(request)?,
    };
    if packets.send(&envelope, attached).is_err() {
        return Ok(None);
    }
    match packets.receive_bytes() {
        Ok(Some((bytes, _))) => match serde_json::from_slice(&bytes) {
            Ok(Reply::Failed(words)) => bail!("the software host: {words}"),
            reply => reply
                .context("unexpected reply from the software host")
                .map(Some),
        },
        Ok(None) | Err(_) => Ok(None),
    }
}

/// Has the broker do something, which is started if need be; the connection is then what the
/// request says.
///
/// # Errors
/// When the machine cannot be started, or cannot do it.
pub(super) fn begin(
    directories: &Directories,
    request: &Request,
    attached: Option<BorrowedFd<'_>>,
) -> Result<Socket> {
    for _ in 0..TRIES {
        let packets = running_or_started(directories)?;
        if ask(&packets, request, attached)?.is_some() {
            return Ok(packets);
        }
    }
    bail!(
        "the software host exits on every request; see {}",
        directory(directories).join(LOG).display()
    )
}

/// A connection to the broker, which is started if there is none.
///
/// # Errors
/// When it cannot be started.
pub(super) fn running_or_started(directories: &Directories) -> Result<Socket> {
    if let Some(packets) = running(directories)? {
        return Ok(packets);
    }
    let directory = directory(directories);
    create_directory(&directory)?;
    let lock = lock(&directory)?;
    // Another command may have started one meanwhile.
    if let Some(packets) = running(directories)? {
        return Ok(packets);
    }
    forget_stop(directories);
    let settings = settings(directories, directory)?;
    log::debug!("starting a software host: {settings:?}");
    start(&settings, lock)?;
    running(directories)?.context("the software host exited right after it started")
}

/// Notes that a person stops the software host.
///
/// # Errors
/// As `open(2)`, with the path.
pub(super) fn note_stop(directories: &Directories) -> Result<()> {
    let directory = directory(directories);
    create_directory(&directory)?;
    let path = directory.join(STOPPED);
    let noted = private::create(&path).map(drop);
    noted.with_context(|| format!("cannot create {}", path.display()))
}

/// Forgets that a person has stopped it: it is wanted again.
pub(super) fn forget_stop(directories: &Directories) {
    let _ = fs::remove_file(directory(directories).join(STOPPED));
}

/// Whether that was noted since it was started last.
pub(super) fn was_stopped(directories: &Directories) -> bool {
    directory(directories).join(STOPPED).exists()
}

/// Where the broker's socket, lock and logs are.
fn directory(directories: &Directories) -> PathBuf {
    directories.runtime.join("machine")
}

/// Waits until no other command starts a broker.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let lock = || {
        let file = private::create(&path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok::<_, io::Error>(file)
    };
    lock().with_context(|| format!("cannot lock {}", path.display()))
}

fn settings(directories: &Directories, directory: PathBuf) -> Result<Settings> {
    requirements::check(&directories.cache)?;
    let disks = directories.disks();
    create_directory(&disks)?;
    let system = rustix::system::sysinfo();
    let memory = u64::from(system.mem_unit).saturating_mul(system.totalram) >> 20;
    Ok(Settings {
        directory,
        kernel: kernel::ensure(&directories.cache, None)?,
        disks,
        memory_mib: number(MEMORY_VARIABLE)?.unwrap_or_else(|| qemu::memory(memory)),
        idle_seconds: number(IDLE_VARIABLE)?.unwrap_or(IDLE_SECONDS),
    })
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Some(value) = env::var_os(variable) else {
        return Ok(None);
    };
    let number = value.to_str().and_then(|text| text.parse().ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => bail!("{variable} is {}, not a whole number", value.display()),
    }
}

/// Starts a broker and waits until its machine is up.
fn start(settings: &Settings, lock: File) -> Result<()> {
    // What a broker that was killed has left.
    match fs::remove_file(settings.socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("cannot remove {}", settings.socket().display()));
        }
        _ => {}
    }
    let path = settings.directory.join(LOG);
    let log =
        private::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let (ours, theirs) = Socket::pair().context("cannot make a socket")?;
    // A keeper starts one, too.
    let own = programs::find("coracle")?;
    let mut command = Command::new(&own);
    command
        .arg(broker::COMMAND)
        .arg(serde_json::to_string(settings).context("a path is not UTF-8")?)
        .current_dir("/")
        .env_clear()
        .envs(env::vars_os().filter(|(name, _)| coracle_platform::sys::is_kept(name)))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(lock)
        .stderr(log);
    sys::new_session(&mut command);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", own.display()))?;
    // This process's copies of what the broker has got.
    drop(command);
    match ours.receive::<Notice>() {
        Ok(Some((Notice::Ready, _))) => Ok(()),
        Ok(Some((Notice::Failed(words), _))) => {
            let _ = child.wait();
            bail!("cannot start the software host: {words}")
        }
        Ok(None) | Err(_) => {
            let status = child.wait().context("cannot wait for the broker")?;
            let words = fs::read_to_string(&path).unwrap_or_default();
            bail!(
                "the software host's broker ended while it started ({status}) {}",
                words.trim()
            )
        }
    }
}
