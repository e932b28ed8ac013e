//! The life of one container, as a pure model: what happens goes in ([`Input`]), what is to be done comes out
//! ([`Effect`]). It does no I/O and has no clock; the keeper's loop carries its effects out (`carry.rs`).
//!
//! Each stage has the data that it needs and no other has: what was asked for while the guest was about to start it,
//! a deadline of this stage, how it ended.

mod asked;
mod due;
mod end;
mod guest;

use std::time::Instant;

use contracts::guest::ContainerSpec;

use super::phase::{End, LackOfMemory};
use crate::state::container::{Config, Restart, State};

/// A container's life.
pub(super) struct Life {
    stage: Stage,
    terms: Terms,
    asked: Asked,
}

/// Where a container is.
enum Stage {
    /// It does not run, and clients that came before its start may be attached.
    Held,
    /// There is no channel to the guest yet, or a layer is missing there: the spec waits.
    Booting {
        spec: Box<ContainerSpec>,
        /// When the guest is given up.
        until: Option<Instant>,
    },
    /// The spec was sent.
    Starting {
        due: Option<(Instant, Due)>,
        /// What it is told as soon as it runs.
        word: Option<Word>,
        interrupted: Option<(Instant, u8)>,
    },
    Running {
        due: Option<(Instant, Due)>,
        /// A signal by which a person has interrupted it, and when it is looked at whether it still handles that.
        interrupted: Option<(Instant, u8)>,
        lack: LackOfMemory,
    },
    /// It has ended; its output is still being read.
    Draining {
        end: End,
        until: Instant,
        lack: LackOfMemory,
    },
    /// Its output was read; whether it starts again is known when its machine is gone.
    Drained(End),
    /// It waits to be started again.
    Waiting { until: Instant },
}

/// What happens when a deadline of a container passes that was sent to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The guest was to say something of it.
    Silent,
    /// It has run for as long as it may.
    Timeout,
    /// It was asked to stop.
    Kill,
    /// It was killed, and its end has to be seen.
    Force,
}

/// What its record says that its life depends on.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Its machine is its own, and ends with it.
    pub(super) own_machine: bool,
    pub(super) restart: Restart,
    pub(super) stop_signal: u8,
    /// Seconds between that and SIGKILL.
    pub(super) stop_timeout: u64,
    /// Seconds that it may run.
    pub(super) timeout: Option<u64>,
    /// It has a health command.
    pub(super) has_health: bool,
}

impl Terms {
    pub(super) fn of(config: &Config, own_machine: bool) -> Self {
        Self {
            own_machine,
            restart: config.restart,
            stop_signal: config.stop_signal,
            stop_timeout: config.stop_timeout,
            timeout: config.timeout,
            has_health: config.health.is_some(),
        }
    }
}

/// What was asked of the start that it is in, until the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Asked {
    /// It is to end, and not to start again.
    to_end: bool,
    /// A person has asked it to stop, not only to end.
    to_stop: bool,
    /// It has run for as long as it may.
    timed_out: bool,
}

/// What time it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    /// Nanoseconds since 1970.
    pub(super) wall: u64,
}

/// Who asks a container to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Its keeper, or the end of its owner's patience: it is as if it had ended by itself.
    Keeper,
    /// A person who kills it.
    Kill,
    /// A person who stops it.
    Stop,
}

/// Something that happens to a container.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// It is to start: this goes to the guest once that can be reached.
    Begin(Box<ContainerSpec>),
    /// It could not be taken over after all.
    TakeBack,
    /// Its guest can be expected to start it until then.
    Expected(Instant),
    /// The guest can be told of it.
    Ready,
    /// The guest says that it runs.
    Started { pid: u32 },
    /// The guest says that it could not be started, or not be kept running.
    Failed { code: u8, message: String },
    /// The guest says how it ended.
    Exited { code: u8, oom: bool, damaged: bool },
    /// The guest says that its memory limit was reached.
    OutOfMemory,
    /// The guest has closed its channel; until then something else is to say why.
    ChannelClosed(Instant),
    /// The guest has said nothing of it for too long, and the others of the same guest go on.
    GivenUp(String),
    /// It is asked to stop, by this signal or its own, and killed after these seconds or its own.
    Stop {
        signal: Option<u8>,
        seconds: Option<u64>,
        by: By,
    },
    /// A person sends it a signal.
    Signal(u8),
    /// Its owner has got a signal.
    Interrupt(u8),
    /// Its owner is gone without a word.
    OwnerGone,
    /// Its host is to end when its containers have.
    HostEnds,
    /// Its machine is gone, and nobody has asked for that.
    Lost(String),
    /// It cannot be started, for a reason that is not the guest's.
    Unstartable(String),
    /// Time has passed.
    Due(Output),
    /// All of its output was read, or given up.
    OutputRead,
    /// What it leaves is gone, its machine too where that was its own.
    Settled {
        /// What went wrong that it could only see as an I/O error.
        warnings: String,
        /// Why no container starts again now, if one would.
        hindered: Option<&'static str>,
    },
    /// It was to start again, which cannot be now.
    Hindered(&'static str),
}

/// How its output is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Output {
    /// A client reads slowly.
    pub(super) held_back: bool,
    /// The guest was to connect it, and never has.
    pub(super) missing: bool,
}

/// A message to its first process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Signal(u8),
    Interrupt { signal: u8, again: bool },
}

/// Something to be done for a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Tell the guest to start it.
    Run(Box<ContainerSpec>),
    /// Send the guest this for its first process.
    Send(Word),
    /// Let it go on where it stands still: it cannot hear a signal otherwise.
    Resume,
    /// Note a step of its time line.
    Mark(&'static str),
    /// Note an event, with an attribute.
    Note(&'static str, Option<(&'static str, String)>),
    /// Write its state down.
    Save,
    /// Run its health command from now on, or no more.
    Probe(bool),
    /// Report its start to those who wait for it.
    ReportStart,
    /// Give it no more input.
    EndInput,
    /// Let go of its streams: what nobody has read goes with them.
    Release,
    /// The guest may still have something to say about it.
    LateNews,
    /// The guest does not answer. It ran, or it was to be started.
    Silent { ran: bool },
    /// The guest has said what it cannot have to say.
    Unexpected,
    /// The guest says something far too often.
    Flood,
    /// Start it again, if that can be now.
    StartAgain,
    /// End its machine where that is its own, and give back what it has; [`Input::Settled`] follows.
    Settle { damaged: bool },
    /// Report its end to those who wait for it, with words and a code where that is not known.
    ReportEnd {
        failed: Option<(String, u8)>,
        restarts: bool,
    },
    /// Nobody looks after it any more, before its end is told.
    LetGo,
    /// Nobody looks after it any more, after its end was told.
    Forget,
}

impl Life {
    /// That of a container that does not run.
    pub(super) fn held(terms: Terms) -> Self {
        Self {
            stage: Stage::Held,
            terms,
            asked: Asked::default(),
        }
    }

    /// What follows from something that happens, with the container's state as it is to be written down.
    pub(super) fn on(&mut self, input: Input, state: &mut State, now: Now) -> Vec<Effect> {
        match input {
            Input::Begin(spec) => self.begin(spec),
            Input::TakeBack => {
                self.stage = Stage::Held;
                Vec::new()
            }
            Input::Expected(until) => self.expected(until),
            Input::Ready => self.ready(),
            Input::Started { pid } => self.started(pid, state, now),
            Input::Failed { code, message } => self.failed(code, &message, now),
            Input::Exited { code, oom, damaged } => self.exited(code, oom, damaged, now),
            Input::OutOfMemory => self.out_of_memory(state, now),
            Input::ChannelClosed(until) => self.channel_closed(until),
            Input::GivenUp(words) => self.given_up(words, now),
            Input::Stop {
                signal,
                seconds,
                by,
            } => self.stop(signal, seconds, by, state, now),
            Input::Signal(signal) => self.signal(signal, state),
            Input::Interrupt(signal) => self.interrupt(signal, now),
            Input::OwnerGone => self.owner_gone(now),
            Input::HostEnds => self.host_ends(now),
            Input::Lost(words) => self.lost(words, now),
            Input::Unstartable(words) => self.unstartable(words, now),
            Input::Due(output) => self.due(output, state, now),
            Input::OutputRead => self.output_read(),
            Input::Settled { warnings, hindered } => self.settled(warnings, hindered, state, now),
            Input::Hindered(why) => self.hindered(why, state),
        }
    }

    fn begin(&mut self, spec: Box<ContainerSpec>) -> Vec<Effect> {
        self.asked = Asked::default();
        self.stage = Stage::Booting { spec, until: None };
        Vec::new()
    }

    fn expected(&mut self, end: Instant) -> Vec<Effect> {
        if let Stage::Booting { until, .. } = &mut self.stage {
            *until = Some(end);
        }
        Vec::new()
    }

    fn ready(&mut self) -> Vec<Effect> {
        match std::mem::replace(&mut self.stage, Stage::Held) {
            Stage::Booting { spec, until } => {
                self.stage = Stage::Starting {
                    due: until.map(|until| (until, Due::Silent)),
                    word: None,
                    interrupted: None,
                };
                vec![Effect::Run(spec)]
            }
            stage => {
                self.stage = stage;
                Vec::new()
            }
        }
    }

    /// Its record has been read again.
    pub(super) fn renew(&mut self, terms: Terms) {
        self.terms = terms;
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Held)
    }

    pub(super) fn is_booting(&self) -> bool {
        matches!(self.stage, Stage::Booting { .. })
    }

    /// It was begun to be started, and does not run yet.
    pub(super) fn is_on_its_way(&self) -> bool {
        matches!(self.stage, Stage::Booting { .. } | Stage::Starting { .. })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. })
    }

    /// Its policy is not that it never starts again.
    pub(super) fn may_restart(&self) -> bool {
        self.terms.restart != Restart::No
    }

    pub(super) fn has_timed_out(&self) -> bool {
        self.asked.timed_out
    }

    /// What the guest will be told, while that waits.
    pub(super) fn spec_mut(&mut self) -> Option<&mut ContainerSpec> {
        match &mut self.stage {
            Stage::Booting { spec, .. } => Some(spec),
            _ => None,
        }
    }
}

/// Short cuts of tests.
#[cfg(test)]
impl Life {
    /// It runs, as if the guest had said so.
    pub(super) fn runs(&mut self) {
        self.stage = Stage::Running {
            due: None,
            interrupted: None,
            lack: LackOfMemory::default(),
        };
    }

    /// The guest was told of it.
    pub(super) fn starts(&mut self) {
        self.stage = Stage::Starting {
            due: None,
            word: None,
            interrupted: None,
        };
    }

    /// It should have ended by then.
    pub(super) fn overdue(&mut self, at: Instant) {
        if let Stage::Starting { due, .. } | Stage::Running { due, .. } = &mut self.stage {
            *due = Some((at, Due::Force));
        }
    }

    /// The stage in a word.
    pub(super) fn word(&self) -> &'static str {
        match self.stage {
            Stage::Held => "held",
            Stage::Booting { .. } => "booting",
            Stage::Starting { .. } => "starting",
            Stage::Running { .. } => "running",
            Stage::Draining { .. } => "draining",
            Stage::Drained(_) => "drained",
            Stage::Waiting { .. } => "waiting",
        }
    }
}

#[cfg(test)]
mod tests;
