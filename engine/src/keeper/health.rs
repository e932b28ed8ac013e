//! A container's health command, run now and then.

use std::time::{Duration, Instant};

use contracts::guest::{HostMessage, Stdio, Task};

use super::{Keeper, Number, execs, phase::later};
use crate::state::container::{Health, Status, Wellness};
use coracle_platform::clock;

/// Least time between two runs: docker takes a millisecond from an image, in which nothing but its health command
/// would run.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// Least time between two signals to a run that does not end.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// Least time between two states that are written down for nothing but the number of failures. A new word for
/// health is written at once: whoever is told of it by an event finds it in the state.
const LEAST_SAVING: Duration = Duration::from_secs(1);

/// Where a container is between two runs of its health command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    /// It has none.
    Off,
    /// The next run is due then.
    Due(Instant),
    /// It runs, and is killed then.
    Running {
        /// As the guest knows it.
        id: String,
        until: Instant,
    },
}

impl Probe {
    /// The first run of a container that starts now.
    pub(super) fn first(health: Option<&Health>) -> Self {
        match health {
            Some(health) => Self::Due(later(Instant::now(), pause(health))),
            None => Self::Off,
        }
    }

    /// When something is due.
    pub(super) fn at(&self) -> Option<Instant> {
        match self {
            Self::Off => None,
            Self::Due(at) | Self::Running { until: at, .. } => Some(*at),
        }
    }
}

impl Keeper {
    /// Runs what is due, and kills what takes too long.
    pub(super) fn probe(&mut self) {
        let now = Instant::now();
        let due: Vec<Number> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.probe.at().is_some_and(|at| at <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.probe_one(number, now);
        }
    }

    fn probe_one(&mut self, number: Number, now: Instant) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        let Some(health) = kept.record.config.health.clone() else {
            kept.probe = Probe::Off;
            return;
        };
        if let Probe::Running { id, until } = &mut kept.probe {
            let id = id.clone();
            *until = later(now, patience(&health));
            self.say(&HostMessage::Signal { id, signal: 9 });
            return;
        }
        kept.probe = Probe::Due(later(now, pause(&health)));
        if !kept.life.is_running() || kept.state.status != Status::Running {
            return;
        }
        let mut process = kept.record.config.spec.process.clone();
        process.args = health.command;
        process.terminal = None;
        process.init = false;
        let client = execs::Client::Health(number);
        let sent = self.send_exec(client, number, Task::Program(process), Stdio::default());
        if let (Ok(Some(id)), Some(kept)) = (sent, self.kept.get_mut(&number)) {
            kept.probe = Probe::Running {
                id,
                until: later(now, Duration::from_nanos(health.timeout)),
            };
        }
    }

    /// The health command of a container has ended.
    pub(super) fn probed(&mut self, number: Number, well: bool) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        let Some(health) = &kept.record.config.health else {
            return;
        };
        let now = Instant::now();
        kept.probe = Probe::Due(later(now, pause(health)));
        let state = &mut kept.state;
        let before = (state.health, state.failing);
        let running = clock::wall().saturating_sub(state.started);
        (state.health, state.failing) = judge(health, before, running, well);
        let after = state.health;
        kept.health_is_unsaved |= before != (after, state.failing);
        let soon = |saved: Instant| now - saved < LEAST_SAVING;
        let has_news = after != before.0 || !kept.health_saved.is_some_and(soon);
        if kept.health_is_unsaved && has_news {
            kept.health_is_unsaved = false;
            kept.health_saved = Some(now);
            kept.save();
        }
        if let Some(after) = after.filter(|_| after != before.0) {
            self.journal(number, &format!("health_status: {}", after.word()), &[]);
        }
    }
}

/// What is known of a container's health, with the failures in a row, when its command has ended well or not after
/// so many nanoseconds of the container's life. Failures do not count until it was well once, or is old enough.
fn judge(
    health: &Health,
    before: (Option<Wellness>, u32),
    running: u64,
    well: bool,
) -> (Option<Wellness>, u32) {
    let (wellness, failing) = before;
    if well {
        return (Some(Wellness::Healthy), 0);
    }
    if wellness == Some(Wellness::Starting) && running < health.start_period {
        return before;
    }
    let failing = failing.saturating_add(1);
    match failing >= health.retries {
        true => (Some(Wellness::Unhealthy), failing),
        false => (wellness, failing),
    }
}

/// Time after which a run that was killed and has not ended is killed again.
fn patience(health: &Health) -> Duration {
    Duration::from_nanos(health.timeout).max(LEAST_PATIENCE)
}

/// Time between the end of a run and the next one.
fn pause(health: &Health) -> Duration {
    Duration::from_nanos(health.interval).max(LEAST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_once_a_container_was_well_or_is_old_enough() {
        use Wellness::{Healthy, Starting, Unhealthy};
        let health = Health {
            command: vec!["true".into()],
            interval: 1,
            timeout: 1,
            start_period: 100,
            retries: 2,
        };
        // Before, its age, and whether the command ended well; after.
        let table = [
            ((Starting, 0), 5, true, (Healthy, 0)),
            ((Starting, 0), 99, false, (Starting, 0)),
            ((Starting, 0), 100, false, (Starting, 1)),
            ((Starting, 1), 101, false, (Unhealthy, 2)),
            ((Healthy, 0), 5, false, (Healthy, 1)),
            ((Healthy, 1), 5, false, (Unhealthy, 2)),
            ((Unhealthy, 2), 500, false, (Unhealthy, 3)),
            ((Unhealthy, u32::MAX), 500, false, (Unhealthy, u32::MAX)),
            ((Unhealthy, 7), 500, true, (Healthy, 0)),
        ];
        for ((wellness, failing), running, well, after) in table {
            let judged = judge(&health, (Some(wellness), failing), running, well);
            let after = (Some(after.0), after.1);
            assert_eq!(judged, after, "{wellness:?} {failing} {running} {well}");
        }
    }

    #[test]
    fn image_does_not_keep_its_keeper_busy_with_its_health() {
        let mut health = Health {
            command: vec!["true".into()],
            interval: 1,
            timeout: 1,
            start_period: 0,
            retries: 1,
        };
        assert_eq!(pause(&health), LEAST_PAUSE);
        assert_eq!(patience(&health), LEAST_PATIENCE);
        health.interval = 3 * clock::SECOND;
        assert_eq!(pause(&health), Duration::from_secs(3));
    }
}
