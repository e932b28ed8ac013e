//! When what happened, for the report.

use rustix::time::{ClockId, clock_gettime};

/// Steps and their times.
#[derive(Debug, Default)]
pub struct Timeline {
    steps: Vec<(String, u64)>,
}

impl Timeline {
    /// Notes a step that has just been done.
    pub fn mark(&mut self, step: &str) {
        self.insert(step, now());
    }

    /// Notes a step that was done at a time that is known.
    pub fn insert(&mut self, step: &str, at: u64) {
        self.steps.push((step.into(), at));
    }

    /// The steps, in order, with nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn into_steps(self) -> Vec<(String, u64)> {
        self.steps
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}
