//! The start of a container step by step.

use serde_json::{Value, json};

/// When what happened, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Default)]
pub struct Timeline {
    steps: Vec<(String, u64)>,
}

impl Timeline {
    /// A time line that begins now, or earlier.
    pub fn new(step: &str, at: u64) -> Self {
        Self {
            steps: vec![(step.into(), at)],
        }
    }

    /// Notes a step that has just been done.
    pub fn mark(&mut self, step: &str) {
        self.insert(step, coracle_platform::clock::now());
    }

    /// Notes a step that was done at a time that is known.
    pub fn insert(&mut self, step: &str, at: u64) {
        self.steps.push((step.into(), at));
    }

    /// Steps in order, as milliseconds since the first one.
    pub fn sorted(&self) -> Vec<(&str, f64)> {
        let mut steps: Vec<_> = self
            .steps
            .iter()
            .map(|(step, at)| (step.as_str(), *at))
            .collect();
        steps.sort_by_key(|(_, at)| *at);
        let first = steps.first().map_or(0, |(_, at)| *at);
        #[expect(
            clippy::cast_precision_loss,
            reason = "two decimals of a millisecond are shown"
        )]
        let milliseconds = |at: u64| (at - first) as f64 / 1e6;
        steps
            .into_iter()
            .map(|(step, at)| (step, milliseconds(at)))
            .collect()
    }

    /// When the first step was, in nanoseconds of `CLOCK_MONOTONIC`: joins it to what others saw.
    pub fn began(&self) -> u64 {
        self.steps.iter().map(|(_, at)| *at).min().unwrap_or(0)
    }

    /// The steps as JSON: a list of `{"step": …, "ms": …}`.
    pub fn json(&self) -> Value {
        let steps = self.sorted();
        steps
            .into_iter()
            .map(|(step, at)| json!({"step": step, "ms": at}))
            .collect()
    }
}
