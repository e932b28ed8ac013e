//! Stopping all processes of a container where they are.

use contracts::keeper::Request;

use super::{Container, keeper::answer};
use crate::{ErrorKind, Kind, Result};

impl Container {
    /// Stops all of its processes where they are, until [`unpause`](Self::unpause).
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it does not run, or is paused.
    pub fn pause(&self) -> Result<()> {
        self.set_paused(true)
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it does not run, or is not paused.
    pub fn unpause(&self) -> Result<()> {
        self.set_paused(false)
    }

    fn set_paused(&self, paused: bool) -> Result<()> {
        let link = self.keeper()?;
        let request = Request::Pause {
            container: self.id().into(),
            paused,
        };
        link.send(&request, None).kind(ErrorKind::Unavailable)?;
        answer(&link).map(drop)
    }
}
