//! The start of a container step by step.

use serde_json::{Value, json};

/// When what happened, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    steps: Vec<(String, u64)>,
}

impl Timeline {
    /// A time line that begins now, or earlier.
    pub(crate) fn new(step: &str, at: u64) -> Self {
        Self {
            steps: vec![(step.into(), at)],
        }
    }

    /// Notes a step that has just been done.
    pub(crate) fn mark(&mut self, step: &str) {
        self.insert(step, crate::clock::now());
    }

    /// Notes a step that was done at a time that is known.
    pub(crate) fn insert(&mut self, step: &str, at: u64) {
        self.steps.push((step.into(), at));
    }

    /// Steps in order, as milliseconds since the first one.
    fn sorted(&self) -> Vec<(&str, f64)> {
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
    pub(crate) fn began(&self) -> u64 {
        self.steps.iter().map(|(_, at)| *at).min().unwrap_or(0)
    }

    /// Prints it on standard error: time since the start, time since the step before, step.
    pub(crate) fn print(&self) {
        errln!("{:>10} {:>10}  step", "ms", "+ms");
        let mut before = 0.0;
        for (step, at) in self.sorted() {
            errln!("{at:>10.2} {:>10.2}  {step}", at - before);
            before = at;
        }
    }

    /// The same as JSON: a list of `{"step": …, "ms": …}`.
    pub(crate) fn json(&self) -> Value {
        let steps = self.sorted();
        steps
            .into_iter()
            .map(|(step, at)| json!({"step": step, "ms": at}))
            .collect()
    }
}
