//! All containers and hosts, when the system starts and ends.

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Engine, Result, containers::Container, hosts::Host, keeper};

/// Containers and hosts that start or stop with the system.
#[derive(Debug, Default)]
pub struct Everything {
    /// Named hosts; their keepers look after their containers.
    pub hosts: Vec<Host>,
    /// Containers with hosts of their own.
    pub containers: Vec<Container>,
}

impl Engine {
    /// What is to be started with the system: the hosts that were up when it ended, and the containers whose restart
    /// policy says so. Those of a named host are started by its keeper.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn starts_with_system(&self) -> Result<Everything> {
        let mut containers = self.containers().list()?;
        containers.retain(|container| {
            let config = container.config();
            let wants = |state| keeper::wants_start(config.restart, &state);
            config.host.is_none() && container.record.state().is_ok_and(wants)
        });
        let mut hosts = self.hosts().list()?;
        hosts.retain(Host::starts_with_system);
        Ok(Everything { hosts, containers })
    }

    /// Asks everything that runs to stop; not as a person would, so that it starts again with the system. What cannot
    /// be asked is told to `warn`.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn stop_with_system(&self, mut warn: impl FnMut(String)) -> Result<Everything> {
        let mut containers = self.containers().list()?;
        containers.retain(|container| {
            let Ok(state) = container.record.state() else {
                return false;
            };
            // Those of a named host end with it.
            let stops = state.status.is_live() && container.config().host.is_none();
            if stops {
                // One that is gone already is what is wanted.
                let _ = terminate(state.keeper);
            }
            stops
        });
        let mut hosts = self.hosts().list()?;
        hosts.retain(|host| {
            let Ok(state) = host.record.state() else {
                return false;
            };
            if state.status != crate::state::host::Status::Running {
                return false;
            }
            let asked = terminate(state.keeper);
            if let Err(error) = &asked {
                warn(format!("cannot stop host {}: {error}", host.name()));
            }
            asked.is_ok()
        });
        Ok(Everything { hosts, containers })
    }
}

impl Container {
    /// Waits until no keeper looks after it.
    pub fn until_left(&self) {
        drop(self.record.keeper_lock());
    }
}

impl Host {
    /// Waits until no keeper looks after it.
    pub fn until_left(&self) {
        drop(self.record.keeper_lock());
    }
}

/// Asks a keeper to end, as the system does. Its lock is held, so the number is still its own.
fn terminate(keeper: u32) -> anyhow::Result<()> {
    let keeper = i32::try_from(keeper).ok().and_then(Pid::from_raw);
    let keeper = keeper.context("there is no keeper")?;
    Ok(kill_process(keeper, Signal::TERM)?)
}
