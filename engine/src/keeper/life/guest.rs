//! What the guest says about a container.

use std::time::{Duration, Instant};

use super::{Due, Effect, Life, Now, Stage};
use crate::keeper::{
    execs::FAILED,
    phase::{End, LackOfMemory, later, run},
};
use crate::state::container::{State, Wellness};

impl Life {
    pub(super) fn started(&mut self, pid: u32, state: &mut State, now: Now) -> Vec<Effect> {
        let Stage::Starting {
            due,
            word,
            interrupted,
        } = &mut self.stage
        else {
            return vec![Effect::Unexpected];
        };
        let due = match due.take() {
            asked @ Some((_, Due::Kill | Due::Force)) => asked,
            _ => {
                let timeout = self.terms.timeout.map(Duration::from_secs);
                timeout.map(|time| (later(now.instant, time), Due::Timeout))
            }
        };
        let word = word.take();
        self.stage = Stage::Running {
            due,
            interrupted: interrupted.take(),
            lack: LackOfMemory::default(),
        };
        state.pid = pid;
        state.health = self.terms.has_health.then_some(Wellness::Starting);
        state.failing = 0;
        run(state, now.wall);
        let mut effects = vec![
            Effect::Mark("container's process executed"),
            // First, so that who hears of the event finds it in the state.
            Effect::Save,
            Effect::Note("start", None),
            Effect::Probe(true),
        ];
        effects.extend(word.map(Effect::Send));
        effects.push(Effect::ReportStart);
        effects
    }

    pub(super) fn failed(&mut self, code: u8, message: &str, now: Now) -> Vec<Effect> {
        let (code, error) = match self.stage {
            Stage::Starting { .. } => (code, format!("cannot start the container: {message}")),
            // A stream of it could not be connected.
            Stage::Running { .. } => (FAILED, format!("the container was ended: {message}")),
            _ => return vec![Effect::Unexpected],
        };
        let end = End {
            code,
            error,
            ..End::default()
        };
        self.ended(end, now)
    }

    pub(super) fn exited(&mut self, code: u8, oom: bool, damaged: bool, now: Now) -> Vec<Effect> {
        if !self.is_running() {
            return vec![Effect::Unexpected];
        }
        let end = End {
            code,
            oom,
            damaged,
            error: String::new(),
        };
        let mut effects = vec![Effect::Mark("container's exit seen")];
        effects.extend(self.ended(end, now));
        effects
    }

    pub(super) fn out_of_memory(&mut self, state: &mut State, now: Now) -> Vec<Effect> {
        match &mut self.stage {
            Stage::Running { lack, .. } | Stage::Draining { lack, .. } => {
                if !lack.count(now.instant) {
                    return vec![Effect::Flood];
                }
            }
            _ => return vec![Effect::Unexpected],
        }
        // One that is given up has no state but its end.
        if !self.is_running() {
            return Vec::new();
        }
        let note = Effect::Note("oom", None);
        match std::mem::replace(&mut state.oom, true) {
            true => vec![note],
            false => vec![Effect::Save, note],
        }
    }

    pub(super) fn channel_closed(&mut self, until: Instant) -> Vec<Effect> {
        match &mut self.stage {
            Stage::Booting { until: own, .. } => drop(own.get_or_insert(until)),
            Stage::Starting { due, .. } | Stage::Running { due, .. } => match due {
                Some((_, Due::Silent | Due::Kill | Due::Force)) => {}
                // Whoever may run for years is not waited for that long.
                Some((at, Due::Timeout)) if *at <= until => {}
                Some((_, Due::Timeout)) | None => *due = Some((until, Due::Silent)),
            },
            _ => {}
        }
        Vec::new()
    }
}
