//! A process that init started for the host, with its streams: carried along by events, ended.

mod reconnect;

use std::{
    fs,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use contracts::guest::{ExitStatus, GuestMessage, Port, Stdio, TerminalSize};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send},
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open,
        pidfd_send_signal, waitid,
    },
};

use crate::{
    child,
    clock::now,
    failure::{Failure, Stage},
    pump::{Direction, Pump, Turn},
    report,
    setting::Connect,
    shift::Shift,
    sys,
    terminal::{self, Terminal},
};

/// Longest report of a process about its start: one byte, and a failure.
const MAX_REPORT: usize = 2 + contracts::guest::MAX_TEXT;

/// Most reports of a process about its start, of which three mean something: a container that got at the
/// socket of a process that it may trace must not keep init busy.
const MAX_REPORTS: u8 = 16;

/// Highest number of a signal on Linux.
const MAX_SIGNAL: u8 = 64;

/// The signal that ends a process without asking it.
const SIGKILL: u8 = 9;

/// Signals by which a person interrupts, whose default is to end: HUP, INT, QUIT, TERM.
const INTERRUPTS: [u8; 4] = [1, 2, 3, 15];

/// A descriptor that events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The first process ended.
    Process,
    /// The first process reports its start.
    Report,
    /// The socket of a stream.
    Socket(usize),
    /// The pipe or terminal of a stream.
    Local(usize),
}

/// What else is to be known of a process's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Causes {
    /// The kernel killed a process because the memory limit was reached.
    pub oom: bool,
    /// A block of a layer was not what it should be.
    pub damaged: bool,
}

/// A process that was started.
#[derive(Debug)]
pub struct Task {
    id: String,
    pid: Pid,
    pidfd: OwnedFd,
    /// Closed when the program has been executed.
    report: Option<OwnedFd>,
    /// How many reports may still come.
    reports: u8,
    /// When the program was about to be executed.
    starting: Option<u64>,
    failure: Option<Failure>,
    started: bool,
    entry: Entry,
    /// Its process was just heard of.
    is_new: bool,
    exit: Option<(ExitStatus, u64)>,
    /// The signal that it left to its default, and was killed in place of.
    interrupted: Option<u8>,
    master: Option<OwnedFd>,
    pumps: [Option<Pump>; 3],
    /// Streams whose connection the host has not taken.
    refused: [bool; 3],
}

/// How a process comes into its container.
#[derive(Debug)]
enum Entry {
    /// It is the one that was cloned.
    Direct,
    /// The one that was cloned is on its way there, and will clone another one.
    Leading,
    /// It was cloned by this one, which is about to end.
    Led(Pid, OwnedFd),
    /// It was cloned by one that has ended.
    Alone,
}

/// The ends of a process's streams: its own, and init's.
pub(crate) struct Streams {
    own: [OwnedFd; 3],
    pumps: [Option<Pump>; 3],
    master: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
}

/// A connection to the host, and where it leads.
type Socket = (OwnedFd, Port);

/// The parts of [`Streams`] that stay with init.
pub(crate) struct Ours {
    pumps: [Option<Pump>; 3],
    master: Option<OwnedFd>,
}

impl Task {
    /// A process that was just cloned, which reports its start on a packet socket.
    pub(crate) fn new(
        id: String,
        (pid, pidfd): (Pid, OwnedFd),
        report: OwnedFd,
        ours: Ours,
    ) -> Result<Self, Failure> {
        not_blocking(&report)?;
        Ok(Self {
            id,
            pid,
            pidfd,
            report: Some(report),
            reports: MAX_REPORTS,
            starting: None,
            failure: None,
            started: false,
            entry: Entry::Direct,
            is_new: false,
            exit: None,
            interrupted: None,
            master: ours.master,
            pumps: ours.pumps,
            refused: [false; 3],
        })
    }

    /// One that was just cloned and will clone the process that this is about ([`crate::beside`]).
    pub(crate) fn entering(
        id: String,
        process: (Pid, OwnedFd),
        report: OwnedFd,
        ours: Ours,
    ) -> Result<Self, Failure> {
        let mut task = Self::new(id, process, report, ours)?;
        task.entry = Entry::Leading;
        Ok(task)
    }

    /// Its process may exist already, and is not known yet.
    pub(crate) fn is_entering(&self) -> bool {
        matches!(self.entry, Entry::Leading) && self.exit.is_none()
    }

    /// The process that led it in is still in the container's control group, which could not be removed.
    fn is_led(&self) -> bool {
        matches!(self.entry, Entry::Led(..))
    }

    /// Whether this is a process of its.
    pub(crate) fn has(&self, pid: Pid) -> bool {
        self.pid == pid || matches!(self.entry, Entry::Led(leader, _) if leader == pid)
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor for it.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Lets a process that was just heard of go on, if its end will be seen.
    pub(crate) fn admit(&mut self, watched: Result<(), Failure>) {
        if let Err(failure) = watched.and_then(|()| self.let_go_on()) {
            // Nobody waits for it, so that it ends here.
            self.finish();
            self.failure.get_or_insert(failure);
        }
    }

    /// Tells a process that waits for it that init has done its part.
    ///
    /// # Errors
    /// When the process has ended.
    pub(crate) fn let_go_on(&self) -> Result<(), Failure> {
        let report = self.report.as_ref().ok_or(Errno::PIPE);
        report
            .and_then(|report| send(report, b"G", SendFlags::NOSIGNAL))
            .map(drop)
            .stage(|| "let the container go on")
    }

    /// Why it could not become its program, once it has said so.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Its program runs, as far as is known.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.started && self.exit.is_none()
    }

    /// Its process has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.exit.is_some()
    }

    /// What it waits for, edge-triggered.
    pub fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let report = self.report.iter().map(|fd| (Source::Report, fd.as_fd()));
        let streams = self.pumps.iter().enumerate().filter_map(|(index, pump)| {
            let [socket, local] = pump.as_ref()?.descriptors();
            Some([
                (Source::Socket(index), socket),
                (Source::Local(index), local),
            ])
        });
        [(Source::Process, self.pidfd.as_fd())]
            .into_iter()
            .chain(report)
            .chain(streams.flatten())
    }

    /// Goes on with what is ready. True when a stream has more to do at once.
    pub fn event(&mut self, source: Source, hung_up: bool) -> bool {
        match source {
            Source::Process => {
                self.reap(WaitIdOptions::NOHANG);
                // Of what runs beside a container's first process, the streams end with it.
                self.has_ended() && self.turn()
            }
            Source::Report => {
                self.read_report();
                false
            }
            Source::Socket(index) => self.pump(index, |pump| pump.socket_event(hung_up)),
            Source::Local(index) => self.pump(index, |pump| pump.local_event(hung_up)),
        }
    }

    /// Lets all streams go on. True when one of them has more to do at once.
    pub fn turn(&mut self) -> bool {
        (0..self.pumps.len()).fold(false, |more, index| self.pump(index, Pump::turn) | more)
    }

    fn pump(&mut self, index: usize, action: impl FnOnce(&mut Pump) -> Turn) -> bool {
        let Some(slot) = self.pumps.get_mut(index) else {
            return false;
        };
        match slot.as_mut().map(action) {
            Some(Turn::More) => true,
            Some(Turn::Ended) => {
                *slot = None;
                false
            }
            Some(Turn::Refused) => {
                if let Some(refused) = self.refused.get_mut(index) {
                    *refused = true;
                }
                false
            }
            Some(Turn::Lost) => {
                *slot = None;
                self.lose(index);
                false
            }
            Some(Turn::Wait) | None => false,
        }
    }

    fn reap(&mut self, options: WaitIdOptions) {
        if let Entry::Led(_, leader) = &self.entry
            && ended(leader, options).is_some()
        {
            self.entry = Entry::Alone;
        }
        if self.exit.is_some() {
            return;
        }
        if self.is_entering() {
            // What it has reported before its end is heard before its end.
            if ended(&self.pidfd, options | WaitIdOptions::NOWAIT).is_none() {
                return;
            }
            self.read_report();
            if matches!(self.entry, Entry::Leading) {
                // Nothing was said of a child, so that nobody lets it go on: it ends when it sees this end of
                // the socket closed. Until then it would hold the other one open.
                self.report = None;
            }
        }
        if let Entry::Led(_, leader) = &self.entry
            && ended(leader, options).is_some()
        {
            self.entry = Entry::Alone;
        }
        let Some(status) = ended(&self.pidfd, options) else {
            return;
        };
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::Code(byte(code)),
            (None, signal) => {
                let signal = byte(signal.unwrap_or_default());
                let interrupted = self.interrupted.filter(|_| signal == SIGKILL);
                ExitStatus::Signal(interrupted.unwrap_or(signal))
            }
        };
        self.exit = Some((exit, now()));
        // Nobody is left to read, and all that was written is in the pipes.
        self.pumps
            .iter_mut()
            .filter(|pump| matches!(pump, Some(pump) if pump.direction() == Direction::ToContainer))
            .for_each(|pump| *pump = None);
        if !matches!(self.entry, Entry::Direct) {
            // What it left in the background may hold the pipes for as long as the container runs.
            let pumps = self.pumps.iter_mut().flatten();
            pumps.for_each(Pump::end_with_what_is_there);
        }
        self.read_report();
    }

    pub(crate) fn read_report(&mut self) {
        let mut buffer = vec![0; MAX_REPORT];
        while let Some(report) = &self.report {
            let (length, sender) = match receive(report, &mut buffer) {
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Ok((0, _)) | Err(_) => {
                    self.report = None;
                    return;
                }
                Ok(received) => received,
            };
            self.reports = self.reports.saturating_sub(1);
            if self.reports == 0 {
                self.report = None;
            }
            match buffer.get(..length).and_then(<[u8]>::split_first) {
                Some((&report::STARTING, time)) => {
                    self.starting = time.try_into().ok().map(u64::from_le_bytes);
                }
                // The container may have got at the socket of a process that it sees.
                Some((&report::ENTERED, number)) if sender == Some(self.pid) => {
                    let number = number.try_into().ok().map(i32::from_le_bytes);
                    if let Err(failure) = self.enter(number.and_then(Pid::from_raw)) {
                        self.failure = Some(failure);
                    }
                }
                Some((&report::FAILED, failure)) => {
                    self.failure = Some(Failure::from_bytes(failure));
                }
                Some(_) | None => {}
            }
        }
    }

    /// The process exists, and is init's child. It goes on once its end will be seen.
    fn enter(&mut self, pid: Option<Pid>) -> Result<(), Failure> {
        let (Entry::Leading, Some(pid)) = (&self.entry, pid) else {
            return Ok(());
        };
        let pidfd =
            pidfd_open(pid, PidfdFlags::empty()).stage(|| "watch a process in the container")?;
        let leader = (self.pid, std::mem::replace(&mut self.pidfd, pidfd));
        self.pid = pid;
        self.entry = Entry::Led(leader.0, leader.1);
        self.is_new = true;
        Ok(())
    }

    /// A process that was just heard of, and is not waited for yet.
    pub(crate) fn new_process(&mut self) -> Option<BorrowedFd<'_>> {
        std::mem::take(&mut self.is_new).then(|| self.pidfd.as_fd())
    }

    /// What the host has to be told now, if anything. After [`GuestMessage::Failed`] or
    /// [`GuestMessage::Exited`] nothing more comes of it.
    pub fn news(&mut self, out_of_memory: impl Fn() -> bool) -> Option<GuestMessage> {
        if self.report.is_some() || self.is_led() {
            return None;
        }
        if self.failure.is_none() && self.starting.is_none() && !self.started {
            let (status, _) = self.exit?;
            self.failure = Some(lost(status, out_of_memory()));
        }
        if let Some(failure) = &self.failure {
            self.exit?;
            return Some(GuestMessage::Failed {
                id: self.id.clone(),
                kind: failure.kind,
                message: failure.message.clone(),
            });
        }
        if let Some(at) = self.starting.take() {
            self.started = true;
            let message = GuestMessage::Started {
                id: self.id.clone(),
                pid: self.pid.as_raw_nonzero().get().unsigned_abs(),
                at,
            };
            return Some(message);
        }
        None
    }

    /// The last message, when the process has ended and its output is on its way.
    pub fn end(&self, causes: impl Fn() -> Causes) -> Option<GuestMessage> {
        let (status, at) = self.exit.filter(|_| self.started)?;
        let output = |pump: &Pump| pump.direction() == Direction::ToHost;
        if self.report.is_some() || self.is_led() || self.pumps.iter().flatten().any(output) {
            return None;
        }
        let Causes { oom, damaged } = causes();
        Some(GuestMessage::Exited {
            id: self.id.clone(),
            status,
            oom,
            damaged,
            at,
        })
    }

    /// Sends a signal to the first process, if it is still there.
    pub fn signal(&self, signal: u8) {
        if self.exit.is_none() && (1..=MAX_SIGNAL).contains(&signal) {
            let _ = sys::kill(self.pid.as_raw_nonzero().get(), i32::from(signal));
        }
    }

    /// Sends a signal by which a person interrupts. The kernel spares a namespace's first process what it leaves
    /// to the default; outside it would end by it, and so it does here. One that had the signal before gets it no
    /// second time.
    pub fn interrupt(&mut self, signal: u8, again: bool) {
        if self.exit.is_none() && INTERRUPTS.contains(&signal) && self.leaves_to_default(signal) {
            self.interrupted.get_or_insert(signal);
            self.signal(SIGKILL);
        } else if !again {
            self.signal(signal);
        }
    }

    fn leaves_to_default(&self, signal: u8) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero()));
        status.is_ok_and(|status| is_left_to_default(&status, signal))
    }

    /// Gives its terminal, if it has one, a new size.
    pub fn resize(&self, size: TerminalSize) {
        if let Some(master) = &self.master {
            let _ = terminal::resize(master, size);
        }
    }

    /// Kills it if it runs, and waits until it has ended.
    pub fn finish(&mut self) {
        if self.is_entering() {
            // What it cloned, if it did, has to be known to be killed.
            self.signal(9);
            ended(&self.pidfd, WaitIdOptions::NOWAIT);
            self.read_report();
        }
        if let Entry::Led(_, leader) = &self.entry {
            let _ = pidfd_send_signal(leader, Signal::KILL);
        }
        if self.exit.is_none() {
            self.signal(SIGKILL);
            self.reap(WaitIdOptions::empty());
        }
        if let Entry::Led(_, leader) = &self.entry {
            ended(leader, WaitIdOptions::empty());
            self.entry = Entry::Alone;
        }
    }
}

/// Reads `/proc/PID/status`: does the process neither catch, nor ignore, nor block a signal?
fn is_left_to_default(status: &str, signal: u8) -> bool {
    let bit = 1_u64 << (signal - 1);
    let mut sets = status.lines().filter_map(|line| {
        let (name, set) = line.split_once(':')?;
        let is_set = matches!(name, "SigBlk" | "SigIgn" | "SigCgt");
        is_set.then(|| u64::from_str_radix(set.trim(), 16).unwrap_or(u64::MAX))
    });
    sets.all(|set| set & bit == 0)
}

/// A process ended before its program, and could not say why.
fn lost(status: ExitStatus, out_of_memory: bool) -> Failure {
    let cause = if out_of_memory {
        "its memory limit is too small to start in".into()
    } else {
        format!("exit status {}", status.code())
    };
    Failure::setup(format!(
        "the container's process ended while being set up: {cause}"
    ))
}

/// How a process has ended, if it has.
fn ended(process: &OwnedFd, options: WaitIdOptions) -> Option<WaitIdStatus> {
    loop {
        let waited = waitid(
            WaitId::PidFd(process.as_fd()),
            WaitIdOptions::EXITED | options,
        );
        match waited {
            Err(Errno::INTR) => {}
            other => return other.ok().flatten(),
        }
    }
}

/// A report, and the number of the process that it is of where the socket asks for that.
fn receive(report: &OwnedFd, buffer: &mut [u8]) -> Result<(usize, Option<Pid>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(report, &mut parts, &mut ancillary, flags)?;
    let sender = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
        _ => None,
    });
    Ok((received.bytes, sender))
}

fn not_blocking(fd: impl AsFd) -> Result<(), Failure> {
    fcntl_getfl(&fd)
        .and_then(|flags| fcntl_setfl(&fd, flags | OFlags::NONBLOCK))
        .stage(|| "make a stream non-blocking")
}

impl Streams {
    /// Connects streams, to a terminal where one is given. What the process gets is its own root's,
    /// whoever that is outside.
    pub(crate) fn open(
        stdio: Stdio,
        terminal: Option<Terminal>,
        connect: &Connect,
        shift: Option<Shift>,
    ) -> Result<Self, Failure> {
        let connect = |port: Option<Port>| {
            let Some(port) = port else {
                return Ok(None);
            };
            connect(port.number)
                .map(|socket| Some((socket, port)))
                .stage(|| format!("connect to port {} of the host", port.number))
        };
        let stdin = connect(stdio.stdin)?;
        let stdout = connect(stdio.stdout)?;
        let Some(terminal) = terminal else {
            let stderr = connect(stdio.stderr)?;
            let given = [&stdin, &stdout, &stderr].map(Option::is_some);
            let streams = Self::pipes(stdin, stdout, stderr)?;
            // What is `/dev/null` is everybody's.
            let own = streams.own.iter().zip(given).filter(|(_, given)| *given);
            if let Some(shift) = shift {
                for (end, _) in own {
                    shift.give(end).stage(|| "give the streams away")?;
                }
            }
            return Ok(streams);
        };
        if let Some(shift) = shift {
            let given = shift.give_terminal(&terminal.slave);
            given.stage(|| "give the terminal away")?;
        }
        Self::terminal(terminal, stdin, stdout)
    }

    /// Parts them: the process's own, its instance of devpts, and what stays with init.
    pub(crate) fn part(self) -> ([OwnedFd; 3], Option<OwnedFd>, Ours) {
        let ours = Ours {
            pumps: self.pumps,
            master: self.master,
        };
        (self.own, self.devpts, ours)
    }

    fn terminal(
        terminal: Terminal,
        stdin: Option<Socket>,
        stdout: Option<Socket>,
    ) -> Result<Self, Failure> {
        let copy = |fd: &OwnedFd| fd.try_clone().stage(|| "copy the terminal's descriptor");
        let pump = |direction, socket: Option<Socket>| {
            socket
                .map(|socket| Ok(Pump::new(direction, socket, copy(&terminal.master)?, true)))
                .transpose()
        };
        let pumps = [
            pump(Direction::ToContainer, stdin)?,
            pump(Direction::ToHost, stdout)?,
            None,
        ];
        Ok(Self {
            own: [
                copy(&terminal.slave)?,
                copy(&terminal.slave)?,
                terminal.slave,
            ],
            pumps,
            master: Some(terminal.master),
            devpts: terminal.devpts,
        })
    }

    fn pipes(
        stdin: Option<Socket>,
        stdout: Option<Socket>,
        stderr: Option<Socket>,
    ) -> Result<Self, Failure> {
        let (own_in, pump_in) = pipe(stdin, Direction::ToContainer)?;
        let (own_out, pump_out) = pipe(stdout, Direction::ToHost)?;
        let (own_err, pump_err) = pipe(stderr, Direction::ToHost)?;
        Ok(Self {
            own: [own_in, own_out, own_err],
            pumps: [pump_in, pump_out, pump_err],
            master: None,
            devpts: None,
        })
    }
}

/// The container's end of a pipe and the pump at the other, or `/dev/null`.
fn pipe(socket: Option<Socket>, direction: Direction) -> Result<(OwnedFd, Option<Pump>), Failure> {
    let Some(socket) = socket else {
        return Ok((child::null()?, None));
    };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).stage(|| "make a pipe")?;
    let (own, ours) = match direction {
        Direction::ToContainer => (read, write),
        Direction::ToHost => (write, read),
    };
    // The two ends do not share this flag: the container's own one blocks.
    not_blocking(&ours)?;
    Ok((own, Some(Pump::new(direction, socket, ours, false))))
}

#[cfg(test)]
mod tests;
