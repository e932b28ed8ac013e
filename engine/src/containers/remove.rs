//! Removing containers.

use super::{Container, Containers, Ending, kill::kill_all};
use crate::{Error, ErrorKind, Result, keeper::client, state::journal};

/// How a container is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it first, if it runs.
    pub force: bool,
}

impl Container {
    /// Removes it. With `force` it is no error when somebody else removes it meanwhile.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it runs and is not to be killed.
    pub fn remove(&self, options: RemoveOptions) -> Result<()> {
        match self.remove_now(options.force) {
            // Its keeper was as quick.
            Err(_) if options.force && self.is_gone() => Ok(()),
            done => done,
        }
    }

    /// Whether its record is no more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.record.directory().try_exists(), Ok(false))
    }

    fn remove_now(&self, force: bool) -> Result<()> {
        let _edit = self.record.edit()?;
        let state = self.record.state()?;
        if state.status.is_live() {
            if !force {
                let name = self.name();
                let words = format!(
                    "cannot remove container {name}: it is {}; stop it first ('coracle stop {name}'), or \
                     use --force",
                    state.status.word()
                );
                return Err(Error::new(ErrorKind::Conflict, words));
            }
            // A keeper that is gone already is what is wanted.
            let _ = self.kill_if_live().and_then(Ending::finish);
        } else {
            client::release(&self.record, &self.engine.directories)?;
        }
        if self.is_gone() {
            // Its keeper removed it, as it was told when it was made.
            return Ok(());
        }
        let lock = self.record.keeper_lock()?;
        let engine = &self.engine;
        engine.containers().records.remove(&self.record, &lock)?;
        journal::note(&engine.directories.data, self.config(), "destroy", &[]);
        Ok(())
    }
}

impl Containers {
    /// Removes the containers that are meant and do not run; the IDs of those that are removed. What cannot be removed
    /// is told to `failed`.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn prune(
        &self,
        is_meant: impl Fn(&Container) -> bool,
        mut failed: impl FnMut(Error),
    ) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for container in self.list()? {
            let Ok(state) = container.state() else {
                continue;
            };
            if state.status.is_live() || !is_meant(&container) {
                continue;
            }
            match container.remove(RemoveOptions::default()) {
                Ok(()) => removed.push(container.id().into()),
                Err(error) => failed(error),
            }
        }
        Ok(removed)
    }

    /// Kills those of some containers that run, all at once, before they are removed with
    /// [`force`](RemoveOptions::force). What cannot be killed is told then.
    pub fn kill_all<'a>(&self, containers: impl IntoIterator<Item = &'a Container>) {
        kill_all(containers);
    }
}
