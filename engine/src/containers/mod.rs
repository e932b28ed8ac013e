//! Containers, from their creation to their removal: one file for each thing that a front does with them.
//!
//! A container's process is looked after by a keeper, which any front reaches. What is asked of it is answered by a value
//! that says what may follow:
//!
//! - [`Container::start`], [`attach`](Container::attach) and [`exec`](Container::exec) give an [`Attachment`]: a link
//!   that is a descriptor, on which streams come as descriptors, and then the end.
//! - [`Container::stop`] and [`kill`](Container::kill) give an [`Ending`]: ask several, and then wait for each.
//! - [`Container::wait`] gives a [`Waiter`], [`logs`](Container::logs) gives [`Logs`]: both have a descriptor for who
//!   waits for other things, too, and a call that waits for who does not.
//!
//! What cannot be done is an [`Error`](crate::Error) of a [kind](crate::ErrorKind), in words for a person.

mod attach;
mod attachment;
pub(crate) mod copy;
mod create;
mod diff;
mod exec;
mod keeper;
mod kill;
mod logs;
mod memory;
pub mod network;
mod pause;
mod policies;
mod refuse;
mod remove;
mod rename;
mod restart;
mod size;
mod start;
mod stats;
mod stop;
mod tool;
mod top;
pub mod values;
mod wait;

pub use attach::AttachOptions;
pub use attachment::{Attachment, Ended, Event, Exit};
pub use copy::CopyOptions;
pub use diff::{Change, ChangeKind};
pub use exec::{ExecRequest, ExecState, ExecStreams};
pub use logs::{LogOptions, Logs, Next};
pub use remove::RemoveOptions;
pub use restart::Restarting;
pub use size::Size;
pub use start::StartOptions;
pub use stats::Usage;
pub use stop::{Ending, StopOptions};
pub use top::Process;
pub use wait::{Outcome, WaitCondition, Waiter};

use crate::{
    Engine, Result,
    state::container::{self, Config, State},
};

pub use crate::state::container::{
    CreateRequest, Device, Endpoint, Healthcheck, HostConfig, LogConfig, Mount, PortBinding,
    PullPolicy, RestartPolicy, Ulimit,
};

/// The containers of one user.
#[derive(Debug, Clone)]
pub struct Containers {
    pub(crate) engine: Engine,
    pub(crate) records: container::Containers,
}

/// A container: what was asked for, and the way to everything else about it.
#[derive(Debug, Clone)]
pub struct Container {
    pub(crate) engine: Engine,
    pub(crate) record: container::Container,
}

impl Containers {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
            records: container::Containers::new(&engine.directories),
        }
    }

    /// The container of a name, an ID, or the beginning of an ID.
    ///
    /// # Errors
    /// When there is none, or when several IDs begin so.
    pub fn find(&self, name: &str) -> Result<Container> {
        Ok(self.with(self.records.find(name)?))
    }

    /// All containers, the newest first.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn list(&self) -> Result<Vec<Container>> {
        let records = self.records.list()?.into_iter();
        Ok(records.map(|record| self.with(record)).collect())
    }

    /// The container of a record.
    pub fn with(&self, record: container::Container) -> Container {
        Container {
            engine: self.engine.clone(),
            record,
        }
    }
}

impl Container {
    /// 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.record.config.id
    }

    /// Its name, without a slash.
    pub fn name(&self) -> &str {
        &self.record.config.name
    }

    /// What was asked for.
    pub fn config(&self) -> &Config {
        &self.record.config
    }

    /// What became of it. A container whose keeper died is put right first.
    ///
    /// # Errors
    /// When it was removed meanwhile.
    pub fn state(&self) -> Result<State> {
        Ok(self.record.state()?)
    }

    /// The engine that it was found by.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its record on disk.
    pub fn record(&self) -> &container::Container {
        &self.record
    }
}

#[cfg(test)]
mod tests;
