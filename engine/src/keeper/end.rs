//! The end of a container's life in its keeper, and of its machine.

use contracts::keeper::Event;

use super::{Keeper, life::Input};

impl Keeper {
    /// The machine is gone, for a reason that nobody asked for.
    pub(super) fn lost(&mut self, error: &anyhow::Error) {
        let words = format!("{error:#}");
        self.on_all(&Input::Lost(words.clone()));
        if let Some(machine) = &mut self.machine {
            machine.guest = None;
        }
        self.host_is_lost(&words);
    }

    /// Tells those who wait for a container how it ended, or why that is not known.
    pub(super) fn report_end(&mut self, number: u32, failed: Option<(String, u8)>, restarts: bool) {
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        let event = match failed {
            Some((message, code)) => Event::Failed { message, code },
            None => Event::Exited(self.exit_of(kept)),
        };
        self.tell_end(number, &event, restarts);
        // The next start has a time line of its own.
        if self.named.is_none() {
            self.timeline.clear();
        }
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.timeline.clear();
        }
    }

    /// A container is looked after no more.
    pub(super) fn gone(&mut self, number: u32) {
        self.kept.remove(&number);
        self.over = self.kept.is_empty() && self.named.as_ref().is_none_or(|named| named.ends);
    }

    /// Removes a container that is to be removed, while its lock is held.
    pub(super) fn let_go(&mut self, number: u32) {
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        if self.named.is_none() {
            let _ = std::fs::remove_file(&self.socket);
        }
        if kept.record.config.remove {
            // First, since its name goes with it.
            self.journal(number, "destroy", &[]);
            let removed = self.containers.remove(&kept.record, &kept.lock);
            if let Err(error) = removed {
                log::warn!("{error:#}");
            }
        }
    }

    /// Stops the machine and waits until it is gone.
    pub(super) fn end_machine(&mut self) {
        let Some(machine) = self.machine.take() else {
            return;
        };
        self.end_execs();
        let shares_clock = machine.host.shares_clock();
        let report = machine.host.finish();
        self.mark("host stopped, all freed");
        if let Some(report) = report {
            crate::merge(&mut self.timeline, &report, shares_clock);
            for kept in self.kept.values_mut() {
                kept.warnings
                    .extend(report.failures.iter().map(|words| crate::failure(words)));
            }
        }
    }
}
