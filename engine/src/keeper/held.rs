//! Containers that are held: clients wait for their start, or for their end, or are attached, and no machine is there
//! yet. Docker's clients attach to a container that they have created, and start it when they have.

use anyhow::Result;
use contracts::guest::Stdio;
use contracts::keeper::{Event, Until};

use super::{
    Keeper, Kept, Role,
    clients::{conflict, just_exited},
    health::Probe,
    life::{Life, Terms},
    prepare::{boots_own_kernel, prepare},
    streams::Streams,
};
use crate::kernel::{self, Unobserved};
use crate::state::{container::Container, files::Lock};
use crate::{Error, ErrorKind};

impl Keeper {
    /// Takes a container over that does not run, and starts it when somebody asks for it.
    pub(super) fn hold(&mut self, record: Container, lock: Lock) -> Result<u32> {
        let number = self.new_number();
        let terms = Terms::of(&record.config, self.named.is_none());
        let kept = Kept {
            layers: Vec::new(),
            state: record.state()?,
            record,
            life: Life::held(terms),
            streams: Streams::new(Stdio::default(), false, None),
            timeline: Vec::new(),
            warnings: Vec::new(),
            probe: Probe::Off,
            health_saved: None,
            health_is_unsaved: false,
            probes: crate::state::container::Probes::default(),
            lock,
        };
        self.kept.insert(number, kept);
        if let Err(error) = self.open_streams(number) {
            self.kept.remove(&number);
            return Err(error);
        }
        Ok(number)
    }

    /// A client wants a container to be kept, whether it runs or not.
    pub(super) fn hold_for(&mut self, client: u64, id: &str) -> Result<()> {
        let number = match self.number_of(id) {
            Some(number) => number,
            None => {
                let (record, lock) = self.of_host(id)?;
                self.hold(record, lock)?
            }
        };
        self.set_role(client, Role::Holding { number });
        self.tell(client, &Event::Done);
        Ok(())
    }

    /// The container of this identifier, if it is held.
    pub(super) fn held(&self, id: &str) -> Option<u32> {
        let number = self.number_of(id)?;
        self.is_held(number).then_some(number)
    }

    pub(super) fn is_held(&self, number: u32) -> bool {
        let kept = self.kept.get(&number);
        kept.is_some_and(|kept| kept.life.is_held())
    }

    /// Starts a container that is held, in a machine of its own or in the host. It stays held when it cannot be.
    pub(super) fn start_held(&mut self, number: u32) -> Result<()> {
        let Some(kept) = self.kept.get_mut(&number) else {
            return Ok(());
        };
        // It may have been renamed, or else changed, since it is held.
        let id = kept.record.config.id.clone();
        kept.record = self.containers.open(&id)?;
        let terms = Terms::of(&kept.record.config, self.named.is_none());
        kept.life.renew(terms);
        if self.named.is_some() {
            return self.begin(number);
        }
        // Whoever starts it has seen to that: to build one here would keep all clients waiting for minutes.
        let cache = &self.directories.cache;
        if boots_own_kernel(&kept.record.config) && kernel::path(cache).is_none() {
            let words = "the guest kernel is not built; 'coracle kernel build' builds it";
            return Err(Error::new(ErrorKind::Unavailable, words).into());
        }
        let prepared = prepare(&kept.record.config, &self.directories, &mut Unobserved)?;
        self.begin(number)?;
        self.boot(prepared);
        Ok(())
    }

    /// Lets go of a container that is to be removed, and tells all who waited for it.
    pub(super) fn release_for(&mut self, client: u64, id: &str) -> Result<()> {
        match self.number_of(id) {
            Some(number) if self.is_held(number) => {
                let name = self.kept.get(&number).map(|kept| &kept.record.config.name);
                let name = name.map_or("", |name| name.as_str());
                self.let_holders_go(number, &format!("container {name} was removed"));
            }
            Some(_) => return Err(conflict("the container is running")),
            None => {}
        }
        self.tell(client, &Event::Done);
        Ok(())
    }

    /// Lets go of a container that is held, with all who hold it, who are told why.
    pub(super) fn let_holders_go(&mut self, number: u32, why: &str) {
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        let exited = Event::Exited(self.exit_of(kept));
        let failed = Event::Failed {
            message: why.into(),
            code: 125,
        };
        for (client, role) in self.clients_of(number) {
            let waits = matches!(role, Role::Waiting { .. });
            self.tell(client, if waits { &exited } else { &failed });
            self.set_role(client, Role::New);
            self.drop_client(client, true);
        }
        self.let_go_of_held(number);
    }

    /// Lets go of all that is held, and tells those who hold it why.
    pub(super) fn let_all_holders_go(&mut self, why: &str) {
        let all = self.kept.keys().copied();
        let held: Vec<u32> = all.filter(|number| self.is_held(*number)).collect();
        for number in held {
            self.let_holders_go(number, why);
        }
    }

    /// Lets go of what no client wants any more: all who held it are gone, or want something else.
    pub(super) fn let_go_of_unwanted(&mut self) {
        let all: Vec<u32> = self.kept.keys().copied().collect();
        for number in all {
            if self.is_held(number) && self.clients_of(number).is_empty() {
                self.let_go_of_held(number);
            }
        }
    }

    fn let_go_of_held(&mut self, number: u32) {
        if self.named.is_none() {
            // While the lock is held: the next keeper listens at the same place.
            let _ = std::fs::remove_file(&self.socket);
        }
        self.gone(number);
    }

    /// The clients that have to do with a container, in the order in which they came.
    pub(super) fn clients_of(&self, number: u32) -> Vec<(u64, Role)> {
        let all = self.clients.iter();
        let all = all.filter(|(_, client)| client.role.container() == Some(number));
        all.map(|(client, own)| (*client, own.role)).collect()
    }

    /// A client waits for something of a container.
    pub(super) fn wait_for(&mut self, client: u64, id: &str, until: Until) -> Result<()> {
        let number = self.number_of(id);
        let number = number.ok_or_else(just_exited)?;
        let before = self.role(client);
        self.set_role(client, Role::Waiting { number, until });
        if until == Until::NotRunning
            && self.is_held(number)
            && let Some(kept) = self.kept.get(&number)
        {
            let exited = Event::Exited(self.exit_of(kept));
            self.tell(client, &exited);
            self.set_role(client, before.unwrap_or(Role::New));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
