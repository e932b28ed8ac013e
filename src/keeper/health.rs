//! A container's health command, run now and then.

use std::time::{Duration, Instant};

use coracle_protocol::{HostMessage, Stdio, Task};

use super::{Keeper, execs, phase::Phase};
use crate::{
    clock,
    state::container::{Health, Status, Wellness},
};

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
            Some(health) => Self::Due(Instant::now() + Duration::from_nanos(health.interval)),
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
        let due: Vec<u32> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.probe.at().is_some_and(|at| at <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.probe_one(number, now);
        }
    }

    fn probe_one(&mut self, number: u32, now: Instant) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        let Some(health) = kept.record.config.health.clone() else {
            kept.probe = Probe::Off;
            return;
        };
        if let Probe::Running { id, until } = &mut kept.probe {
            let id = id.clone();
            *until = now + Duration::from_nanos(health.timeout);
            self.say(&HostMessage::Signal { id, signal: 9 });
            return;
        }
        kept.probe = Probe::Due(now + Duration::from_nanos(health.interval));
        if !matches!(kept.phase, Phase::Running) || kept.state.status != Status::Running {
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
                until: now + Duration::from_nanos(health.timeout),
            };
        }
    }

    /// The health command of a container has ended.
    pub(super) fn probed(&mut self, number: u32, well: bool) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        let Some(health) = &kept.record.config.health else {
            return;
        };
        kept.probe = Probe::Due(Instant::now() + Duration::from_nanos(health.interval));
        let state = &mut kept.state;
        let before = state.health;
        let running = clock::wall().saturating_sub(state.started);
        if well {
            state.failing = 0;
            state.health = Some(Wellness::Healthy);
        } else if before != Some(Wellness::Starting) || running >= health.start_period {
            state.failing += 1;
            if state.failing >= health.retries {
                state.health = Some(Wellness::Unhealthy);
            }
        }
        let after = state.health;
        kept.save();
        if let Some(after) = after.filter(|_| after != before) {
            self.journal(number, &format!("health_status: {}", after.word()), &[]);
        }
    }
}
