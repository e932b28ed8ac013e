//! What a person sees of an engine's reports: lines of a pull, and a time line's steps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_engine::{
    Timeline,
    progress::{Progress, Report},
};
use coracle_terminal::{
    output::{self, Stream},
    report,
};
use docker_model::pull;
use images::store::Progress as _;

use super::progress::Lines;

/// Shows reports on a stream, and notes steps.
pub(super) struct Told<'a> {
    stream: Stream,
    lines: Mutex<Option<Lines>>,
    timeline: Mutex<Option<&'a mut Timeline>>,
}

impl<'a> Told<'a> {
    /// On standard output for `pull`, whose result it is, and on standard error for `run`, whose standard output is the
    /// container's.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            lines: Mutex::new(None),
            timeline: Mutex::new(None),
        }
    }

    /// On standard error, and the steps in a time line.
    pub(super) fn noting(timeline: &'a mut Timeline) -> Self {
        Self {
            timeline: Mutex::new(Some(timeline)),
            ..Self::new(Stream::Error)
        }
    }

    fn lines(&self) -> MutexGuard<'_, Option<Lines>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, text: &str) {
        output::write_line(self.stream, text);
    }
}

impl Progress for Told<'_> {
    fn report(&self, report: Report<'_>) {
        match report {
            Report::Step(step) => {
                let mut timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(timeline) = &mut *timeline {
                    timeline.mark(step);
                }
            }
            Report::Warning(words) => report::warn(words),
            Report::Missing(name) => {
                errln!("Unable to find image '{}' locally", name.familiar());
            }
            Report::Pulling(name) => {
                self.say(&format!("{}: {}", pull::tag(name), pull::opening(name)));
                *self.lines() = Some(Lines::new(self.stream));
            }
            Report::Layers(event) => {
                if let Some(lines) = &*self.lines() {
                    lines.event(event);
                }
            }
            Report::LayersEnd => {
                if let Some(lines) = self.lines().take() {
                    lines.end();
                }
            }
            Report::Pulled {
                name,
                digest,
                newer,
            } => {
                for line in pull::closing(name, digest, newer) {
                    self.say(&line);
                }
            }
        }
    }
}
