//! A command that is connected to a process in a guest, by its keeper.

mod streams;

use std::{
    fs::File,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};

use coracle_engine::containers::{self, Attachment, Event, Exit};
use coracle_terminal::raw::{self, DetachKeys, Terminal};

use coracle_platform::sys::Signals;
use streams::Streams;

/// Signals that reach the process; the rest have their usual effect on the command itself.
const SIGNALS: [i32; 8] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCONT,
    libc::SIGWINCH,
];

/// Signals by which a person or the system asks for the end.
const ENDS: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// How soon after an interruption the system's SIGTERM means the same person's impatience, and not an end in
/// good order: docker's grace time.
const IMPATIENCE: Duration = Duration::from_secs(10);

/// Signals of the user are the process's from here on; call it before any thread exists.
///
/// # Errors
/// As `signalfd(2)`.
pub(crate) fn take_signals() -> Result<Signals> {
    Signals::new(&SIGNALS).context("cannot block signals")
}

/// The user's terminal in raw mode, if it is wanted, and if there is one.
///
/// # Errors
/// As `tcsetattr(3)`.
pub(crate) fn raw_terminal(wanted: bool) -> Result<Option<Terminal>> {
    match wanted && raw::standard_input_is_terminal() {
        true => Ok(Some(Terminal::raw()?)),
        false => Ok(None),
    }
}

/// The user ended the command before, or instead of, the process's end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted by signal {0}")]
pub(crate) struct Interrupted(pub(crate) i32);

/// What came of it.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The process ended.
    Exited(Exit),
    /// It was not started, or its end is not known.
    Failed {
        /// What a person should know.
        message: String,
        /// Docker's exit code for it.
        code: u8,
    },
    /// The user detached.
    Detached,
}

impl From<containers::Ended> for Ended {
    fn from(ended: containers::Ended) -> Self {
        match ended {
            containers::Ended::Exited(exit) => Self::Exited(exit),
            containers::Ended::Failed { message, code } => Self::Failed { message, code },
        }
    }
}

/// A connection to a process.
pub(crate) struct Attached {
    link: Attachment,
    signals: Signals,
    streams: Streams,
    /// The process ends with this command.
    owner: bool,
    /// It has a terminal, which gets the size of this one.
    terminal: bool,
    /// The process runs beside a container's first: this command's end is not its, and the other way
    /// round.
    beside: bool,
    started: bool,
    /// The last signal by which the user has asked for the end, and when.
    asked: Option<(i32, Instant)>,
    /// The command was started from a terminal.
    controlled: bool,
}

/// What is ready.
struct Ready {
    signal: bool,
    link: bool,
    detach: bool,
    output: bool,
    drained: bool,
}

impl Attached {
    /// Takes a connection over on which the streams come.
    ///
    /// # Errors
    /// As `pipe(2)`.
    pub(crate) fn new(
        link: Attachment,
        signals: Signals,
        owner: bool,
        terminal: bool,
        keys: Option<DetachKeys>,
    ) -> Result<Self> {
        Ok(Self {
            link,
            signals,
            streams: Streams::new(keys)?,
            owner,
            terminal,
            beside: false,
            started: !owner,
            asked: None,
            controlled: owner && has_terminal(),
        })
    }

    /// The process runs beside a container's first.
    pub(crate) fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    /// Carries streams and signals until the process ends.
    ///
    /// # Errors
    /// When the keeper dies, or refuses; or when the user interrupts it.
    pub(crate) fn run(mut self) -> Result<Ended> {
        let mut ended = None;
        loop {
            let ready = self.wait(ended.is_some())?;
            if ready.signal {
                let received = self.signals.receive().context("cannot read a signal")?;
                self.signal(received)?;
            }
            if ready.detach {
                self.link.detach()?;
                return Ok(Ended::Detached);
            }
            if ready.output {
                self.streams.carry()?;
            }
            if ready.link
                && let Some(end) = self.event()?
            {
                self.streams.close()?;
                ended = Some(end);
            }
            if ready.drained
                && let Some(ended) = ended
            {
                self.until_closed();
                return match self.asked {
                    // What never ran has no exit code of its own.
                    Some((signal, _)) if !self.started => Err(Interrupted(signal).into()),
                    _ => Ok(ended),
                };
            }
        }
    }

    fn wait(&self, over: bool) -> Result<Ready> {
        let mut descriptors = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if over {
            let done = self.streams.done();
            descriptors.push(PollFd::from_borrowed_fd(done, PollFlags::IN));
        } else {
            descriptors.push(PollFd::new(&self.link, PollFlags::IN));
            let detached = self.streams.detached();
            descriptors.push(PollFd::from_borrowed_fd(detached, PollFlags::IN));
            let quiet = self.streams.quiet();
            descriptors.extend(quiet.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        match poll(&mut descriptors, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the container"),
        }
        let ready = |index: usize| {
            descriptors
                .get(index)
                .is_some_and(|descriptor| !descriptor.revents().is_empty())
        };
        Ok(Ready {
            signal: ready(0),
            link: !over && ready(1),
            detach: !over && ready(2),
            output: !over && (3..descriptors.len()).any(ready),
            drained: over && ready(1),
        })
    }

    /// One event; the end, if it is one.
    fn event(&mut self) -> Result<Option<Ended>> {
        match self.link.next()? {
            Some(Event::Stream { index, stream }) => self.streams.connect(index, stream)?,
            Some(Event::Started) => {
                self.started = true;
                if self.terminal {
                    self.link.resize(raw::size())?;
                }
            }
            Some(Event::Exited(exit)) => return Ok(Some(Ended::Exited(exit))),
            Some(Event::Failed { message, code }) => {
                return Ok(Some(Ended::Failed { message, code }));
            }
            Some(Event::Taken) => {}
            None => bail!("the container's keeper ended before the container did"),
        }
        Ok(None)
    }

    /// Passes a signal on. The process has it, and what it does with it is its own affair; only a second Ctrl-C,
    /// SIGTERM, and a terminal that is gone want more.
    fn signal(&mut self, (signal, by_kernel): (i32, bool)) -> Result<()> {
        if signal == libc::SIGWINCH {
            if self.terminal {
                self.link.resize(raw::size())?;
            }
            return Ok(());
        }
        let gone = signal == libc::SIGHUP && self.owner && self.terminal_is_gone(by_kernel);
        if gone && self.signals.outlives_terminal() {
            return Ok(());
        }
        if self.is_second(signal) {
            // Asked before: an owner's container goes away now.
            self.link.abandon();
            self.until_closed();
            return Err(Interrupted(signal).into());
        }
        let counts = matches!(signal, libc::SIGINT | libc::SIGTERM);
        if counts || (ENDS.contains(&signal) && self.asked.is_none()) {
            self.asked = Some((signal, Instant::now()));
        }
        let number = u8::try_from(signal).unwrap_or(0);
        match signal {
            libc::SIGTERM if self.owner => self.link.stop(None)?,
            libc::SIGHUP if gone => self.link.stop(Some(number))?,
            _ => self.link.signal(number)?,
        }
        if self.beside && matches!(signal, libc::SIGTERM | libc::SIGHUP) {
            // As docker: whoever ends the command waits for it, and the process may go on.
            return Err(Interrupted(signal).into());
        }
        Ok(())
    }

    /// Whether a signal asks once more for the end.
    fn is_second(&self, signal: i32) -> bool {
        let Some((before, at)) = self.asked else {
            return false;
        };
        match (before, signal) {
            (libc::SIGINT | libc::SIGTERM, libc::SIGINT) | (libc::SIGTERM, libc::SIGTERM) => true,
            (libc::SIGINT, libc::SIGTERM) => at.elapsed() < IMPATIENCE,
            _ => false,
        }
    }

    /// Whether a SIGHUP says that the terminal is gone, with whoever could ask for the end. Else somebody has
    /// sent it to the process, which may read its configuration anew by it.
    fn terminal_is_gone(&self, by_kernel: bool) -> bool {
        by_kernel || (self.controlled && !has_terminal())
    }

    /// Waits until the keeper lets go; an owner's is gone then, with all that it had.
    fn until_closed(&self) {
        while self.owner && matches!(self.link.next(), Ok(Some(_))) {}
    }
}

/// Whether there is a terminal that controls this process.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
