//! Starting hosts.

use anyhow::Context;

use super::Host;
use crate::{
    Error, ErrorKind, Kind, Result,
    containers::{Attachment, Event},
    keeper::{self, Prepared},
    kernel::Observer,
    state::{
        disk,
        host::{State, Status},
    },
};

impl Host {
    /// Starts it, unless it is up, and waits until its guest is; the containers whose restart policy says so follow.
    /// The observer hears of a guest kernel that has to be built first.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, observer: &mut dyn Observer) -> Result<()> {
        let _edit = self.record.edit()?;
        if self.record.state()?.status == Status::Running {
            return Ok(());
        }
        let config = &self.record.config;
        let prepared = keeper::prepare_host(
            config,
            &self.engine.directories,
            self.engine.launch.require_jail,
            observer,
        )?;
        self.boot(prepared)
    }

    /// Starts it while it is not up, and waits until its guest is.
    pub(super) fn boot(&self, prepared: Prepared) -> Result<()> {
        let directories = &self.engine.directories;
        let config = &self.record.config;
        if let Some(size) = config.disk {
            disk::create_for_host(&directories.data, (&config.name, &config.id), size)?;
        }
        let link = keeper::start_host(&self.record, prepared, directories, &self.engine.launch)?;
        let link = Attachment::new(link);
        link.until_taken()?;
        let event = link.next().context("lost connection to the host's keeper");
        match event.kind(ErrorKind::Unavailable)? {
            Some(Event::Started) => Ok(()),
            Some(Event::Failed { message, .. }) => {
                // It is gone with all that it had when this returns.
                drop(self.record.keeper_lock());
                let words = format!("host {}: {message}", config.name);
                Err(Error::new(ErrorKind::Internal, words))
            }
            _ => {
                let words = format!(
                    "the keeper of host {} ended while the host started; see {}",
                    config.name,
                    self.record.directory().join("keeper.log").display()
                );
                Err(Error::new(ErrorKind::Unavailable, words))
            }
        }
    }

    /// Whether it was up when the system ended.
    pub(crate) fn starts_with_system(&self) -> bool {
        self.record
            .state()
            .is_ok_and(|state| starts_with_system(&state))
    }
}

fn starts_with_system(state: &State) -> bool {
    state.status == Status::Exited && !state.stopped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_that_a_person_stopped_stays_down_when_the_system_starts() {
        let mut state = State {
            status: Status::Exited,
            ..State::new()
        };
        assert!(starts_with_system(&state));
        state.stopped = true;
        assert!(!starts_with_system(&state));
        assert!(!starts_with_system(&State::new()));
    }
}
