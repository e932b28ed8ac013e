//! The control channel and the event loop.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use contracts::guest::{
    ContainerSpec, GuestMessage, HostMessage, MAX_NAMES, Network, Stdio, Upper,
    frame::{self, Decoder, FrameError},
    is_name,
};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::{Errno, read},
    net::{SendFlags, send},
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

use crate::{
    cgroup::Cgroup,
    container::{self, Container},
    device,
    exec::Exec,
    failure::{Failure, Stage},
    network::Networks,
    setting::{Connect, Setting},
    sys,
    task::{Causes, Source, Task},
};

/// Bytes that are read from the control channel at a time.
const CHUNK: usize = 16 << 10;

/// Bytes in which a descriptor tells of a signal (`struct signalfd_siginfo`).
const SIGNAL: usize = 128;

/// Events that are taken from the kernel at a time.
const EVENTS: usize = 64;

/// Bytes of messages that wait for a host that does not read; no more containers' news are made
/// by a host that asks for little.
const MAX_BACKLOG: usize = 4 << 20;

/// Why the server cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A system call on the control channel or the event loop.
    #[error("cannot {0}: {1}")]
    Call(&'static str, Errno),
    /// The host broke the contract.
    #[error("cannot understand the host: {0}")]
    Frame(#[from] FrameError),
    /// The host does not read.
    #[error("cannot tell the host anything: {MAX_BACKLOG} bytes wait for it")]
    Backlog,
}

/// Where an event comes from: 0 is the control channel, else a number and a source.
const CONTROL: u64 = 0;

/// The token of children that have ended; the first number is 1.
const CHILDREN: u64 = 1;

/// Bits of a token that hold the source.
const SOURCE_BITS: u32 = 8;

/// The source of a container's lack of memory; others are those of [`token`].
const MEMORY: u64 = (1 << SOURCE_BITS) - 1;

/// Init at work.
pub struct Server {
    setting: Setting,
    control: OwnedFd,
    epoll: OwnedFd,
    decoder: Decoder,
    outgoing: Vec<u8>,
    containers: BTreeMap<u64, Container>,
    execs: BTreeMap<u64, Exec>,
    networks: Networks,
    /// Number of the next container or exec; never used twice, so that late events find nobody.
    next: u64,
    /// Those with streams that have more to do.
    ready: Vec<u64>,
    stop: bool,
    /// Tells of children that have ended, once there can be some that are nobody's.
    orphans: Option<OwnedFd>,
}

impl Server {
    /// A server on a connected, non-blocking control channel.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn new(control: OwnedFd, setting: Setting) -> Result<Self, ServerError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| ServerError::Call("make an event loop", errno))?;
        let data = epoll::EventData::new_u64(CONTROL);
        epoll::add(&epoll, &control, data, epoll::EventFlags::IN)
            .map_err(|errno| ServerError::Call("wait for the host", errno))?;
        Ok(Self {
            setting,
            control,
            epoll,
            decoder: Decoder::default(),
            outgoing: Vec::new(),
            containers: BTreeMap::new(),
            execs: BTreeMap::new(),
            networks: Networks::default(),
            next: 1,
            ready: Vec::new(),
            stop: false,
            orphans: None,
        })
    }

    /// Serves until the host asks to stop or closes the channel; all containers are gone then.
    ///
    /// # Errors
    /// When host and guest do not understand each other; containers are gone all the same.
    pub fn serve(&mut self) -> Result<(), ServerError> {
        let result = self.work();
        // All at once, so that nobody is left who could hold an end up: one that is traced is not over
        // before its tracer has heard of it.
        for container in self.containers.values() {
            container.cgroup().kill();
        }
        // First what runs beside them: it keeps their namespaces.
        for (_, mut exec) in std::mem::take(&mut self.execs) {
            exec.task.finish();
            exec.part().into_iter().for_each(Cgroup::remove);
        }
        for (_, container) in std::mem::take(&mut self.containers) {
            container.remove();
        }
        result
    }

    fn work(&mut self) -> Result<(), ServerError> {
        let mut events = Vec::with_capacity(EVENTS);
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        while !self.stop {
            let timeout = (!self.ready.is_empty()).then_some(&at_once);
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(ServerError::Call("wait for events", errno)),
            }
            for number in std::mem::take(&mut self.ready) {
                self.with(number, Task::turn)?;
            }
            for event in &events {
                // Copied out: the fields of a packed structure cannot be borrowed.
                let (data, flags) = (event.data.u64(), event.flags);
                self.dispatch(data, flags)?;
            }
            self.networks.refresh();
            self.reap_orphans()?;
        }
        Ok(())
    }

    fn dispatch(&mut self, data: u64, flags: epoll::EventFlags) -> Result<(), ServerError> {
        if data == CONTROL {
            if flags.contains(epoll::EventFlags::OUT) {
                self.flush()?;
            }
            if flags.intersects(!epoll::EventFlags::OUT) {
                self.read_control()?;
            }
            return Ok(());
        }
        if data == CHILDREN {
            // They are looked for after each round of events.
            return Ok(());
        }
        if data & ((1 << SOURCE_BITS) - 1) == MEMORY {
            let container = self.containers.get_mut(&(data >> SOURCE_BITS));
            let message = container.and_then(Container::lack_of_memory);
            return message.map_or(Ok(()), |message| self.say(&message));
        }
        let hung_up = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
        match source(data) {
            Some(source) => self.with(data >> SOURCE_BITS, |task| task.event(source, hung_up)),
            None => Ok(()),
        }
    }

    /// Lets a process act and tells the host what came of it.
    fn with(
        &mut self,
        number: u64,
        action: impl FnOnce(&mut Task) -> bool,
    ) -> Result<(), ServerError> {
        let containers = self.containers.get_mut(&number).map(|one| &mut one.task);
        let execs = self.execs.get_mut(&number).map(|exec| &mut exec.task);
        let Some(task) = containers.or(execs) else {
            return Ok(());
        };
        let more = action(task);
        if let Some(process) = task.new_process() {
            let watched = wait_for(&self.epoll, number, (Source::Process, process));
            // It ends by itself when nobody lets it go on.
            task.admit(watched);
        }
        let connected = reconnect(&self.epoll, &*self.setting.connect, number, task);
        if more || !connected {
            self.ready.push(number);
        }
        self.tell(number)
    }

    /// Tells the host what is new, and lets go of what is over.
    fn tell(&mut self, number: u64) -> Result<(), ServerError> {
        let (news, end) = if let Some(container) = self.containers.get_mut(&number) {
            (container.news(), container.end())
        } else if let Some(exec) = self.execs.get_mut(&number) {
            (exec.task.news(|| false), exec.task.end(Causes::default))
        } else {
            return Ok(());
        };
        let failed = matches!(news, Some(GuestMessage::Failed { .. }));
        let end = end.filter(|_| !failed);
        let over = failed || end.is_some();
        for message in news.iter().chain(&end) {
            self.say(message)?;
        }
        if over {
            if let Some(exec) = self.execs.remove(&number) {
                let container = self.containers.get_mut(&exec.container);
                match (container, exec.part()) {
                    (Some(container), Some(group)) => container.let_go(group),
                    (None, Some(group)) => group.remove(),
                    (_, None) => {}
                }
            }
            if let Some(container) = self.containers.remove(&number) {
                self.end_execs(number)?;
                let id = container.task.id().to_owned();
                container.remove();
                self.networks.detach(&id);
            }
        }
        Ok(())
    }

    /// A container has ended, and with it what ran beside its first process.
    fn end_execs(&mut self, container: u64) -> Result<(), ServerError> {
        let all = self.execs.iter_mut();
        let ended: Vec<u64> = all
            .filter(|(_, exec)| exec.container == container)
            .map(|(number, exec)| {
                exec.task.finish();
                *number
            })
            .collect();
        for number in ended {
            self.with(number, Task::turn)?;
        }
        Ok(())
    }

    fn read_control(&mut self) -> Result<(), ServerError> {
        let mut buffer = vec![0; CHUNK];
        match read(&self.control, &mut buffer) {
            Ok(0) => self.stop = true,
            Ok(length) => {
                self.decoder.push(buffer.get(..length).unwrap_or_default());
                while let Some(message) = self.decoder.next_message()? {
                    self.handle(message)?;
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The host is gone without a word; there is nobody to work for.
            Err(Errno::CONNRESET) => self.stop = true,
            Err(errno) => return Err(ServerError::Call("read from the host", errno)),
        }
        Ok(())
    }

    fn handle(&mut self, message: HostMessage) -> Result<(), ServerError> {
        match message {
            HostMessage::Run(spec) => self.run(&spec)?,
            HostMessage::Exec {
                id,
                container,
                task,
                stdio,
                group,
            } => self.exec(id, &container, (&task, group), stdio)?,
            HostMessage::Time(wall) => (self.setting.set_clock)(wall),
            HostMessage::Signal { id, signal } => {
                let mut execs = self.execs.values();
                if let Some(exec) = execs.find(|exec| exec.task.id() == id) {
                    exec.signal(signal);
                } else if let Some(task) = self.find(&id) {
                    task.signal(signal);
                }
            }
            HostMessage::Interrupt { id, signal, again } => {
                if let Some(task) = self.find_mut(&id) {
                    task.interrupt(signal, again);
                }
            }
            HostMessage::Resize { id, size } => {
                if let Some(task) = self.find(&id) {
                    task.resize(size);
                }
            }
            HostMessage::Names { id, names } => {
                if names.len() <= MAX_NAMES && names.iter().all(|name| is_name(name)) {
                    self.networks.rename(&id, &names);
                }
            }
            HostMessage::Forget { disk, partition } => {
                let path = device::disk(disk);
                let done = path.and_then(|path| device::forget_partition(&path, partition));
                self.say(&GuestMessage::Forgotten {
                    disk,
                    partition,
                    // Why not is for nobody to act on: it is asked for again.
                    gone: done.unwrap_or(false),
                })?;
            }
            HostMessage::Shutdown => self.stop = true,
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Option<&Task> {
        let containers = self.containers.values().map(|one| &one.task);
        let execs = self.execs.values().map(|exec| &exec.task);
        containers.chain(execs).find(|task| task.id() == id)
    }

    /// Waits for a new container's lack of memory, under the next number.
    fn watch_memory(&self, container: &Container) -> Result<(), ServerError> {
        let Some(events) = container.memory_events() else {
            return Ok(());
        };
        let data = epoll::EventData::new_u64(self.next << SOURCE_BITS | MEMORY);
        let flags = epoll::EventFlags::PRI | epoll::EventFlags::ET;
        epoll::add(&self.epoll, events, data, flags)
            .map_err(|errno| ServerError::Call("wait for a container's lack of memory", errno))
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Task> {
        let containers = self.containers.values_mut().map(|one| &mut one.task);
        let execs = self.execs.values_mut().map(|exec| &mut exec.task);
        containers.chain(execs).find(|task| task.id() == id)
    }

    fn run(&mut self, spec: &ContainerSpec) -> Result<(), ServerError> {
        match self.start(spec) {
            Ok(container) => {
                self.watch_memory(&container)?;
                self.containers.insert(self.next, container);
                self.next += 1;
                Ok(())
            }
            Err(failure) => self.fail(&spec.id, failure),
        }
    }

    fn start(&mut self, spec: &ContainerSpec) -> Result<Container, Failure> {
        if self.find(&spec.id).is_some() {
            return Err(Failure::setup("a container of this name is running"));
        }
        if spec.shares.processes || matches!(spec.root.upper, Upper::Shared { .. }) {
            self.watch_orphans()?;
        }
        let joined = match &spec.network {
            Network::Container(id) => {
                let mut all = self.containers.values();
                let found = all.find(|one| one.task.id() == id && one.task.is_running());
                Some(found.ok_or_else(|| container::not_running(id))?)
            }
            _ => None,
        };
        let container = Container::start(spec, &self.setting, &mut self.networks, joined)?;
        match self.watch(&container.task) {
            Ok(()) => Ok(container),
            Err(failure) => {
                container.remove();
                self.networks.detach(&spec.id);
                Err(failure)
            }
        }
    }

    /// From now on some processes are nobody's but init's: those of containers that have no process
    /// namespace of their own, whose first process would get them, and those that sweep a disk.
    fn watch_orphans(&mut self) -> Result<(), Failure> {
        if self.orphans.is_some() {
            return Ok(());
        }
        let signals = sys::child_signals().stage(|| "watch for children's ends")?;
        let data = epoll::EventData::new_u64(CHILDREN);
        epoll::add(&self.epoll, &signals, data, epoll::EventFlags::IN)
            .stage(|| "wait for children's ends")?;
        self.orphans = Some(signals);
        Ok(())
    }

    /// Lets the kernel forget children that have ended and are nobody's.
    fn reap_orphans(&mut self) -> Result<(), ServerError> {
        let Some(signals) = &self.orphans else {
            return Ok(());
        };
        // What it tells is looked for below.
        let mut told = [0; SIGNAL];
        while read(signals, &mut told).is_ok() {}
        let reap = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        while let Some(pid) = sys::ended_child() {
            // Its own event comes next, and after that round the others are looked for.
            if self.is_known(pid) || self.may_be_new(pid)? {
                break;
            }
            if waitid(WaitId::Pid(pid), reap).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn is_known(&self, pid: Pid) -> bool {
        let containers = self.containers.values().map(|one| &one.task);
        let mut tasks = containers.chain(self.execs.values().map(|exec| &exec.task));
        tasks.any(|task| task.has(pid))
    }

    /// Whether a child that has ended is, or may be, one of which a process that leads into a container
    /// is just reporting. When that has ended, which is an event, it is known whether it was.
    fn may_be_new(&mut self, pid: Pid) -> Result<bool, ServerError> {
        let execs = self.execs.iter();
        let entering: Vec<u64> = execs
            .filter(|(_, exec)| exec.task.is_entering())
            .map(|(number, _)| *number)
            .collect();
        for number in &entering {
            self.with(*number, |task| task.event(Source::Report, false))?;
        }
        let unsure = |number| {
            self.execs
                .get(number)
                .is_some_and(|exec| exec.task.is_entering())
        };
        Ok(self.is_known(pid) || entering.iter().any(unsure))
    }

    fn exec(
        &mut self,
        id: String,
        container: &str,
        task: (&contracts::guest::Task, bool),
        stdio: Stdio,
    ) -> Result<(), ServerError> {
        let own = id.clone();
        if let Err(failure) = self.watch_orphans() {
            return self.fail(&own, failure);
        }
        let found = self
            .containers
            .iter()
            .find(|(_, one)| one.task.id() == container);
        let started = match (self.find(&id), found) {
            (Some(_), _) => Err(Failure::setup("something of this name is running")),
            (None, None) => Err(Failure::setup("the container is not running")),
            (None, Some((number, container))) => {
                let number = *number;
                Exec::start(id, (number, container), task, stdio, &self.setting)
                    .and_then(|exec| self.watch(&exec.task).map(|()| exec))
            }
        };
        match started {
            Ok(exec) => {
                self.execs.insert(self.next, exec);
                self.next += 1;
                Ok(())
            }
            Err(failure) => self.fail(&own, failure),
        }
    }

    fn fail(&mut self, id: &str, failure: Failure) -> Result<(), ServerError> {
        self.say(&GuestMessage::Failed {
            id: id.chars().take(contracts::guest::MAX_TEXT / 4).collect(),
            kind: failure.kind,
            message: failure.message,
        })
    }

    /// Waits for a new process's descriptors, which will have the next number.
    fn watch(&self, task: &Task) -> Result<(), Failure> {
        task.sources()
            .try_for_each(|source| wait_for(&self.epoll, self.next, source))
    }

    /// Sends a message, or keeps it until the host reads.
    ///
    /// # Errors
    /// When the host is gone or does not read.
    pub fn say(&mut self, message: &GuestMessage) -> Result<(), ServerError> {
        self.outgoing.extend(frame::encode(message)?);
        if self.outgoing.len() > MAX_BACKLOG {
            return Err(ServerError::Backlog);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ServerError> {
        let waited = self.outgoing.len();
        while !self.outgoing.is_empty() {
            match send(&self.control, &self.outgoing, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    self.stop = true;
                    self.outgoing.clear();
                }
                Err(errno) => return Err(ServerError::Call("write to the host", errno)),
            }
        }
        if waited > 0 {
            self.wait_for_control(!self.outgoing.is_empty())?;
        }
        Ok(())
    }

    fn wait_for_control(&self, writable: bool) -> Result<(), ServerError> {
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, writable);
        let data = epoll::EventData::new_u64(CONTROL);
        epoll::modify(self.epoll.as_fd(), &self.control, data, flags)
            .map_err(|errno| ServerError::Call("wait for the host", errno))
    }
}

/// Makes new connections for streams of which the host has not taken one. False when one cannot be made now: what is
/// missing may come back while others have their turn.
fn reconnect(epoll: &OwnedFd, connect: &Connect, number: u64, task: &mut Task) -> bool {
    task.take_refused().fold(true, |connected, index| {
        connected
            & task.reconnect(index, connect, |old, new| {
                // A copy that a process has not closed yet would go on to tell of it.
                let _ = epoll::delete(epoll, old);
                wait_for(epoll, number, (Source::Socket(index), new))
            })
    })
}

/// Waits for a descriptor of what has this number, edge-triggered.
fn wait_for(
    epoll: &OwnedFd,
    number: u64,
    (source, fd): (Source, BorrowedFd<'_>),
) -> Result<(), Failure> {
    use epoll::EventFlags as Flags;
    let data = epoll::EventData::new_u64(number << SOURCE_BITS | token(source));
    let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
    epoll::add(epoll, fd, data, flags).map_err(|errno| {
        Failure::setup(format!("cannot wait for a container's {source:?}: {errno}"))
    })
}

fn token(source: Source) -> u64 {
    match source {
        Source::Process => 0,
        Source::Report => 1,
        Source::Socket(index) => 2 + 2 * index as u64,
        Source::Local(index) => 3 + 2 * index as u64,
    }
}

fn source(data: u64) -> Option<Source> {
    let token = data & ((1 << SOURCE_BITS) - 1);
    Some(match token {
        0 => Source::Process,
        1 => Source::Report,
        other => {
            let index = usize::try_from((other - 2) / 2).ok()?;
            if other % 2 == 0 {
                Source::Socket(index)
            } else {
                Source::Local(index)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_survives_its_token() {
        for wanted in [
            Source::Process,
            Source::Report,
            Source::Socket(0),
            Source::Local(0),
            Source::Socket(2),
            Source::Local(2),
        ] {
            assert_eq!(source(7 << SOURCE_BITS | token(wanted)), Some(wanted));
        }
    }
}
