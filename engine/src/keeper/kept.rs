//! What a keeper writes down of a container.

use super::{Kept, phase::run};
use coracle_platform::clock;

impl Kept {
    /// It runs from here on, as far as others have to know.
    pub(super) fn begin(&mut self) {
        self.state.pid = 0;
        run(&mut self.state, clock::wall());
    }

    /// Writes the state down. The loop goes on without it where the disk is full.
    pub(super) fn save(&self) {
        if let Err(error) = self.record.save(&self.state) {
            log::warn!("{error:#}");
        }
    }
}
