//! What people ask of a container, and what becomes of it when those who wanted it are gone.

use std::time::Duration;

use super::{By, Due, Effect, Life, Now, Stage, Word};
use crate::keeper::phase::{KILL_TIMEOUT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, later};
use crate::state::container::{State, Status};

/// Least time after an interrupt in which a shell that catches it can become another program, or end.
const LEAST_GRACE: Duration = Duration::from_secs(1);

impl Life {
    pub(super) fn stop(
        &mut self,
        signal: Option<u8>,
        seconds: Option<u64>,
        by: By,
        state: &mut State,
        now: Now,
    ) -> Vec<Effect> {
        if self.is_held() {
            // There is nothing to stop.
            return Vec::new();
        }
        state.stopped |= by != By::Keeper;
        self.asked.to_end = true;
        self.asked.to_stop |= by == By::Stop;
        let signal = signal.unwrap_or(self.terms.stop_signal);
        let grace = Duration::from_secs(seconds.unwrap_or(self.terms.stop_timeout));
        let end = later(now.instant, grace);
        match &mut self.stage {
            Stage::Running { due, .. } => {
                // A second request does not make the time longer.
                match due {
                    Some((at, Due::Kill | Due::Force)) if *at <= end => {}
                    // What was killed has no signal left to wait for.
                    _ if signal == SIGKILL => {
                        *due = Some((now.instant + KILL_TIMEOUT, Due::Force));
                    }
                    _ => *due = Some((end, Due::Kill)),
                }
                let mut effects = said(signal);
                if state.status == Status::Paused {
                    effects.push(Effect::Resume);
                }
                effects
            }
            // It may run already, and its word be on the way.
            Stage::Starting { due, word, .. } => {
                *word = Some(Word::Signal(signal));
                *due = Some((end, Due::Kill));
                Vec::new()
            }
            // Nothing runs; it only does not start again.
            Stage::Waiting { until } => {
                *until = now.instant;
                Vec::new()
            }
            Stage::Held | Stage::Booting { .. } | Stage::Draining { .. } | Stage::Drained(_) => {
                self.force(now)
            }
        }
    }

    pub(super) fn signal(&mut self, signal: u8, state: &mut State) -> Vec<Effect> {
        if !self.is_running() {
            return Vec::new();
        }
        // As docker: what a person killed is not started again.
        state.stopped |= signal == SIGKILL || signal == self.terms.stop_signal;
        said(signal)
    }

    pub(super) fn interrupt(&mut self, signal: u8, now: Now) -> Vec<Effect> {
        // As docker: what a person interrupts is not started again.
        self.asked.to_end |= signal == SIGINT || signal == SIGQUIT;
        let is_by_person = [SIGHUP, SIGINT, SIGQUIT].contains(&signal);
        let grace = Duration::from_secs(self.terms.stop_timeout).max(LEAST_GRACE);
        let again = is_by_person.then(|| (later(now.instant, grace), signal));
        let message = Word::Interrupt {
            signal,
            again: false,
        };
        match &mut self.stage {
            Stage::Running { interrupted, .. } => {
                *interrupted = interrupted.or(again);
                vec![Effect::Send(message)]
            }
            Stage::Starting {
                word, interrupted, ..
            } => {
                *interrupted = interrupted.or(again);
                *word = Some(message);
                Vec::new()
            }
            // Nothing runs that could do something else with it.
            _ if is_by_person => self.force(now),
            _ => Vec::new(),
        }
    }

    pub(super) fn owner_gone(&mut self, now: Now) -> Vec<Effect> {
        match &mut self.stage {
            Stage::Starting { due, .. } | Stage::Running { due, .. } if !self.terms.own_machine => {
                *due = Some((now.instant + KILL_TIMEOUT, Due::Force));
                self.asked.to_end = true;
                vec![Effect::Send(Word::Signal(SIGKILL)), Effect::Release]
            }
            _ => self.force(now),
        }
    }

    pub(super) fn host_ends(&mut self, now: Now) -> Vec<Effect> {
        self.asked.to_end = true;
        if let Stage::Waiting { until } = &mut self.stage {
            *until = now.instant;
        }
        Vec::new()
    }
}

/// A signal to what runs.
pub(super) fn said(signal: u8) -> Vec<Effect> {
    let attribute = ("signal", signal.to_string());
    vec![
        Effect::Note("kill", Some(attribute)),
        Effect::Send(Word::Signal(signal)),
    ]
}
