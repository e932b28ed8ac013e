//! The beginning of a container's life in its keeper, and of its machine's.

use std::time::Instant;

use anyhow::{Context, Result};
use contracts::guest::HostMessage;
use contracts::keeper::VERSION;

use super::{Keeper, Kept, Machine, Number, Prepared, life::Input, streams::Streams};
use crate::host::{Design, Host, Place};
use crate::policy;
use crate::state::{
    container::{Container, LogPolicy},
    files::Lock,
    journal, log,
};

impl Keeper {
    /// Takes a container over that starts now.
    pub(super) fn take(&mut self, record: Container, lock: Lock) -> Result<Number> {
        let number = self.hold(record, lock)?;
        if let Err(error) = self.begin(number) {
            self.kept.remove(&number);
            return Err(error);
        }
        Ok(number)
    }

    /// Begins the start of a container that is held. When it cannot be, all is as if nobody had asked.
    pub(super) fn begin(&mut self, number: Number) -> Result<()> {
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
            self.on(number, Input::TakeBack);
            self.release_network(number);
            if let Some(kept) = self.kept.get_mut(&number) {
                kept.layers.clear();
                kept.state = before;
                kept.record.save(&kept.state)?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// New streams for a start, to which clients can be attached.
    pub(super) fn open_streams(&mut self, number: Number) -> Result<()> {
        let Some(kept) = self.kept.get(&number) else {
            return Ok(());
        };
        let config = &kept.record.config;
        let (interactive, once) = (config.interactive, config.input_once);
        let terminal = config.spec.process.terminal.is_some();
        let mut stdio = self.promise(interactive, true, !terminal)?;
        // In a guest of its own nobody is there before it.
        let answered = !self.hosting.is_own();
        let ports = [&mut stdio.stdin, &mut stdio.stdout, &mut stdio.stderr];
        for port in ports.into_iter().flatten() {
            port.answered = answered;
        }
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.streams = Streams::new(stdio, once, None);
        }
        Ok(())
    }

    /// Makes all ready for a start whose streams are there.
    pub(super) fn expect_start(&mut self, number: Number) -> Result<()> {
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
        let spec = config.spec.for_guest(network, kept.streams.stdio());
        kept.warnings.clear();
        self.on(number, Input::Begin(Box::new(spec)));
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
                self.machine = Some(Machine::new(host, start_timeout));
                // A guest that connects to nobody is given up by its monitor; one that only connects to
                // somebody else is not.
                let end = Instant::now() + start_timeout;
                self.on_all(&Input::Expected(end));
            }
            Err(error) => self.lost(&error),
        }
    }

    /// Those that have been started, however far they have come.
    pub(super) fn started_ones(&mut self) -> impl Iterator<Item = &mut Kept> {
        let all = self.kept.values_mut();
        all.filter(|kept| !kept.life.is_held())
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
    pub(super) fn journal(&self, number: Number, action: &str, attributes: &[(&str, String)]) {
        if let Some(kept) = self.kept.get(&number) {
            let config = self.containers.as_named_now(&kept.record);
            journal::note(&self.directories.data, &*config, action, attributes);
        }
    }
}
