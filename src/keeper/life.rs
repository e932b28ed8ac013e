//! A container's life in its keeper, from the machine's start to the container's end.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use coracle_protocol::{CONTROL_PORT, ExitStatus, GuestMessage, HostMessage, Stdio, VERSION};

use super::{
    Deadline, Keeper, Kept, Machine, Named, Prepared,
    execs::code_of,
    health::Probe,
    phase::{End, KILL_TIMEOUT, Phase, SIGKILL},
    restart,
    streams::Streams,
    wire::Event,
};
use crate::{
    clock,
    engine::{self, Guest},
    host::{self, Host},
    report,
    state::{
        container::{Container, LogPolicy, Status, Wellness},
        files::Lock,
        journal, log,
    },
};

/// How long output of a container that has ended may be on its way, where no client is slow.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Name of a step of the time line.
pub(crate) const CHANNEL_UP: &str = "control channel up";

impl Keeper {
    /// Takes a container over.
    pub(super) fn take(&mut self, record: Container, lock: Lock) -> Result<u32> {
        let mut state = record.state()?;
        state.keeper = std::process::id();
        state.socket.clone_from(&self.socket);
        state.restarts = 0;
        state.stopped = false;
        state.address = None;
        let number = self.kept.keys().last().map_or(0, |last| last + 1);
        let mut kept = Kept {
            _layers: record.config.hold_layers()?,
            record,
            state,
            phase: Phase::Waiting,
            streams: Streams::new(Stdio::default(), false, None),
            timeline: Vec::new(),
            deadline: None,
            stopping: false,
            timed_out: false,
            warnings: Vec::new(),
            signal_at_start: None,
            probe: Probe::Off,
            lock,
        };
        kept.begin();
        kept.record.save(&kept.state)?;
        self.kept.insert(number, kept);
        self.open_streams(number)?;
        Ok(number)
    }

    /// New streams for a start, to which clients can be attached.
    pub(super) fn open_streams(&mut self, number: u32) -> Result<()> {
        let port = self.next_port;
        self.next_port += 3;
        let network = self.take_network(number)?;
        let Some(kept) = self.kept.get_mut(&number) else {
            return Ok(());
        };
        let config = &kept.record.config;
        let terminal = config.spec.process.terminal.is_some();
        let stdio = Stdio {
            stdin: config.interactive.then_some(port),
            stdout: Some(port + 1),
            stderr: (!terminal).then_some(port + 2),
        };
        let log = match config.log {
            LogPolicy::None => None,
            LogPolicy::Local(max) => {
                let opened = log::Writer::open(kept.record.directory(), max);
                Some(opened.context("cannot open the container's log")?)
            }
        };
        kept.streams = Streams::new(stdio, config.input_once, log);
        let mut spec = config.spec.clone();
        spec.stdio = stdio;
        spec.network = network;
        kept.phase = Phase::Booting(Box::new(spec));
        kept.stopping = false;
        kept.timed_out = false;
        kept.warnings.clear();
        kept.signal_at_start = None;
        kept.deadline = None;
        Ok(())
    }

    /// Starts the machine.
    pub(super) fn boot(&mut self, prepared: Prepared) {
        let Prepared {
            design,
            start_timeout,
        } = prepared;
        match Host::start(&design, &self.directories) {
            Ok(host) => {
                self.mark("monitor started");
                self.machine = Some(Machine {
                    host,
                    guest: None,
                    greeted: false,
                    start_timeout,
                });
                // A guest that connects to nobody is given up by its monitor; one that only connects to
                // somebody else is not.
                let end = Instant::now() + start_timeout;
                for kept in self.kept.values_mut() {
                    kept.deadline.get_or_insert((end, Deadline::Start));
                }
            }
            Err(error) => self.lost(&error),
        }
    }

    /// What the monitor has to say.
    pub(super) fn host_event(&mut self) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        let result = match machine.host.next() {
            Ok(host::Event::Connection { port, stream }) => self.connection(port, stream),
            Ok(host::Event::Extent { place, refused }) => {
                self.extent(place, refused);
                Ok(())
            }
            Ok(host::Event::Stopped(report)) => Err(engine::stopped(&report)),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.lost(&error);
        }
    }

    fn connection(&mut self, port: u32, stream: UnixStream) -> Result<()> {
        let Some(machine) = &mut self.machine else {
            return Ok(());
        };
        if port == CONTROL_PORT {
            if machine.guest.is_none() {
                machine.guest = Some(Guest::new(stream)?);
                let start = Instant::now() + machine.start_timeout;
                for kept in self.kept.values_mut() {
                    kept.deadline = Some((start, Deadline::Start));
                }
                self.mark(CHANNEL_UP);
            }
            return Ok(());
        }
        let mut left = Some(stream);
        for kept in self.kept.values_mut() {
            left = left.and_then(|stream| kept.streams.connect(port, stream));
        }
        if let Some(stream) = left {
            self.connect_exec(port, &stream);
        }
        Ok(())
    }

    /// What the guest has to say.
    pub(super) fn guest_messages(&mut self) {
        if let Err(error) = self.read_guest() {
            self.lost(&error);
        }
    }

    fn guest(&mut self) -> Option<&mut Guest> {
        self.machine.as_mut()?.guest.as_mut()
    }

    fn read_guest(&mut self) -> Result<()> {
        let Some(guest) = self.guest() else {
            return Ok(());
        };
        let open = guest.receive()?;
        while let Some(message) = self.guest().map_or(Ok(None), Guest::message)? {
            // Its streams were connected before it was sent.
            self.pending_connections()?;
            self.guest_message(message)?;
        }
        if !open && let Some(machine) = &mut self.machine {
            // The monitor says why soon, if the machine died.
            machine.guest = None;
            let end = Instant::now() + machine.start_timeout;
            for kept in self.kept.values_mut() {
                kept.deadline.get_or_insert((end, Deadline::Start));
            }
        }
        Ok(())
    }

    /// Takes all connections that the monitor has told of.
    fn pending_connections(&mut self) -> Result<()> {
        while let Some(machine) = &mut self.machine
            && machine.host.has_event()?
        {
            match machine.host.next()? {
                host::Event::Connection { port, stream } => self.connection(port, stream)?,
                host::Event::Extent { place, refused } => self.extent(place, refused),
                host::Event::Stopped(report) => return Err(engine::stopped(&report)),
            }
        }
        Ok(())
    }

    fn guest_message(&mut self, message: GuestMessage) -> Result<()> {
        if self.exec_message(&message) {
            return Ok(());
        }
        if let GuestMessage::Hello {
            version,
            kernel,
            init_at,
            at,
        } = &message
        {
            return self.hello(*version, kernel, *init_at, *at);
        }
        if let GuestMessage::Forgotten {
            partition, gone, ..
        } = message
        {
            if !self.forgotten(partition, gone) {
                bail!("the guest broke the contract: it was not asked to forget {partition}");
            }
            return Ok(());
        }
        let number = match &message {
            GuestMessage::Started { id, .. }
            | GuestMessage::Exited { id, .. }
            | GuestMessage::Failed { id, .. } => self.number_of(id),
            GuestMessage::Hello { .. } | GuestMessage::Forgotten { .. } => None,
        };
        let kept = number.and_then(|number| Some((number, self.kept.get_mut(&number)?)));
        match (kept, message) {
            (Some((number, kept)), GuestMessage::Started { pid, .. })
                if matches!(kept.phase, Phase::Starting) =>
            {
                kept.phase = Phase::Running;
                kept.state.pid = pid;
                self.started(number);
            }
            (Some((number, kept)), GuestMessage::Failed { kind, message, .. })
                if matches!(kept.phase, Phase::Starting) =>
            {
                let end = End {
                    code: code_of(kind),
                    error: format!("cannot start the container: {}", engine::clean(&message)),
                    ..End::default()
                };
                self.ended(number, end);
            }
            (
                Some((number, kept)),
                GuestMessage::Exited {
                    status,
                    oom,
                    damaged,
                    ..
                },
            ) if matches!(kept.phase, Phase::Running) => {
                let end = End {
                    code: status.code(),
                    oom,
                    damaged,
                    error: String::new(),
                };
                self.mark_of(number, "container's exit seen");
                self.ended(number, end);
            }
            // News of a container that this keeper has given up already.
            (
                None,
                GuestMessage::Started { .. }
                | GuestMessage::Exited { .. }
                | GuestMessage::Failed { .. },
            ) if self.named.as_mut().is_some_and(Named::takes_late_news) => {}
            (_, message) => {
                let name = match message {
                    GuestMessage::Hello { .. } => "hello",
                    GuestMessage::Started { .. } => "started",
                    GuestMessage::Exited { .. } => "exited",
                    GuestMessage::Failed { .. } => "failed",
                    GuestMessage::Forgotten { .. } => "forgotten",
                };
                bail!("the guest broke the contract: {name:?} does not belong here")
            }
        }
        Ok(())
    }

    fn hello(&mut self, version: u16, kernel: &str, init_at: u64, at: u64) -> Result<()> {
        let Some(machine) = &mut self.machine else {
            return Ok(());
        };
        if version != VERSION {
            bail!(
                "the guest's init speaks version {version} of the contract, this program \
                 {VERSION}; install coracle, coracle-vmm and coracle-init of one release"
            );
        }
        if std::mem::replace(&mut machine.greeted, true) {
            bail!("the guest broke the contract: \"hello\" does not belong here");
        }
        let own_kernel = !machine.host.shares_kernel();
        self.kernel = engine::clean(kernel);
        let now = clock::now();
        self.timeline.push(("init ready".into(), now));
        // The guest's clock starts with its kernel, so its own times reach back from now. What it
        // says is only shown.
        if init_at <= at && at < now {
            if own_kernel {
                self.timeline.push(("kernel entry".into(), now - at));
            }
            let init = now - (at - init_at);
            self.timeline.push(("init begins".into(), init));
        }
        let mut specs = Vec::new();
        for kept in self.kept.values_mut() {
            match std::mem::replace(&mut kept.phase, Phase::Starting) {
                Phase::Booting(spec) => specs.push(spec),
                phase => kept.phase = phase,
            }
        }
        for spec in specs {
            self.say(&HostMessage::Run(spec));
            self.mark("spec sent");
        }
        self.host_is_up();
        Ok(())
    }

    fn started(&mut self, number: u32) {
        self.mark_of(number, "container's process executed");
        self.journal(number, "start", &[]);
        if let Some(kept) = self.kept.get_mut(&number) {
            let config = &kept.record.config;
            if kept.signal_at_start.is_none() {
                let timeout = config.timeout.map(Duration::from_secs);
                kept.deadline = timeout.map(|time| (Instant::now() + time, Deadline::Timeout));
            }
            kept.state.health = config.health.as_ref().map(|_| Wellness::Starting);
            kept.state.failing = 0;
            kept.probe = Probe::first(config.health.as_ref());
            kept.state.started = clock::wall();
            kept.save();
            let id = kept.record.config.id.clone();
            if let Some(signal) = kept.signal_at_start.take() {
                self.say(&HostMessage::Signal { id, signal });
            }
        }
        self.tell_start(number);
    }

    pub(super) fn ended(&mut self, number: u32, end: End) {
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.deadline = Some((Instant::now() + DRAIN_TIMEOUT, Deadline::Force));
            kept.streams.end_input();
            if !end.error.is_empty() {
                // It may never have been connected.
                kept.streams.release();
            }
            kept.phase = Phase::Draining(end);
            kept.probe = Probe::Off;
        }
    }

    /// Kills a container's processes; its output is still read.
    fn kill(&mut self, number: u32) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        if !matches!(kept.phase, Phase::Running) {
            self.abandon(number);
            return;
        }
        kept.deadline = Some((Instant::now() + KILL_TIMEOUT, Deadline::Force));
        let id = kept.record.config.id.clone();
        self.say(&HostMessage::Signal {
            id,
            signal: SIGKILL,
        });
    }

    /// Ends a container by force: its host goes away.
    pub(super) fn force(&mut self, number: u32) {
        match self.kept.get(&number).map(|kept| &kept.phase) {
            Some(Phase::Waiting | Phase::Draining(_)) | None => {
                if let Some(kept) = self.kept.get_mut(&number) {
                    kept.streams.release();
                }
                return;
            }
            Some(_) => {}
        }
        if let Some(named) = &mut self.named {
            named.expect_late_news();
        }
        let code = ExitStatus::Signal(SIGKILL).code();
        self.ended(
            number,
            End {
                code,
                ..End::default()
            },
        );
        if let Some(kept) = self.kept.get_mut(&number) {
            // What it wrote and nobody has read yet goes with it.
            kept.streams.release();
        }
    }

    /// The machine is gone, for a reason that nobody asked for.
    pub(super) fn lost(&mut self, error: &anyhow::Error) {
        let words = format!("{error:#}");
        let all: Vec<u32> = self.kept.keys().copied().collect();
        for number in all {
            match self.kept.get(&number).map(|kept| &kept.phase) {
                // It may end by itself once its container has.
                Some(Phase::Draining(_) | Phase::Waiting) | None => {}
                Some(_) => self.ended(
                    number,
                    End {
                        code: 125,
                        error: words.clone(),
                        ..End::default()
                    },
                ),
            }
            if let Some(kept) = self.kept.get_mut(&number) {
                kept.streams.release();
            }
        }
        if let Some(machine) = &mut self.machine {
            machine.guest = None;
        }
        self.host_is_lost(&words);
    }

    /// Says something to the guest.
    pub(super) fn say(&mut self, message: &HostMessage) {
        let said = match self.guest() {
            Some(guest) => guest.send(message),
            None => return,
        };
        if let Err(error) = said {
            self.lost(&error);
        }
    }

    /// Notes an event of a container's.
    pub(super) fn journal(&self, number: u32, action: &str, attributes: &[(&str, String)]) {
        if let Some(kept) = self.kept.get(&number) {
            let config = self.containers.as_named_now(&kept.record);
            journal::note(&self.directories.data, &config, action, attributes);
        }
    }

    /// Does what is due.
    pub(super) fn deadlines(&mut self) -> Result<()> {
        let now = Instant::now();
        let due: Vec<(u32, Deadline)> = self
            .kept
            .iter_mut()
            .filter_map(|(number, kept)| {
                let (_, deadline) = kept.deadline.take_if(|(at, _)| *at <= now)?;
                Some((*number, deadline))
            })
            .collect();
        for (number, deadline) in due {
            match deadline {
                Deadline::Kill => self.kill(number),
                Deadline::Timeout => {
                    self.kill(number);
                    if let Some(kept) = self.kept.get_mut(&number) {
                        kept.timed_out = true;
                    }
                }
                Deadline::Force => self.overdue(number),
                Deadline::Start => self.not_started(number),
                Deadline::Restart => self.start_again(number)?,
            }
        }
        Ok(())
    }

    /// A container does not end although it should have.
    fn overdue(&mut self, number: u32) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        if matches!(kept.phase, Phase::Draining(_)) && kept.streams.is_held_back() {
            // Its output goes as slowly as its reader wants.
            kept.deadline = Some((Instant::now() + DRAIN_TIMEOUT, Deadline::Force));
            return;
        }
        self.force(number);
    }

    pub(super) fn silent(&self, number: u32) -> anyhow::Error {
        let running = matches!(
            self.kept.get(&number).map(|kept| &kept.phase),
            Some(Phase::Running)
        );
        if running {
            return anyhow!("the guest closed its control channel and did not stop");
        }
        let limit = self
            .machine
            .as_ref()
            .map_or(Duration::ZERO, |machine| machine.start_timeout);
        anyhow!("the guest does not answer: no container within {limit:?} of its first word")
    }

    /// Ends what has been drained.
    pub(super) fn settle(&mut self) -> Result<()> {
        let all: Vec<u32> = self.kept.keys().copied().collect();
        for number in all {
            let Some(kept) = self.kept.get_mut(&number) else {
                continue;
            };
            if !kept.streams.drained() {
                continue;
            }
            match std::mem::replace(&mut kept.phase, Phase::Waiting) {
                Phase::Draining(end) => self.finish(number, end),
                phase => kept.phase = phase,
            }
        }
        Ok(())
    }

    fn finish(&mut self, number: u32, end: End) {
        if self.named.is_none() {
            self.end_machine();
        }
        self.give_back_layers(number);
        self.release_network(number);
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        if let Some(at) = kept.streams.first_byte {
            let step = "first byte of output".into();
            kept.timeline.push((step, at));
        }
        kept.streams.release();
        kept.deadline = None;
        let never_ran = kept.state.pid == 0;
        let state = &mut kept.state;
        state.exit_code = i32::from(end.code);
        state.oom = end.oom;
        state.finished = clock::wall();
        state.pid = 0;
        state.health = None;
        state.error.clone_from(&end.error);
        // As docker: what could not be executed was only created.
        state.status = if never_ran && !end.error.is_empty() {
            Status::Created
        } else {
            Status::Exited
        };
        kept.explain(end.damaged);
        let restart = !never_ran
            && !kept.stopping
            && restart::wants_restart(kept.record.config.restart, &kept.state);
        let exit_code = [("exitCode", end.code.to_string())];
        if end.oom {
            self.journal(number, "oom", &[]);
        }
        self.journal(number, "die", &exit_code);
        if self
            .kept
            .get(&number)
            .is_some_and(|kept| kept.state.stopped)
        {
            self.journal(number, "stop", &[]);
        }
        if restart {
            self.pause_before_restart(number);
        }
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        kept.save();
        let event = if end.error.is_empty() {
            Event::Exited(self.exit_of(kept))
        } else {
            Event::Failed {
                message: end.error,
                code: end.code,
            }
        };
        if !restart {
            self.let_go(number);
        }
        self.tell_end(number, &event);
        if !restart {
            self.gone(number);
        }
        if self.named.is_none() {
            self.timeline.clear();
        }
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.timeline.clear();
        }
    }

    /// A container is looked after no more.
    pub(super) fn gone(&mut self, number: u32) {
        self.kept.remove(&number);
        self.over = self.kept.is_empty() && self.named.as_ref().is_none_or(|named| named.ends);
    }

    /// Removes a container that is to be removed, while its lock is held.
    pub(super) fn let_go(&mut self, number: u32) {
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        if self.named.is_none() {
            let _ = std::fs::remove_file(&self.socket);
        }
        if kept.record.config.remove {
            // First, since its name goes with it.
            self.journal(number, "destroy", &[]);
            let removed = self.containers.remove(&kept.record, &kept.lock);
            if let Err(error) = removed {
                report::warn(&format!("{error:#}"));
            }
        }
    }

    /// Stops the machine and waits until it is gone.
    pub(super) fn end_machine(&mut self) {
        let Some(machine) = self.machine.take() else {
            return;
        };
        self.end_execs();
        let shares_clock = machine.host.shares_clock();
        let report = machine.host.finish();
        self.mark("host stopped, all freed");
        if let Some(report) = report {
            engine::merge(&mut self.timeline, &report, shares_clock);
            for kept in self.kept.values_mut() {
                kept.warnings
                    .extend(report.failures.iter().map(|words| engine::failure(words)));
            }
        }
    }
}
