//! The end of a container's life, and whether another start follows.

use contracts::guest::ExitStatus;

use super::{Effect, Life, Now, Stage, Word, due::DRAIN_TIMEOUT};
use crate::keeper::{
    execs::FAILED,
    phase::{End, LackOfMemory, SIGKILL},
    restart,
};
use crate::state::container::{State, Status};

impl Life {
    pub(super) fn ended(&mut self, end: End, now: Now) -> Vec<Effect> {
        let mut effects = vec![Effect::EndInput];
        if !end.error.is_empty() {
            // It may never have been connected.
            effects.push(Effect::Release);
        }
        effects.push(Effect::Probe(false));
        let lack = match &mut self.stage {
            Stage::Running { lack, .. } => std::mem::take(lack),
            _ => LackOfMemory::default(),
        };
        self.stage = Stage::Draining {
            end,
            until: now.instant + DRAIN_TIMEOUT,
            lack,
        };
        effects
    }

    /// It ends by force: its host goes away, or goes on without it.
    pub(super) fn force(&mut self, now: Now) -> Vec<Effect> {
        match self.stage {
            Stage::Held => Vec::new(),
            Stage::Waiting { .. } | Stage::Draining { .. } | Stage::Drained(_) => {
                vec![Effect::Release]
            }
            Stage::Booting { .. } | Stage::Starting { .. } | Stage::Running { .. } => {
                let mut effects = vec![Effect::LateNews];
                let end = End {
                    code: ExitStatus::Signal(SIGKILL).code(),
                    ..End::default()
                };
                effects.extend(self.ended(end, now));
                // What it wrote and nobody has read yet goes with it.
                effects.push(Effect::Release);
                effects
            }
        }
    }

    pub(super) fn lost(&mut self, words: String, now: Now) -> Vec<Effect> {
        match self.stage {
            Stage::Held => Vec::new(),
            // It may end by itself once its container has.
            Stage::Waiting { .. } | Stage::Draining { .. } | Stage::Drained(_) => {
                vec![Effect::Release]
            }
            _ => self.unstartable(words, now),
        }
    }

    pub(super) fn given_up(&mut self, words: String, now: Now) -> Vec<Effect> {
        let mut effects = vec![Effect::Send(Word::Signal(SIGKILL)), Effect::LateNews];
        effects.extend(self.unstartable(words, now));
        effects
    }

    pub(super) fn unstartable(&mut self, words: String, now: Now) -> Vec<Effect> {
        match self.stage {
            Stage::Held | Stage::Draining { .. } | Stage::Drained(_) => Vec::new(),
            _ => self.ended(
                End {
                    code: FAILED,
                    error: words,
                    ..End::default()
                },
                now,
            ),
        }
    }

    pub(super) fn output_read(&mut self) -> Vec<Effect> {
        match std::mem::replace(&mut self.stage, Stage::Held) {
            Stage::Draining { end, .. } => {
                let damaged = end.damaged;
                self.stage = Stage::Drained(end);
                vec![Effect::Settle { damaged }]
            }
            stage => {
                self.stage = stage;
                Vec::new()
            }
        }
    }

    pub(super) fn settled(
        &mut self,
        warnings: String,
        hindered: Option<&'static str>,
        state: &mut State,
        now: Now,
    ) -> Vec<Effect> {
        let end = match std::mem::replace(&mut self.stage, Stage::Held) {
            Stage::Drained(end) => end,
            stage => {
                self.stage = stage;
                return Vec::new();
            }
        };
        let never_ran = state.pid == 0;
        let told_of_memory = state.oom;
        end.write_down(state, now.wall);
        if state.error.is_empty() {
            state.error = warnings;
        }
        let policy = self.terms.restart;
        let mut pause = restart::pause_before_restart(policy, state, never_ran, self.asked.to_end);
        if let (Some(_), Some(why)) = (pause, hindered) {
            pause = None;
            state.error = why.into();
        }
        if let Some(pause) = pause {
            state.status = Status::Restarting;
            state.restarts = state.restarts.saturating_add(1);
            self.stage = Stage::Waiting {
                until: now.instant + pause,
            };
        }
        // First, so that who hears of the events finds it in the state.
        let mut effects = vec![Effect::Save];
        if end.oom && !told_of_memory {
            effects.push(Effect::Note("oom", None));
        }
        let code = ("exitCode", end.code.to_string());
        effects.push(Effect::Note("die", Some(code)));
        if self.asked.to_stop {
            effects.push(Effect::Note("stop", None));
        }
        let failed = (!end.error.is_empty()).then_some((end.error, end.code));
        let restarts = pause.is_some();
        let told = Effect::ReportEnd { failed, restarts };
        match restarts {
            true => effects.push(told),
            false => effects.extend([Effect::LetGo, told, Effect::Forget]),
        }
        effects
    }
}
