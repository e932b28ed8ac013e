//! Stopping hosts.

use contracts::keeper::Request;

use super::Host;
use crate::{ErrorKind, Kind, Result, keeper, state::host::Status};

/// A host that was asked to end. Ask several, and then wait for each: they end at the same time.
#[derive(Debug)]
#[must_use = "the host may be up until `finish` returns"]
pub struct HostEnding {
    host: Host,
    was_up: bool,
}

impl Host {
    /// Asks it to stop with all of its containers, if it is up, within so many seconds for each; within the
    /// containers' own time otherwise.
    ///
    /// # Errors
    /// When its keeper cannot be reached.
    pub fn stop(&self, seconds: Option<u64>) -> Result<HostEnding> {
        let state = self.record.state()?;
        let was_up = state.status == Status::Running;
        if was_up
            && let Some(link) =
                keeper::connect(&state.socket, state.wire).kind(ErrorKind::Unavailable)?
        {
            // A keeper that is just ending is what is wanted.
            let _ = link.send(&Request::StopHost { seconds }, None);
        }
        let host = self.clone();
        Ok(HostEnding { host, was_up })
    }
}

impl HostEnding {
    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Waits until its keeper is gone; false when it was not up.
    pub fn finish(self) -> bool {
        if self.was_up {
            drop(self.host.record.keeper_lock());
        }
        self.was_up
    }
}
