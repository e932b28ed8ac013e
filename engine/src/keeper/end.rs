//! The end of a container's life in its keeper, and of its machine.

use std::time::{Duration, Instant};

use anyhow::Result;
use contracts::guest::{ExitStatus, HostMessage};
use contracts::keeper::Event;

use super::{
    Deadline, Keeper,
    health::Probe,
    phase::{End, KILL_TIMEOUT, Phase, SIGKILL},
    restart,
};
use coracle_platform::clock;

/// How long output of a container that has ended may be on its way, where no client is slow.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Keeper {
    pub(super) fn ended(&mut self, number: u32, end: End) {
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.deadline = Some((Instant::now() + DRAIN_TIMEOUT, Deadline::Force));
            kept.streams.end_input();
            if !end.error.is_empty() {
                // It may never have been connected.
                kept.streams.release();
            }
            kept.phase = Phase::Draining(end);
            kept.probe = Probe::Off;
        }
    }

    /// Kills a container's processes; its output is still read.
    pub(super) fn kill(&mut self, number: u32) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        if !matches!(kept.phase, Phase::Running) {
            self.abandon(number);
            return;
        }
        kept.deadline = Some((Instant::now() + KILL_TIMEOUT, Deadline::Force));
        let id = kept.record.config.id.clone();
        self.journal(number, "kill", &[("signal", SIGKILL.to_string())]);
        self.say(&HostMessage::Signal {
            id,
            signal: SIGKILL,
        });
    }

    /// Ends a container by force: its host goes away.
    pub(super) fn force(&mut self, number: u32) {
        match self.kept.get(&number).map(|kept| &kept.phase) {
            Some(Phase::Held) => return,
            Some(Phase::Waiting | Phase::Draining(_)) | None => {
                if let Some(kept) = self.kept.get_mut(&number) {
                    kept.streams.release();
                }
                return;
            }
            Some(_) => {}
        }
        if let Some(named) = &mut self.named {
            named.expect_late_news();
        }
        let code = ExitStatus::Signal(SIGKILL).code();
        self.ended(
            number,
            End {
                code,
                ..End::default()
            },
        );
        if let Some(kept) = self.kept.get_mut(&number) {
            // What it wrote and nobody has read yet goes with it.
            kept.streams.release();
        }
    }

    /// The machine is gone, for a reason that nobody asked for.
    pub(super) fn lost(&mut self, error: &anyhow::Error) {
        let words = format!("{error:#}");
        let all: Vec<u32> = self.kept.keys().copied().collect();
        for number in all {
            match self.kept.get(&number).map(|kept| &kept.phase) {
                // It may end by itself once its container has.
                Some(Phase::Draining(_) | Phase::Waiting) | None => {}
                Some(Phase::Held) => continue,
                Some(_) => self.ended(
                    number,
                    End {
                        code: 125,
                        error: words.clone(),
                        ..End::default()
                    },
                ),
            }
            if let Some(kept) = self.kept.get_mut(&number) {
                kept.streams.release();
            }
        }
        if let Some(machine) = &mut self.machine {
            machine.guest = None;
        }
        self.host_is_lost(&words);
    }

    /// A container does not end although it should have.
    pub(super) fn overdue(&mut self, number: u32) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        if matches!(kept.phase, Phase::Draining(_)) && kept.streams.is_held_back() {
            // Its output goes as slowly as its reader wants.
            kept.deadline = Some((Instant::now() + DRAIN_TIMEOUT, Deadline::Force));
            return;
        }
        self.force(number);
    }

    /// Ends what has been drained.
    pub(super) fn settle(&mut self) -> Result<()> {
        let all: Vec<u32> = self.kept.keys().copied().collect();
        for number in all {
            let Some(kept) = self.kept.get_mut(&number) else {
                continue;
            };
            if !kept.streams.drained() {
                continue;
            }
            match std::mem::replace(&mut kept.phase, Phase::Waiting) {
                Phase::Draining(end) => self.finish(number, end),
                phase => kept.phase = phase,
            }
        }
        Ok(())
    }

    fn finish(&mut self, number: u32, end: End) {
        if self.named.is_none() {
            self.end_machine();
        }
        self.end_sessions(number);
        self.give_back_layers(number);
        self.release_network(number);
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        if let Some(at) = kept.streams.first_byte {
            let step = "first byte of output".into();
            kept.timeline.push((step, at));
        }
        kept.streams.release();
        kept.deadline = None;
        let never_ran = kept.state.pid == 0;
        let told_of_memory = kept.state.oom;
        end.write_down(&mut kept.state, clock::wall());
        kept.explain(end.damaged);
        let policy = kept.record.config.restart;
        let mut pause =
            restart::pause_before_restart(policy, &kept.state, never_ran, kept.stopping);
        if pause.is_some()
            && self.in_software_host
            && coracle_software_host::was_stopped(&self.directories)
        {
            pause = None;
            kept.state.error = restart::HOST_STOPPED.into();
        }
        let restart = pause.is_some();
        let exit_code = [("exitCode", end.code.to_string())];
        if end.oom && !told_of_memory {
            self.journal(number, "oom", &[]);
        }
        self.journal(number, "die", &exit_code);
        if self.kept.get(&number).is_some_and(|kept| kept.stop_asked) {
            self.journal(number, "stop", &[]);
        }
        if let Some(pause) = pause {
            self.restart_after(number, pause);
        }
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        kept.save();
        let event = if end.error.is_empty() {
            Event::Exited(self.exit_of(kept))
        } else {
            Event::Failed {
                message: end.error,
                code: end.code,
            }
        };
        if !restart {
            self.let_go(number);
        }
        self.tell_end(number, &event, restart);
        if !restart {
            self.gone(number);
        }
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
