//! What a monitor and its guest say to the keeper.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use contracts::guest::{CONTROL_PORT, GuestMessage, VERSION};

use super::{Keeper, Number, carry::Unexpected, execs::code_of, hosting::Hosting, life::Input};
use crate::Guest;
use crate::host;
use coracle_platform::clock;

/// Name of a step of the time line.
pub const CHANNEL_UP: &str = "control channel up";

impl Keeper {
    /// What the monitor has to say.
    pub(super) fn host_event(&mut self) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        let result = match machine.host.receive() {
            Ok(host::Event::Connection { port, stream }) => self.connection(port, stream),
            Ok(host::Event::Extent { place, refused }) => {
                self.extent(place, refused);
                Ok(())
            }
            Ok(host::Event::Stopped(report)) => Err(crate::stopped(&report)),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.lost(&error);
        }
    }

    fn connection(&mut self, port: u32, stream: Option<UnixStream>) -> Result<()> {
        let Some(stream) = stream else {
            return Ok(());
        };
        let Some(machine) = &mut self.machine else {
            return Ok(());
        };
        if port == CONTROL_PORT {
            if machine.connect(stream) {
                let start = Instant::now() + machine.start_timeout;
                let jail = machine.host.jail().to_owned();
                for kept in self.started_ones() {
                    kept.state.jail.clone_from(&jail);
                }
                self.on_all(&Input::Expected(start));
                self.mark(CHANNEL_UP);
            }
            return Ok(());
        }
        self.doubt(port, stream);
        Ok(())
    }

    /// What the guest has to say.
    pub(super) fn guest_messages(&mut self) {
        if let Err(error) = self.read_guest() {
            self.lost(&error);
        }
    }

    /// Writes what waits for a guest, which must not take too long to read it.
    pub(super) fn flush_guest(&mut self) {
        if let Some(Err(error)) = self.guest().map(Guest::flush) {
            self.lost(&error);
        }
    }

    pub(super) fn guest(&mut self) -> Option<&mut Guest> {
        self.machine.as_mut()?.guest_mut()
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
            machine.close_channel();
            let end = Instant::now() + machine.start_timeout;
            self.on_all(&Input::ChannelClosed(end));
        }
        Ok(())
    }

    /// Takes all connections that the monitor has told of.
    fn pending_connections(&mut self) -> Result<()> {
        while let Some(machine) = &mut self.machine
            && machine.host.has_event()?
        {
            match machine.host.receive()? {
                host::Event::Connection { port, stream } => self.connection(port, stream)?,
                host::Event::Extent { place, refused } => self.extent(place, refused),
                host::Event::Stopped(report) => return Err(crate::stopped(&report)),
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
                bail!("guest protocol error: it was not asked to forget {partition}");
            }
            return Ok(());
        }
        let (id, name, input) = word(message);
        let known = match (self.number_of(&id), input) {
            (Some(number), Some(input)) => self.on_word(number, input)?,
            _ => Err(Unexpected),
        };
        // News of a container that this keeper has given up already; it may be about to start again, or
        // have been asked for again, and then no news of it fits yet.
        if let Err(Unexpected) = known
            && !self.hosting.takes_late_news()
        {
            bail!("guest protocol error: {name:?} does not belong here");
        }
        Ok(())
    }

    fn hello(&mut self, version: u16, kernel: &str, init_at: u64, at: u64) -> Result<()> {
        let Some(machine) = &mut self.machine else {
            return Ok(());
        };
        if version != VERSION {
            bail!(
                "the guest's init speaks protocol version {version}, this program \
                 {VERSION}; install coracle, coracle-vmm and coracle-init of one release"
            );
        }
        if !machine.greet() {
            bail!("guest protocol error: \"hello\" does not belong here");
        }
        let own_kernel = !machine.host.shares_kernel();
        self.kernel = crate::clean(kernel);
        let now = clock::now();
        self.mark_at("init ready", now);
        // The guest's clock starts with its kernel, so its own times reach back from now. What it
        // says is only shown.
        if init_at <= at && at < now {
            if own_kernel {
                self.mark_at("kernel entry", now - at);
            }
            let init = now - (at - init_at);
            self.mark_at("init begins", init);
        }
        let all = self.kept.iter().filter(|(_, kept)| kept.life.is_booting());
        let all: Vec<Number> = all.map(|(number, _)| *number).collect();
        for number in all {
            self.on(number, Input::Ready);
            self.mark("spec sent");
        }
        self.host_is_up();
        Ok(())
    }

    /// A guest does not answer. Where it is the container's own it is lost; else the others go on.
    pub(super) fn silent(&mut self, number: Number, ran: bool) {
        let error = if ran {
            anyhow!("the guest closed its control channel without stopping")
        } else {
            let machine = self.machine.as_ref();
            let limit = machine.map_or(Duration::ZERO, |machine| machine.start_timeout);
            anyhow!(
                "the guest is not responding: no container within {limit:?} of its first message"
            )
        };
        match self.hosting {
            Hosting::Own(_) => self.lost(&error),
            Hosting::Named(_) => self.on(number, Input::GivenUp(format!("{error:#}"))),
        }
    }
}

/// Whom a message is about, what it is called, and what it says of a container.
fn word(message: GuestMessage) -> (String, &'static str, Option<Input>) {
    match message {
        GuestMessage::Hello { .. } => (String::new(), "hello", None),
        GuestMessage::Forgotten { .. } => (String::new(), "forgotten", None),
        GuestMessage::Started { id, pid, .. } => (id, "started", Some(Input::Started { pid })),
        GuestMessage::OutOfMemory { id } => (id, "out of memory", Some(Input::OutOfMemory)),
        GuestMessage::Failed { id, kind, message } => {
            let (code, message) = (code_of(kind), crate::clean(&message));
            (id, "failed", Some(Input::Failed { code, message }))
        }
        GuestMessage::Exited {
            id,
            status,
            oom,
            damaged,
            ..
        } => {
            let code = status.code();
            (id, "exited", Some(Input::Exited { code, oom, damaged }))
        }
    }
}
