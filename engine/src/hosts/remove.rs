//! Removing hosts.

use super::Host;
use crate::{
    Error, ErrorKind, Result,
    containers::RemoveOptions,
    state::{disk, host::Status},
};

impl Host {
    /// Removes it; with `force` also one that is up, and its containers with it.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it is up or has containers, and `force` is not given; or when another
    /// release has written a container of which this one cannot tell whose it is.
    pub fn remove(&self, force: bool) -> Result<()> {
        let _edit = self.record.edit()?;
        let name = self.name();
        let up = self.record.state()?.status == Status::Running;
        // One that another release has written may be the host's, and would have none any more.
        let mut own = self.engine.containers().records.list_all()?;
        own.retain(|container| container.config.host.as_deref() == Some(self.id()));
        let conflict = |words: String| Err(Error::new(ErrorKind::Conflict, words));
        if !force && up {
            return conflict(format!(
                "cannot remove host {name}: it is running; stop it first ('coracle host stop {name}'), or \
                 use --force"
            ));
        }
        if !force && !own.is_empty() {
            return conflict(format!(
                "cannot remove host {name}: it has {} containers ('coracle ps -a --filter host={name}'); \
                 remove them first, or use --force",
                own.len()
            ));
        }
        self.stop(Some(0))?.finish();
        for record in own {
            if record.directory().is_dir() {
                let container = self.engine.containers().with(record);
                container.remove(RemoveOptions { force: true })?;
            }
        }
        let lock = self.record.keeper_lock()?;
        // A keeper that was killed could not.
        disk::remove_of_host(&self.engine.directories.data, name);
        Ok(self.engine.hosts().records.remove(&self.record, &lock)?)
    }
}
