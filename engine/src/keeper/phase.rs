//! What ends a container, and what is written down of that.

use std::time::{Duration, Instant};

use crate::containers::values::FOREVER;
use crate::state::container::{State, Status};

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: u8,
    pub(super) oom: bool,
    /// It read what has changed of its image.
    pub(super) damaged: bool,
    /// Why it was not started, or why its end is not known.
    pub(super) error: String,
}

impl End {
    /// Changes what is known of a container that has ended so, at this time.
    pub(super) fn write_down(&self, state: &mut State, now: u64) {
        let never_ran = state.pid == 0;
        state.exit_code = i32::from(self.code);
        state.oom |= self.oom;
        state.pid = 0;
        state.health = None;
        state.error.clone_from(&self.error);
        // As docker: what could never be executed was only created.
        if never_ran && !self.error.is_empty() && state.finished == 0 {
            state.status = Status::Created;
        } else {
            state.status = Status::Exited;
            state.finished = now;
        }
    }
}

/// It runs, and has not ended in any way yet.
pub(super) fn run(state: &mut State, now: u64) {
    state.status = Status::Running;
    state.started = now;
    state.exit_code = 0;
    state.oom = false;
    state.error.clear();
}

/// A moment so much later. Who asks for more time than there is waits for ever: what a client or a record says
/// must not be able to end this process, and with it every container that it keeps.
pub(super) fn later(from: Instant, time: Duration) -> Instant {
    from + time.min(Duration::from_secs(FOREVER))
}

/// How long a guest may take to end what it was told to kill: a hundred times what it takes, in a
/// software host.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Signals by which a person interrupts.
pub(super) const SIGHUP: u8 = 1;
pub(super) const SIGINT: u8 = 2;
pub(super) const SIGQUIT: u8 = 3;

/// The signal that ends a process without asking it.
pub(super) const SIGKILL: u8 = 9;

/// What a guest has told of a container's lack of memory: it may do so once a second, and one that does
/// more is not the one that was started.
#[derive(Debug, Default)]
pub(super) struct LackOfMemory {
    begun: Option<Instant>,
    told: u32,
}

/// Time in which messages of a container's lack of memory are counted, and how many are possible in it.
const LACK_PERIOD: Duration = Duration::from_secs(10);
const LACK_MESSAGES: u32 = 20;

impl LackOfMemory {
    /// Counts a message; false when it is one too many.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        if self.begun.is_none_or(|begun| now - begun >= LACK_PERIOD) {
            self.begun = Some(now);
            self.told = 0;
        }
        self.told += 1;
        self.told <= LACK_MESSAGES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::container::{Shown, Wellness};

    #[test]
    fn end_is_written_down_as_docker_has_it() {
        let ended = |code, error: &str| End {
            code,
            error: error.into(),
            ..End::default()
        };
        // Its number in the guest, when it finished before, and its end; its status, and when it finished.
        let table = [
            (7, 0, ended(3, ""), (Status::Exited, 9)),
            (7, 5, ended(125, "lost"), (Status::Exited, 9)),
            (0, 0, ended(127, "no such program"), (Status::Created, 0)),
            (0, 5, ended(127, "no such program"), (Status::Exited, 9)),
            (0, 0, ended(137, ""), (Status::Exited, 9)),
        ];
        for (pid, finished, end, after) in table {
            let mut state = State {
                pid,
                finished,
                health: Some(Wellness::Healthy),
                status: Status::Running,
                ..State::new(Shown::default())
            };
            end.write_down(&mut state, 9);
            assert_eq!((state.status, state.finished), after, "{end:?}");
            assert_eq!(state.exit_code, i32::from(end.code));
            assert_eq!((state.pid, state.health), (0, None));
            assert_eq!(state.error, end.error);
        }
    }

    #[test]
    fn lack_of_memory_that_was_told_stays_told() {
        let mut state = State::new(Shown::default());
        state.oom = true;
        End::default().write_down(&mut state, 1);
        assert!(state.oom);
    }

    #[test]
    fn guest_that_floods_with_lack_of_memory_is_found_out() {
        let mut lack = LackOfMemory::default();
        let start = Instant::now();
        let second = |number: u64| start + Duration::from_secs(number);
        assert!((0..100).all(|number| lack.count(second(number))));
        assert!(!(0..100).all(|_| lack.count(second(200))));
    }
}
