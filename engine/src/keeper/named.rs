//! A named host: a machine that is up without containers, and holds many.
//!
//! Its keeper is the same as a container's, but the machine is the host's: containers come and go by
//! requests, their layers reach the guest while it runs ([`super::shelf`]), and the end of one of them
//! is not the end of the others.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use contracts::guest::{HostMessage, Upper};
use contracts::keeper::{Event, VERSION};
use contracts::monitor::Place;
use packets::Socket;

use super::{
    Keeper, Kept, Prepared, Role,
    begin::{Work, begin},
    clients::conflict,
    life::Input,
    restart,
    shelf::{Forgotten, Shelf},
    start::new_keeper,
};
use crate::state::{
    Directories,
    container::Container,
    disk,
    files::Lock,
    host::{Host as Record, State, Status},
    private,
};
use crate::{Error, ErrorKind};
use coracle_platform::clock;

/// The named host of a keeper.
pub(super) struct Named {
    record: Record,
    state: State,
    shelf: Shelf,
    /// Until when its guest must be up.
    deadline: Option<Instant>,
    /// It ends when its containers have.
    pub(super) ends: bool,
    /// Messages that the guest may still send about containers that were given up.
    late_news: u32,
    _lock: Lock,
}

/// Messages that a guest may send about a container that was given up: that it runs, that it has ended, and,
/// once a second until then, that it lacks memory.
const NEWS: u32 = 2 + 10;

impl Named {
    /// A container is given up; the guest may have something to say about it all the same.
    pub(super) fn expect_late_news(&mut self) {
        self.late_news = self.late_news.saturating_add(NEWS);
    }

    /// Whether a message about a container that nobody knows may be one of those. A guest that sends
    /// more keeps its keeper busy for nothing.
    pub(super) fn takes_late_news(&mut self) -> bool {
        let left = self.late_news.checked_sub(1);
        self.late_news = left.unwrap_or(0);
        left.is_some()
    }

    /// When there is something to do for it.
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.shelf.next()).min()
    }

    /// Writes the state down. The loop goes on without it where the disk is full.
    fn save(&self) {
        if let Err(error) = self.record.save(&self.state) {
            log::warn!("{error:#}");
        }
    }
}

/// Starts the keeper of a named host, as a fork of this process where that may be; gives the connection of its first client, which is told
/// [`Event::Done`] when the keeper has the host, and [`Event::Started`] when its guest is up.
///
/// # Errors
/// As `fork(2)` and `execve(2)`.
pub fn start(
    record: &Record,
    prepared: Prepared,
    directories: &Directories,
    may_fork: bool,
) -> Result<Socket> {
    let work = Work::Host(Box::new(record.clone()), prepared);
    begin(work, directories, may_fork)
}

pub(super) fn keep(
    record: &Record,
    prepared: Prepared,
    first: Socket,
    directories: &Directories,
) -> Result<()> {
    let words =
        private::create(&record.directory().join("keeper.log")).context("cannot make a log")?;
    let name = format!("host {}", record.config.name);
    let lock = record.keeper_lock()?;
    let mut keeper = new_keeper(directories, &record.config.id, &name, Some(&words))?;
    let mut state = record.state()?;
    state.status = Status::Running;
    state.keeper = std::process::id();
    state.socket.clone_from(&keeper.socket);
    state.wire = VERSION;
    state.started = clock::wall();
    state.error.clear();
    state.stopped = false;
    record.save(&state)?;
    keeper.named = Some(Named {
        record: record.clone(),
        state,
        shelf: Shelf::default(),
        deadline: Some(Instant::now() + prepared.start_timeout),
        ends: false,
        late_news: 0,
        _lock: lock,
    });
    let client = keeper.add_client(first, Role::Host);
    keeper.tell(client, &Event::Done);
    keeper.boot(prepared);
    let result = keeper.work();
    keeper.end_machine();
    let _ = std::fs::remove_file(&keeper.socket);
    disk::remove_of_host(&directories.data, &record.config.name);
    if let Some(named) = &mut keeper.named {
        named.state.status = Status::Exited;
        named.state.finished = clock::wall();
        if let Err(error) = &result {
            named.state.error = format!("{error:#}");
        }
        named.save();
        named.record.note("die");
        if named.state.stopped {
            named.record.note("stop");
        }
    }
    result
}

impl Keeper {
    /// The guest has said hello.
    pub(super) fn host_is_up(&mut self) {
        let release = self.kernel.clone();
        let machine = self.machine.as_ref();
        let jail = machine.map_or("", |machine| machine.host.jail()).to_owned();
        let Some(named) = &mut self.named else {
            return;
        };
        named.deadline = None;
        named.state.started = clock::wall();
        named.state.release = release;
        named.state.jail = jail;
        named.save();
        named.record.note("start");
        let id = named.record.config.id.clone();
        self.tell_host(&Event::Started);
        // As docker's daemon when it comes up.
        for record in self.containers.list().unwrap_or_default() {
            let wanted = record.config.host.as_ref() == Some(&id)
                && record
                    .state()
                    .is_ok_and(|state| restart::wants_start(record.config.restart, &state));
            let Ok(Some(lock)) = record.try_lock() else {
                continue;
            };
            if wanted {
                match self.take(record, lock) {
                    Ok(number) => self.place(number),
                    Err(error) => log::warn!("{error:#}"),
                }
            }
        }
    }

    /// The machine is gone although nobody asked for it, or never came up.
    pub(super) fn host_is_lost(&mut self, words: &str) {
        let Some(named) = &mut self.named else {
            return;
        };
        if named.state.error.is_empty() {
            named.state.error = words.into();
        }
        self.tell_host(&Event::Failed {
            message: words.into(),
            code: 125,
        });
        self.end_host();
    }

    /// Ends the host as soon as its containers have ended; none starts again.
    pub(super) fn end_host(&mut self) {
        let Some(named) = &mut self.named else {
            return;
        };
        named.ends = true;
        self.let_all_holders_go("its host ends");
        self.over = self.kept.is_empty();
        self.on_all(&Input::HostEnds);
    }

    /// A person wants the host to stop.
    pub(super) fn stop_host(&mut self, seconds: Option<u64>) -> Result<()> {
        let Some(named) = &mut self.named else {
            bail!("not the keeper of a named host");
        };
        named.state.stopped = true;
        self.stop_all(seconds);
        Ok(())
    }

    fn tell_host(&mut self, event: &Event) {
        let all: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.role == Role::Host)
            .map(|(number, _)| *number)
            .collect();
        for client in all {
            self.tell(client, event);
        }
    }

    /// Starts a container for a client: one that is held, or one of the host's.
    pub(super) fn start_for(
        &mut self,
        client: u64,
        id: &str,
        attach: Option<bool>,
        owner: bool,
    ) -> Result<()> {
        let number = match self.held(id) {
            Some(number) => {
                self.start_held(number)?;
                number
            }
            None if self.number_of(id).is_some() => {
                return Err(conflict(format!("container {id} is running already")));
            }
            None => {
                let (record, lock) = self.of_host(id)?;
                self.take(record, lock)?
            }
        };
        self.set_role(client, Role::Attached { number, owner });
        self.tell(client, &Event::Done);
        if let Some(input) = attach {
            self.connect_streams(client, number, input, owner)?;
        }
        if self.named.is_some() {
            self.place(number);
        }
        Ok(())
    }

    /// A container of the host's that nobody keeps, and its lock; the host is up.
    pub(super) fn of_host(&self, id: &str) -> Result<(Container, Lock)> {
        let Some(named) = &self.named else {
            bail!("not the keeper of this container, nor of a named host");
        };
        let name = &named.record.config.name;
        let up = self.machine.as_ref().is_some_and(|machine| machine.greeted);
        if named.ends || !up {
            return Err(conflict(format!(
                "host {name} is not up; 'coracle host start {name}' starts it"
            )));
        }
        let record = self.containers.open(id)?;
        if record.config.host.as_ref() != Some(&named.record.config.id) {
            let id = record.short_id();
            let words = format!("container {id} does not belong to host {name}");
            return Err(Error::new(ErrorKind::Invalid, words).into());
        }
        let lock = record.try_lock()?;
        let lock = lock.ok_or_else(|| conflict(format!("container {id} is running already")))?;
        Ok((record, lock))
    }

    /// Gives a container's layers to the guest, and starts it when they are there.
    pub(super) fn place(&mut self, number: u32) {
        match self.give_layers(number) {
            Ok(()) => self.run_placed(),
            Err(error) => self.fail(number, &format!("{error:#}")),
        }
    }

    fn give_layers(&mut self, number: u32) -> Result<()> {
        let (Some(named), Some(machine), Some(kept)) =
            (&mut self.named, &self.machine, self.kept.get_mut(&number))
        else {
            bail!("the host is gone");
        };
        let start = Instant::now() + machine.start_timeout;
        kept.state.started = clock::wall();
        let config = &kept.record.config;
        let checked = config.spec.root.is_checked();
        let (layers, insertions) = named.shelf.take(number, &config.layers, checked)?;
        if let Some(spec) = kept.life.spec_mut() {
            let wanted = std::mem::replace(&mut spec.root.layers, layers);
            for (layer, wanted) in spec.root.layers.iter_mut().zip(wanted) {
                layer.verity = wanted.verity;
            }
            // Where it is not to be in memory in any case.
            let limit = named.record.config.container_disk();
            if let (Some(limit), Upper::Tmpfs(None)) = (limit, &spec.root.upper) {
                spec.root.upper = Upper::Shared {
                    disk: crate::DISK,
                    limit: config.disk.unwrap_or(limit),
                };
            }
        }
        let mut failed = Ok(());
        for insertion in insertions {
            let asked = machine.host.insert(insertion.place, &insertion.path);
            if let Err(error) = asked {
                named.shelf.done(insertion.place, true);
                failed = Err(error);
            }
        }
        self.on(number, Input::Expected(start));
        failed
    }

    /// Starts those whose layers are there.
    fn run_placed(&mut self) {
        let Some(named) = &self.named else {
            return;
        };
        let is_ready = |(number, kept): &(&u32, &Kept)| {
            kept.life.is_booting() && named.shelf.is_ready(**number)
        };
        let ready = self.kept.iter().filter(is_ready);
        let ready: Vec<u32> = ready.map(|(number, _)| *number).collect();
        if !ready.is_empty() {
            self.say(&HostMessage::Time(clock::wall()));
        }
        for number in ready {
            self.mark_of(number, "spec sent");
            self.on(number, Input::Ready);
        }
    }

    /// The monitor has put a layer on the disk, or taken it away, or refused.
    pub(super) fn extent(&mut self, place: Place, refused: Option<String>) {
        let Some(named) = &mut self.named else {
            return;
        };
        for number in named.shelf.done(place, refused.is_some()) {
            let reason = refused.as_deref().unwrap_or("it was removed");
            self.fail(
                number,
                &format!("cannot attach a layer to the host: {reason}"),
            );
        }
        self.run_placed();
    }

    /// The guest has let go of a layer, or cannot yet; false when it was not asked to.
    pub(super) fn forgotten(&mut self, partition: u8, gone: bool) -> bool {
        let (Some(named), Some(machine)) = (&mut self.named, &self.machine) else {
            return false;
        };
        match named.shelf.forgotten(partition, gone, Instant::now()) {
            Forgotten::Free(place) => {
                // A monitor that is gone is noticed elsewhere.
                let _ = machine.host.remove(place);
                true
            }
            Forgotten::Later => true,
            Forgotten::Unasked => false,
        }
    }

    /// A container has ended: others may use its layers, or nobody.
    pub(super) fn give_back_layers(&mut self, number: u32) {
        if let Some(named) = &mut self.named {
            named.shelf.release(number, Instant::now());
        }
    }

    /// Does what is due for the host.
    pub(super) fn tidy(&mut self) {
        let Some(named) = &mut self.named else {
            return;
        };
        let now = Instant::now();
        for partition in named.shelf.due(now) {
            self.say(&HostMessage::Forget {
                disk: super::shelf::DISK,
                partition,
            });
        }
        let late = |named: &Named| named.deadline.is_some_and(|at| at <= now);
        if self.named.as_ref().is_some_and(late) {
            if let Some(named) = &mut self.named {
                named.deadline = None;
            }
            self.lost(&anyhow::anyhow!("the host's guest is not responding"));
        }
    }

    /// A container could not be started, for a reason that is not the guest's.
    pub(super) fn fail(&mut self, number: u32, words: &str) {
        self.on(number, Input::Unstartable(words.into()));
    }
}

#[cfg(test)]
mod tests;
