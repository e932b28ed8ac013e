//! Named hosts: microVMs that stay up and hold many containers.

mod create;
mod list;
mod remove;
mod start;
mod stop;

pub use create::HostRequest;
pub use list::Listed;
pub use stop::HostEnding;

use packets::Socket;

use crate::{
    Engine, Error, ErrorKind, Kind, Result, keeper,
    state::host::{self, Config, State, Status},
};

/// The named hosts of one user.
#[derive(Debug, Clone)]
pub struct Hosts {
    pub(crate) engine: Engine,
    pub(crate) records: host::Hosts,
}

/// A named host.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) engine: Engine,
    pub(crate) record: host::Host,
}

impl Hosts {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            records: host::Hosts::new(&engine.directories),
        }
    }

    /// The host of a name, an ID, or the beginning of an ID.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is none, [`Invalid`](ErrorKind::Invalid) when several IDs begin
    /// so.
    pub fn find(&self, name: &str) -> Result<Host> {
        Ok(self.with(self.records.find(name)?))
    }

    /// All hosts, by name.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn list(&self) -> Result<Vec<Host>> {
        let records = self.records.list()?.into_iter();
        Ok(records.map(|record| self.with(record)).collect())
    }

    fn with(&self, record: host::Host) -> Host {
        Host {
            engine: self.engine.clone(),
            record,
        }
    }
}

impl Host {
    /// 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.record.config.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.record.config.name
    }

    /// What was asked for.
    pub fn config(&self) -> &Config {
        &self.record.config
    }

    /// What became of it. A host whose keeper died is put right first.
    ///
    /// # Errors
    /// When it was removed meanwhile.
    pub fn state(&self) -> Result<State> {
        Ok(self.record.state()?)
    }

    /// Its record on disk.
    pub fn record(&self) -> &host::Host {
        &self.record
    }

    /// Checks that it is up.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it is not.
    pub fn check_up(&self) -> Result<()> {
        self.keeper().map(drop)
    }

    /// A connection to its keeper.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it is not up.
    pub(crate) fn keeper(&self) -> Result<Socket> {
        let state = self.record.state()?;
        let link = match state.status {
            Status::Running => {
                keeper::connect(&state.socket, state.wire).kind(ErrorKind::Unavailable)?
            }
            Status::Created | Status::Exited => None,
        };
        let name = self.name();
        link.ok_or_else(|| {
            let words = format!("host {name} is not up; 'coracle host start {name}' starts it");
            Error::new(ErrorKind::Conflict, words)
        })
    }
}
