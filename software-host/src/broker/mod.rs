//! The process outside that owns the machine: QEMU and virtiofsd are its children and end with
//! it, whatever ends it. It passes on what commands and the machine say to each other.

mod clients;
mod hardware;

use std::{
    ffi::OsString,
    fs, io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use packets::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::{
    mux::{Mux, Reading, Side},
    relay::{Exchange, Purpose},
    share,
    wire::Notice,
};
use clients::Clients;
use coracle_platform::sys::Signals;
use coracle_terminal::output::{self, Stream};
use hardware::Hardware;

/// The argument that makes `coracle` a broker.
pub const COMMAND: &str = "machine-broker";

/// The argument after it that makes it virtiofsd.
const SHARE: &str = "share";

/// Seconds in which the machine must answer: twenty times what it takes on a machine at rest.
const BOOT_DEADLINE: Duration = Duration::from_secs(90);

/// What a broker is to start, from the command that starts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Where its socket and its logs are.
    pub(super) directory: PathBuf,
    /// Directory of the machine's kernel.
    pub(super) kernel: PathBuf,
    /// Directory of containers' disks, which the machine writes to.
    pub(super) disks: PathBuf,
    /// MiB of memory.
    pub(super) memory_mib: u64,
    /// Seconds without clients after which the machine stops.
    pub(super) idle_seconds: u64,
}

impl Settings {
    /// The socket that commands connect to; it is there while the machine is up.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join(super::SOCKET)
    }
}

/// Runs as a broker, or as the process that becomes its virtiofsd. A broker's standard input is a
/// socket for its [`Notice`]; its standard output, a file that is locked while it starts.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let done = match (arguments.next(), arguments.next()) {
        (Some(first), Some(number)) if first == SHARE => {
            share::become_server(&number, arguments.next()).map(|never| match never {})
        }
        (Some(settings), None) => match parse(&settings) {
            Ok(settings) => serve(&settings),
            Err(error) => Err(error),
        },
        _ => Err(anyhow::anyhow!("'{COMMAND}' is for coracle's own use")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(settings: &OsString) -> Result<Settings> {
    let text = settings.to_str().context("the settings are not UTF-8")?;
    serde_json::from_str(text).context("invalid settings")
}

/// Starts the machine, serves until it is told to stop or nobody needs it, and stops it.
fn serve(settings: &Settings) -> Result<()> {
    let starter = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    // Before any other thread: they are to leave these signals to this one.
    let signals = Signals::new(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
    let started = Instant::now();
    let mut up = match start(settings) {
        Ok(up) => up,
        Err(error) => {
            // A starter that has gone away needs no notice.
            let _ = starter.send(&Notice::Failed(format!("{error:#}")), None);
            return Err(error);
        }
    };
    println_to_log(&format!(
        "up after {:.1} s",
        started.elapsed().as_secs_f32()
    ));
    // As above; the machine is of use to the next command.
    let _ = starter.send(&Notice::Ready, None);
    drop(starter);
    // Closes the locked file: from here on, the socket tells commands that the machine is up.
    rustix::stdio::dup2_stdout(output::descriptor(Stream::Error))?;

    let ended = up.serve(settings, &signals);
    // Only then: a command that finds no socket starts a machine of its own.
    let removed = fs::remove_file(settings.socket());
    up.hardware.stop();
    ended?;
    removed.with_context(|| format!("cannot remove {}", settings.socket().display()))
}

fn println_to_log(words: &str) {
    errln!("coracle machine: {words}");
}

/// A machine that is up.
struct Up {
    hardware: Hardware,
    listener: rustix::fd::OwnedFd,
    clients: Arc<Clients>,
    /// Readable when a client has asked to stop, or the machine has ended.
    wake: UnixStream,
}

fn start(settings: &Settings) -> Result<Up> {
    let mut hardware = Hardware::start(settings)?;
    match connect(settings, &mut hardware) {
        Ok((listener, clients, wake)) => Ok(Up {
            hardware,
            listener,
            clients,
            wake,
        }),
        Err(error) => {
            hardware.stop();
            Err(error.context(hardware::last_words(settings)))
        }
    }
}

/// Greets the machine and begins to listen for commands.
fn connect(
    settings: &Settings,
    hardware: &mut Hardware,
) -> Result<(rustix::fd::OwnedFd, Arc<Clients>, UnixStream)> {
    let channel = hardware.channel()?;
    let (input, output) = (channel.try_clone()?, channel.try_clone()?);
    let (mux, mut reading) = Mux::new(input, output, Side::Outside)?;
    channel.set_read_timeout(Some(BOOT_DEADLINE))?;
    reading
        .greet()
        .context("the software host did not come up")?;
    channel.set_read_timeout(None)?;

    let (wake, waker) = UnixStream::pair()?;
    let exchange = Exchange::new(mux);
    let clients = Arc::new(Clients::new(
        settings.clone(),
        exchange.clone(),
        waker.try_clone()?,
    ));
    read(reading, exchange, waker)?;
    let path = settings.socket();
    let listener =
        packets::listener(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
    Ok((listener, clients, wake))
}

fn read(reading: Reading, exchange: Arc<Exchange>, waker: UnixStream) -> Result<()> {
    let work = move || {
        let error = reading.run(|incoming| {
            // The machine opens streams only; anything else is dropped, and so refused.
            if let Ok(Purpose::Stream) = serde_json::from_slice(&incoming.purpose) {
                exchange.keep(incoming.channel);
            }
        });
        println_to_log(&error.to_string());
        clients::wake(&waker);
    };
    thread::Builder::new()
        .name("mux".into())
        .spawn(work)
        .context("cannot start a thread")?;
    Ok(())
}

impl Up {
    /// Serves until a reason to stop.
    ///
    /// # Errors
    /// When the machine ended by itself.
    fn serve(&mut self, settings: &Settings, signals: &Signals) -> Result<()> {
        let idle = Duration::from_secs(settings.idle_seconds);
        loop {
            let wait = match self.clients.idle() {
                Some(since) if since >= idle => {
                    println_to_log("nobody needs the machine any more");
                    return Ok(());
                }
                Some(since) => idle - since,
                None => idle,
            };
            // Rounded up, so that it is not woken just before the time.
            let wait = Timespec {
                tv_sec: i64::try_from(wait.as_secs())?.saturating_add(1),
                tv_nsec: 0,
            };
            let mut sources = [
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(&self.wake, PollFlags::IN),
                PollFd::new(signals, PollFlags::IN),
            ];
            match poll(&mut sources, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for commands"),
            }
            let [listener, wake, signal] = sources.map(|source| !source.revents().is_empty());
            if signal || (wake && self.clients.asked_to_stop()) {
                return Ok(());
            }
            if wake {
                let words = hardware::last_words(settings);
                bail!("the software host ended by itself; {words}");
            }
            if listener {
                let packets = Socket::accept(&self.listener).context("cannot take a command")?;
                self.clients.serve(packets)?;
            }
        }
    }
}
