//! Hosts with what is in them.

use std::collections::BTreeMap;

use super::{Host, Hosts};
use crate::{
    Result,
    containers::Container,
    state::{container::Summary, host::State},
};

/// A host as lists show it.
#[derive(Debug)]
pub struct Listed {
    /// The host.
    pub host: Host,
    /// What became of it.
    pub state: State,
    /// How many containers it has.
    pub containers: usize,
    /// How many of them run.
    pub running: usize,
}

impl Hosts {
    /// All hosts, by name, with the numbers of their containers. One that is removed just now is not listed.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn overview(&self) -> Result<Vec<Listed>> {
        let counts = counts(&self.engine.containers().records.summaries()?);
        let hosts = self.list()?.into_iter();
        let listed = hosts.filter_map(|host| {
            let state = host.state().ok()?;
            let (containers, running) = counts.get(host.id()).copied().unwrap_or_default();
            Some(Listed {
                host,
                state,
                containers,
                running,
            })
        });
        Ok(listed.collect())
    }
}

impl Host {
    /// Its containers, the newest first.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let mut all = self.engine.containers().list()?;
        all.retain(|container| container.config().host.as_deref() == Some(self.id()));
        Ok(all)
    }
}

/// How many containers of each host there are, and how many of them run.
fn counts(containers: &[Summary]) -> BTreeMap<String, (usize, usize)> {
    let mut counts = BTreeMap::new();
    for Summary { state, .. } in containers {
        if let Some(host) = &state.shown.host {
            let (all, running): &mut (usize, usize) = counts.entry(host.clone()).or_default();
            *all += 1;
            *running += usize::from(state.status.is_live());
        }
    }
    counts
}
