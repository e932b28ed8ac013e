//! What was measured, as it is written to files and read from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the form; one that is read must have the same.
pub(crate) const VERSION: u32 = 1;

/// A whole measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) version: u32,
    /// Seconds since 1970.
    pub(crate) taken: u64,
    /// Where: processor, kernels, settings.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    /// Starts that were not counted, of each system.
    pub(crate) warmup: u32,
    pub(crate) systems: Vec<System>,
    /// Systems that were not measured, and why.
    pub(crate) absent: BTreeMap<String, String>,
}

/// What was measured of a system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct System {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) release: String,
    /// Each start, in order.
    pub(crate) starts: Vec<Vec<Event>>,
    /// Each step, over all starts; those that were in every start.
    pub(crate) steps: Vec<Step>,
    /// From the command's start to its end.
    pub(crate) total: Summary,
    pub(crate) answers: Option<Answers>,
}

/// When something happened in a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) step: String,
    /// Milliseconds since the command was started.
    pub(crate) ms: f64,
}

/// What a step took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) step: String,
    pub(crate) took: Summary,
}

/// Milliseconds over several starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
    /// Standard deviation.
    pub(crate) spread: f64,
}

/// "VM or container?": what was seen from inside of one, and weighed from outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// Bytes on the disk, by what for.
    pub(crate) disk: BTreeMap<String, u64>,
    /// Bytes that one more idle container adds: proportional set sizes of all processes, a guest's memory
    /// among them. None where they are out of sight.
    pub(crate) memory: Option<u64>,
    /// Bytes by which the memory that the machine can give out became less.
    pub(crate) available: Option<u64>,
    /// Of the kernel that the container sees.
    pub(crate) kernel: String,
    /// Its kernel is that of the machine.
    pub(crate) shares_kernel: Option<bool>,
    /// What of the machine can be seen from inside, and how much.
    pub(crate) visible: BTreeMap<String, String>,
}
