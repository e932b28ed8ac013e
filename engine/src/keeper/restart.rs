//! Containers that are started again by their policy.

use std::time::Duration;

use rustix::process::{WaitOptions, wait};

use super::{Keeper, Role, life::Input, prepare};
use crate::kernel::Unobserved;
use crate::state::container::{Restart, State, Status};
use coracle_platform::clock;

/// The first pause before a container is started again, and the longest: docker's.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A container that ran for so long is started again as if for the first time.
const GOOD_RUN: u64 = 10 * clock::SECOND;

/// Why a container does not start again whose policy wants it.
pub(super) const HOST_STOPPED: &str = "the software host was stopped ('coracle machine stop'); 'coracle system start' starts this again";

impl Keeper {
    /// Starts a container again whose pause is over.
    pub(super) fn start_again(&mut self, number: u32) {
        if let Some(why) = self.hindered() {
            self.on(number, Input::Hindered(why));
            return;
        }
        let number = self.renumber(number);
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        // Monitors of earlier starts, which nobody waited for when they had reported.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let config = kept.record.config.clone();
        // Others see that it restarts until it runs.
        kept.state.pid = 0;
        let ready = self.open_streams(number);
        if let Err(error) = ready.and_then(|()| self.expect_start(number)) {
            // Its neighbours go on.
            self.fail(number, &format!("{error:#}"));
            return;
        }
        if self.named.is_some() {
            self.place(number);
            return;
        }
        match prepare(&config, &self.directories, &mut Unobserved) {
            Ok(prepared) => self.boot(prepared),
            Err(error) => self.lost(&error),
        }
    }

    /// Gives a container another number for its next start, and returns it: what was asked for in the start
    /// before and is answered late reaches nobody.
    fn renumber(&mut self, number: u32) -> u32 {
        let next = self.new_number();
        if let Some(kept) = self.kept.remove(&number) {
            self.kept.insert(next, kept);
        }
        let roles = self.clients.values_mut().map(|client| &mut client.role);
        for own in roles.filter_map(Role::container_mut) {
            if *own == number {
                *own = next;
            }
        }
        next
    }
}

/// After which pause a container that has ended is started again, if it is: a longer one each time, until it has run
/// for a while. One that never ran is not, and one that is being stopped is not.
pub(super) fn pause_before_restart(
    policy: Restart,
    state: &State,
    never_ran: bool,
    stopping: bool,
) -> Option<Duration> {
    if never_ran || stopping || !wants_restart(policy, state) {
        return None;
    }
    let ran = state.finished.saturating_sub(state.started);
    let step = if ran >= GOOD_RUN {
        0
    } else {
        state.restarts.min(10)
    };
    Some((FIRST_PAUSE * 2_u32.pow(step)).min(LONGEST_PAUSE))
}

/// Whether a container that ended by itself is started again.
fn wants_restart(policy: Restart, state: &State) -> bool {
    if state.stopped {
        return false;
    }
    match policy {
        Restart::No => false,
        Restart::OnFailure(most) => state.exit_code != 0 && (most == 0 || state.restarts < most),
        Restart::Always | Restart::UnlessStopped => true,
    }
}

/// Whether a container is started with the system.
pub fn wants_start(policy: Restart, state: &State) -> bool {
    let ran = state.started > 0;
    match policy {
        _ if state.status.is_live() => false,
        Restart::No => false,
        // Even one that a person stopped, as docker does.
        Restart::Always => ran,
        Restart::UnlessStopped => ran && !state.stopped,
        Restart::OnFailure(_) => {
            state.status == Status::Exited && state.exit_code != 0 && !state.stopped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::container::Shown;

    fn ended(code: i32) -> State {
        State {
            exit_code: code,
            ..State::new(Shown::default())
        }
    }

    #[test]
    fn policy_says_what_is_started_again() {
        assert!(!wants_restart(Restart::No, &ended(1)));
        assert!(wants_restart(Restart::Always, &ended(0)));
        assert!(wants_restart(Restart::OnFailure(0), &ended(1)));
        assert!(!wants_restart(Restart::OnFailure(0), &ended(0)));
        let tried = State {
            restarts: 3,
            ..ended(1)
        };
        assert!(!wants_restart(Restart::OnFailure(3), &tried));
    }

    #[test]
    fn pauses_grow_until_a_container_has_run_well() {
        let ran = |restarts, nanoseconds| State {
            restarts,
            started: 1,
            finished: 1 + nanoseconds,
            ..ended(1)
        };
        let pause = |state: &State| pause_before_restart(Restart::Always, state, false, false);
        let milliseconds = |number| Some(Duration::from_millis(number));
        // Earlier restarts, and how long it ran.
        let table = [
            (0, 0, milliseconds(100)),
            (1, 0, milliseconds(200)),
            (4, GOOD_RUN - 1, milliseconds(1600)),
            (9, 0, milliseconds(51_200)),
            (10, 0, milliseconds(60_000)),
            (u32::MAX, 0, milliseconds(60_000)),
            (9, GOOD_RUN, milliseconds(100)),
        ];
        for (restarts, nanoseconds, wanted) in table {
            assert_eq!(pause(&ran(restarts, nanoseconds)), wanted, "{restarts}");
        }
    }

    #[test]
    fn what_never_ran_or_is_being_stopped_is_not_started_again() {
        for (never_ran, stopping) in [(true, false), (false, true), (true, true)] {
            let pause = pause_before_restart(Restart::Always, &ended(1), never_ran, stopping);
            assert_eq!(pause, None);
        }
        let policy = Restart::OnFailure(0);
        assert_eq!(pause_before_restart(policy, &ended(0), false, false), None);
    }

    #[test]
    fn what_a_person_stopped_stays_stopped() {
        let stopped = State {
            stopped: true,
            ..ended(1)
        };
        assert!(!wants_restart(Restart::Always, &stopped));
    }

    #[test]
    fn what_a_person_stopped_starts_with_the_system_only_by_always() {
        let stopped = State {
            status: Status::Exited,
            started: 1,
            stopped: true,
            exit_code: 137,
            ..State::new(Shown::default())
        };
        assert!(wants_start(Restart::Always, &stopped));
        assert!(!wants_start(Restart::UnlessStopped, &stopped));
        assert!(!wants_start(Restart::OnFailure(0), &stopped));
        assert!(!wants_start(Restart::No, &stopped));
    }

    #[test]
    fn container_whose_end_nobody_saw_starts_with_the_system() {
        let lost = State {
            status: Status::Exited,
            started: 1,
            exit_code: 255,
            ..State::new(Shown::default())
        };
        assert!(wants_start(Restart::UnlessStopped, &lost));
        assert!(wants_start(Restart::OnFailure(3), &lost));
    }
}
