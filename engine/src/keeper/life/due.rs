//! What is due in a container's life.

use std::time::{Duration, Instant};

use super::{Due, Effect, Life, Now, Output, Stage, Word, asked::said};
use crate::keeper::{
    execs::{FAILED, NO_OUTPUT},
    phase::{KILL_TIMEOUT, SIGKILL},
};
use crate::state::container::{State, Status};

/// How long output of a container that has ended may be on its way, where no client is slow.
pub(in crate::keeper) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Life {
    /// When something is due.
    pub(in crate::keeper) fn next(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Held | Stage::Drained(_) => None,
            Stage::Booting { until, .. } => *until,
            Stage::Starting {
                due, interrupted, ..
            }
            | Stage::Running {
                due, interrupted, ..
            } => {
                let due = due.map(|(at, _)| at);
                due.into_iter().chain(interrupted.map(|(at, _)| at)).min()
            }
            Stage::Draining { until, .. } | Stage::Waiting { until } => Some(*until),
        }
    }

    pub(super) fn due(&mut self, output: Output, state: &mut State, now: Now) -> Vec<Effect> {
        let mut effects = self.interrupt_again(now);
        let is_due = |at: Instant| at <= now.instant;
        match &mut self.stage {
            Stage::Booting { until, .. } if until.is_some_and(is_due) => {
                *until = None;
                effects.push(Effect::Silent { ran: false });
            }
            Stage::Starting { due, .. } | Stage::Running { due, .. } => {
                if let Some((_, due)) = due.take_if(|(at, _)| is_due(*at)) {
                    effects.extend(self.is_due(due, now));
                }
            }
            Stage::Draining { until, .. } if is_due(*until) => {
                *until = now.instant + DRAIN_TIMEOUT;
                effects.extend(self.give_up_output(output));
            }
            Stage::Waiting { until } if is_due(*until) => match self.asked.to_end {
                true => effects.extend(self.stay_ended(state)),
                false => effects.push(Effect::StartAgain),
            },
            _ => {}
        }
        effects
    }

    fn is_due(&mut self, due: Due, now: Now) -> Vec<Effect> {
        match due {
            Due::Kill => self.kill(now),
            Due::Timeout => {
                let effects = self.kill(now);
                self.asked.timed_out = true;
                effects
            }
            Due::Force => self.force(now),
            Due::Silent => vec![Effect::Silent {
                ran: self.is_running(),
            }],
        }
    }

    /// Its processes are killed; its output is still read.
    fn kill(&mut self, now: Now) -> Vec<Effect> {
        match &mut self.stage {
            Stage::Running { due, .. } => {
                *due = Some((now.instant + KILL_TIMEOUT, Due::Force));
                said(SIGKILL)
            }
            _ => self.owner_gone(now),
        }
    }

    /// What has neither ended by an interrupt nor handles it has had its time.
    fn interrupt_again(&mut self, now: Now) -> Vec<Effect> {
        let runs = self.is_running();
        let (Stage::Starting { interrupted, .. } | Stage::Running { interrupted, .. }) =
            &mut self.stage
        else {
            return Vec::new();
        };
        let due = interrupted.take_if(|(at, _)| *at <= now.instant);
        let due = due.filter(|_| runs).map(|(_, signal)| Word::Interrupt {
            signal,
            again: true,
        });
        due.map(Effect::Send).into_iter().collect()
    }

    /// Its output should have been read by now.
    fn give_up_output(&mut self, output: Output) -> Vec<Effect> {
        if output.held_back {
            // It goes as slowly as its reader wants.
            return Vec::new();
        }
        if let Stage::Draining { end, .. } = &mut self.stage
            && output.missing
            && end.error.is_empty()
        {
            // It must not seem to have ended well without any.
            end.code = FAILED;
            end.error = NO_OUTPUT.into();
        }
        vec![Effect::Release]
    }

    /// It was stopped while it waited.
    fn stay_ended(&mut self, state: &mut State) -> Vec<Effect> {
        state.status = Status::Exited;
        let mut effects = vec![Effect::Save];
        if self.asked.to_stop {
            effects.push(Effect::Note("stop", None));
        }
        effects.push(Effect::LetGo);
        effects.push(Effect::ReportEnd {
            failed: None,
            restarts: false,
        });
        effects.push(Effect::Forget);
        effects
    }

    pub(super) fn hindered(&mut self, why: &str, state: &mut State) -> Vec<Effect> {
        match self.stage {
            Stage::Waiting { .. } => {
                state.error = why.into();
                self.stay_ended(state)
            }
            _ => Vec::new(),
        }
    }

    /// All that is due some time is due then.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(in crate::keeper) fn hurry(&mut self, to: Instant) {
        match &mut self.stage {
            Stage::Held | Stage::Drained(_) => {}
            Stage::Booting { until, .. } => *until = until.map(|_| to),
            Stage::Starting { due, .. } | Stage::Running { due, .. } => {
                *due = due.map(|(_, due)| (to, due));
            }
            Stage::Draining { until, .. } | Stage::Waiting { until } => *until = to,
        }
    }
}
