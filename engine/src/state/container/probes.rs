//! The last runs of a container's health command. They have a file of their own: lists read the state, and its
//! keeper replaces that for a change of health alone.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Container;
use crate::state::files::{read, write};

/// As many are kept, as docker keeps.
pub const MAX_PROBES: usize = 5;

/// Most bytes of what one wrote, as docker's; more is cut off.
pub const MAX_PROBE_OUTPUT: usize = 4096;

const FILE: &str = "health.json";

/// A run of a health command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended, in nanoseconds since 1970.
    pub end: u64,
    /// Its exit code; -1 where it did not start, or took too long.
    pub exit_code: i32,
    /// What it wrote, and why it did not start or was ended.
    pub output: String,
}

/// The last ones of one life of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// When that life began, as its state has it.
    started: u64,
    /// The oldest first.
    last: Vec<ProbeResult>,
}

impl Probes {
    /// Adds one of a life, and forgets those of an earlier one.
    pub fn add(&mut self, started: u64, result: ProbeResult) {
        if self.started != started {
            *self = Self {
                started,
                last: Vec::new(),
            };
        }
        if self.last.len() >= MAX_PROBES {
            self.last.remove(0);
        }
        self.last.push(result);
    }
}

impl Container {
    /// Writes them down.
    ///
    /// # Errors
    /// As `write(2)` and `rename(2)`.
    pub fn save_probes(&self, probes: &Probes) -> Result<()> {
        write(&self.directory.join(FILE), probes)
    }

    /// Those of the life that began then, the oldest first; nothing where none is known.
    pub fn probes(&self, started: u64) -> Vec<ProbeResult> {
        let read: Option<Probes> = read(&self.directory.join(FILE)).ok();
        let own = read.filter(|probes| probes.started == started);
        own.map(|probes| probes.last).unwrap_or_default()
    }
}
