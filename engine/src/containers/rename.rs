//! Other names for containers.

use contracts::keeper::Request;

use super::Container;
use crate::{Result, state::journal};

impl Container {
    /// Gives it another name; its neighbours know it by that at once.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the name is not one, [`Conflict`](crate::ErrorKind::Conflict) when
    /// it is in use.
    pub fn rename(&mut self, name: &str) -> Result<()> {
        let engine = &self.engine;
        engine.containers().records.rename(&mut self.record, name)?;
        journal::note(&engine.directories.data, self.config(), "rename", &[]);
        let container = self.id().into();
        // One that has just ended is known to nobody.
        let _ = self.ask(&Request::Rename { container });
        Ok(())
    }
}
