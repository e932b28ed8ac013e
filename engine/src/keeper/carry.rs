//! Carries out what the lives of containers decide ([`super::life`]).

use std::time::Instant;

use anyhow::{Result, bail};
use contracts::guest::HostMessage;

use super::{
    Keeper, Kept, Number,
    health::Probe,
    life::{Effect, Input, Now, Output, Word},
    restart,
};
use coracle_platform::clock;

/// What a guest has said that it cannot have to say.
pub(super) struct Unexpected;

impl Keeper {
    /// Something happens to a container: what follows is done.
    pub(super) fn on(&mut self, number: Number, input: Input) {
        for effect in self.decide(number, input) {
            self.carry_out(number, effect);
        }
    }

    /// The same of what the guest says. Nothing was done when that does not belong here.
    pub(super) fn on_word(
        &mut self,
        number: Number,
        input: Input,
    ) -> Result<Result<(), Unexpected>> {
        let effects = self.decide(number, input);
        if effects.contains(&Effect::Flood) {
            bail!("guest protocol error: it tells of nothing but lack of memory");
        }
        if effects.contains(&Effect::Unexpected) {
            return Ok(Err(Unexpected));
        }
        for effect in effects {
            self.carry_out(number, effect);
        }
        Ok(Ok(()))
    }

    /// The same of all containers.
    pub(super) fn on_all(&mut self, input: &Input) {
        let all: Vec<Number> = self.kept.keys().copied().collect();
        for number in all {
            self.on(number, input.clone());
        }
    }

    fn decide(&mut self, number: Number, input: Input) -> Vec<Effect> {
        let now = Now {
            instant: Instant::now(),
            wall: clock::wall(),
        };
        match self.kept.get_mut(&number) {
            Some(kept) => kept.life.on(input, &mut kept.state, now),
            None => Vec::new(),
        }
    }

    /// Does what is due.
    pub(super) fn deadlines(&mut self) {
        let now = Instant::now();
        if let Some(guest) = self.guest()
            && guest.deadline().is_some_and(|until| until <= now)
        {
            self.flush_guest();
        }
        let due = |kept: &Kept| kept.life.next().is_some_and(|at| at <= now);
        let all = self.kept.iter().filter(|(_, kept)| due(kept));
        let all: Vec<Number> = all.map(|(number, _)| *number).collect();
        for number in all {
            let Some(kept) = self.kept.get(&number) else {
                continue;
            };
            let output = Output {
                held_back: kept.streams.is_held_back(),
                missing: kept.streams.lacks_output(),
            };
            self.on(number, Input::Due(output));
        }
    }

    /// Ends what has been drained.
    pub(super) fn settle(&mut self) {
        let drained = |kept: &Kept| kept.life.is_draining() && kept.streams.drained();
        let all = self.kept.iter().filter(|(_, kept)| drained(kept));
        let all: Vec<Number> = all.map(|(number, _)| *number).collect();
        for number in all {
            self.on(number, Input::OutputRead);
        }
    }

    fn carry_out(&mut self, number: Number, effect: Effect) {
        match effect {
            Effect::Run(spec) => self.say(&HostMessage::Run(spec)),
            Effect::Send(word) => self.say_to(number, &word),
            Effect::Resume => {
                let _ = self.pause(0, number, false);
            }
            Effect::Mark(step) => self.mark_of(number, step),
            Effect::Note(action, attribute) => {
                self.journal(number, action, attribute.as_slice());
            }
            Effect::ReportStart => self.tell_start(number),
            Effect::LateNews => self.hosting.expect_late_news(),
            Effect::Silent { ran } => self.silent(number, ran),
            Effect::StartAgain => self.start_again(number),
            Effect::Settle { damaged } => self.wind_up(number, damaged),
            Effect::ReportEnd { failed, restarts } => self.report_end(number, failed, restarts),
            Effect::LetGo => self.let_go(number),
            Effect::Forget => self.gone(number),
            // Of a word of the guest's, which is looked at before anything is done.
            Effect::Unexpected | Effect::Flood => {}
            Effect::Save | Effect::Probe(_) | Effect::EndInput | Effect::Release => {
                if let Some(kept) = self.kept.get_mut(&number) {
                    kept.carry_out(&effect);
                }
            }
        }
    }

    fn say_to(&mut self, number: Number, word: &Word) {
        let Some(kept) = self.kept.get(&number) else {
            return;
        };
        let id = kept.record.config.id.clone();
        self.say(&match *word {
            Word::Signal(signal) => HostMessage::Signal { id, signal },
            Word::Interrupt { signal, again } => HostMessage::Interrupt { id, signal, again },
        });
    }

    /// A container has ended, and all of its output was read.
    fn wind_up(&mut self, number: Number, damaged: bool) {
        if self.hosting.is_own() {
            self.end_machine();
        }
        self.end_sessions(number);
        self.give_back_layers(number);
        self.release_network(number);
        let may_restart = |kept: &Kept| kept.life.may_restart();
        let hindered = match self.kept.get(&number).is_some_and(may_restart) {
            true => self.hindered(),
            false => None,
        };
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        if let Some(at) = kept.streams.first_byte {
            let step = "first byte of output".into();
            kept.timeline.push((step, at));
        }
        kept.streams.release();
        if damaged {
            kept.warnings.push(crate::damage(&kept.record.config.image));
        }
        let warnings = kept.warnings.join("; ");
        self.on(number, Input::Settled { warnings, hindered });
    }

    /// Why no container starts again now.
    pub(super) fn hindered(&self) -> Option<&'static str> {
        let is_stopped =
            self.in_software_host && coracle_software_host::was_stopped(&self.directories);
        is_stopped.then_some(restart::HOST_STOPPED)
    }
}

impl Kept {
    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Save => self.save(),
            Effect::Probe(true) => self.probe = Probe::first(self.record.config.health.as_ref()),
            Effect::Probe(false) => self.probe = Probe::Off,
            Effect::EndInput => self.streams.end_input(),
            Effect::Release => self.streams.release(),
            _ => {}
        }
    }
}

#[cfg(test)]
impl Keeper {
    /// Ends a container by force, as one that should have ended and has not.
    pub(super) fn force(&mut self, number: Number) {
        if let Some(kept) = self.kept.get_mut(&number) {
            kept.life.overdue(Instant::now());
        }
        self.on(number, Input::Due(Output::default()));
    }
}
