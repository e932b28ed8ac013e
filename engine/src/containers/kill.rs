//! Signals for containers.

use contracts::keeper::Request;

use super::{Container, Ending, keeper::answer};
use crate::{ErrorKind, Kind, Result};

/// The signal that ends a process without asking it.
const SIGKILL: u8 = 9;

impl Container {
    /// Sends its first process a signal. SIGKILL ends the container, also one that is about to start again; wait for
    /// that with [`Ending::finish`].
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it does not run.
    pub fn kill(&self, signal: u8) -> Result<Ending> {
        if signal == SIGKILL {
            if !self.record.state()?.status.is_live() {
                return Err(self.not_running());
            }
            return self.kill_if_live();
        }
        let link = self.keeper()?;
        let request = Request::Signal {
            container: self.id().into(),
            signal,
        };
        link.send(&request, None).kind(ErrorKind::Unavailable)?;
        answer(&link)?;
        Ok(self.ending(None))
    }

    /// Kills it, if it runs.
    pub(super) fn kill_if_live(&self) -> Result<Ending> {
        self.end(&Request::Signal {
            container: self.id().into(),
            signal: SIGKILL,
        })
    }
}

/// Kills those of some containers that run, all at once, and waits until they have ended. What cannot be killed is
/// seen when it is removed.
pub(crate) fn kill_all<'a>(containers: impl IntoIterator<Item = &'a Container>) {
    let begun = containers.into_iter().map(Container::kill_if_live);
    let begun: Vec<Result<Ending>> = begun.collect();
    for ending in begun.into_iter().flatten() {
        let _ = ending.finish();
    }
}
