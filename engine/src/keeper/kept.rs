//! What a keeper writes down of a container.

use super::Kept;
use crate::state::container::Status;
use coracle_platform::clock;

impl Kept {
    /// It runs from here on, as far as others have to know.
    pub(super) fn begin(&mut self) {
        self.state.pid = 0;
        self.runs();
    }

    /// It runs, and has not ended in any way yet.
    pub(super) fn runs(&mut self) {
        let state = &mut self.state;
        state.status = Status::Running;
        state.started = clock::wall();
        state.exit_code = 0;
        state.oom = false;
        state.error.clear();
    }

    /// Writes the state down. The loop goes on without it where the disk is full.
    pub(super) fn save(&self) {
        if let Err(error) = self.record.save(&self.state) {
            log::warn!("{error:#}");
        }
    }

    /// Notes what went wrong that the container could only see as an I/O error; its end was noted before.
    pub(super) fn explain(&mut self, damaged: bool) {
        if damaged {
            self.warnings.push(crate::damage(&self.record.config.image));
        }
        if self.state.error.is_empty() {
            self.state.error = self.warnings.join("; ");
        }
    }
}
