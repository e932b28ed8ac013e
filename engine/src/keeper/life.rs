//! The beginning of a container's life in its keeper, and what is due in it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contracts::guest::HostMessage;
use contracts::keeper::VERSION;

use super::{
    Deadline, Keeper, Kept, Machine, Prepared,
    health::Probe,
    phase::{LackOfMemory, Phase, later},
    streams::Streams,
};
use crate::host::{Design, Host, Place};
use crate::state::{
    container::{Container, LogPolicy, Wellness},
    files::Lock,
    journal, log,
};
use crate::{Guest, policy};

impl Keeper {
    /// Takes a container over that starts now.
    pub(super) fn take(&mut self, record: Container, lock: Lock) -> Result<u32> {
        let number = self.hold(record, lock)?;
        if let Err(error) = self.begin(number) {
            self.kept.remove(&number);
            return Err(error);
        }
        Ok(number)
    }

    /// Begins the start of a container that is held. When it cannot be, all is as if nobody had asked.
    pub(super) fn begin(&mut self, number: u32) -> Result<()> {
        let Some(kept) = self.kept.get_mut(&number) else {
            return Ok(());
        };
        policy::check(&kept.record.config)?;
        kept.layers = kept.record.config.hold_layers()?;
        let before = kept.state.clone();
        kept.state.keeper = std::process::id();
        kept.state.socket.clone_from(&self.socket);
        kept.state.wire = VERSION;
        kept.state.restarts = 0;
        kept.state.stopped = false;
        kept.state.address = None;
        kept.begin();
        let begun = kept.record.save(&kept.state);
        let begun = begun.and_then(|()| self.expect_start(number));
        if let Err(error) = begun {
            self.release_network(number);
            if let Some(kept) = self.kept.get_mut(&number) {
                kept.phase = Phase::Held;
                kept.layers.clear();
                kept.state = before;
                kept.record.save(&kept.state)?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// A number that no container has, or had: an answer that is late reaches nobody else.
    pub(super) fn new_number(&mut self) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// New streams for a start, to which clients can be attached.
    pub(super) fn open_streams(&mut self, number: u32) -> Result<()> {
        let Some(kept) = self.kept.get(&number) else {
            return Ok(());
        };
        let config = &kept.record.config;
        let (interactive, once) = (config.interactive, config.input_once);
        let terminal = config.spec.process.terminal.is_some();
        let stdio = self.promise(interactive, true, !terminal)?;
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.streams = Streams::new(stdio, once, None);
        }
        Ok(())
    }

    /// Makes all ready for a start whose streams are there.
    pub(super) fn expect_start(&mut self, number: u32) -> Result<()> {
        let network = self.take_network(number)?;
        let Some(kept) = self.kept.get_mut(&number) else {
            return Ok(());
        };
        let config = &kept.record.config;
        kept.streams.log = match config.log {
            LogPolicy::None => None,
            LogPolicy::Local(max) => {
                let opened = log::Writer::open(kept.record.directory(), max);
                Some(opened.context("cannot open the container's log")?)
            }
        };
        let mut spec = config.spec.clone();
        spec.stdio = kept.streams.stdio();
        spec.network = network;
        kept.phase = Phase::Booting(Box::new(spec));
        kept.stopping = false;
        kept.timed_out = false;
        kept.warnings.clear();
        kept.stop_asked = false;
        kept.message_at_start = None;
        kept.interrupted = None;
        kept.lack_of_memory = LackOfMemory::default();
        kept.deadline = None;
        Ok(())
    }

    /// Starts the machine.
    pub(super) fn boot(&mut self, prepared: Prepared) {
        let Prepared {
            design,
            start_timeout,
        } = prepared;
        self.in_software_host = matches!(design, Design::Machine(_, Place::Machine));
        match Host::start(&design, &self.directories) {
            Ok(host) => {
                self.mark("monitor started");
                self.machine = Some(Machine {
                    host,
                    guest: None,
                    connected: false,
                    greeted: false,
                    start_timeout,
                });
                // A guest that connects to nobody is given up by its monitor; one that only connects to
                // somebody else is not.
                let end = Instant::now() + start_timeout;
                for kept in self.started_ones() {
                    kept.deadline.get_or_insert((end, Deadline::Start));
                }
            }
            Err(error) => self.lost(&error),
        }
    }

    pub(super) fn started(&mut self, number: u32) {
        self.mark_of(number, "container's process executed");
        self.journal(number, "start", &[]);
        if let Some(kept) = self.kept.get_mut(&number) {
            let config = &kept.record.config;
            if !matches!(kept.deadline, Some((_, Deadline::Kill))) {
                let timeout = config.timeout.map(Duration::from_secs);
                kept.deadline =
                    timeout.map(|time| (later(Instant::now(), time), Deadline::Timeout));
            }
            kept.state.health = config.health.as_ref().map(|_| Wellness::Starting);
            kept.state.failing = 0;
            kept.probe = Probe::first(config.health.as_ref());
            kept.runs();
            kept.save();
            if let Some(message) = kept.message_at_start.take() {
                self.say(&message);
            }
        }
        self.tell_start(number);
    }

    /// Those that have been started, however far they have come.
    pub(super) fn started_ones(&mut self) -> impl Iterator<Item = &mut Kept> {
        let all = self.kept.values_mut();
        all.filter(|kept| !matches!(kept.phase, Phase::Held))
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
            journal::note(&self.directories.data, &*config, action, attributes);
        }
    }

    /// Does what is due.
    pub(super) fn deadlines(&mut self) -> Result<()> {
        let now = Instant::now();
        let late = |guest: &Guest| guest.deadline().is_some_and(|until| until <= now);
        if self.guest().is_some_and(|guest| late(guest)) {
            self.flush_guest();
        }
        let due: Vec<(u32, Deadline)> = self
            .kept
            .iter_mut()
            .filter_map(|(number, kept)| {
                let (_, deadline) = kept.deadline.take_if(|(at, _)| *at <= now)?;
                Some((*number, deadline))
            })
            .collect();
        self.interrupt_again(now);
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
}
