//! A container's health command, run now and then.

use std::{
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use contracts::{
    guest::{HostMessage, Process, Task},
    keeper::{Event, Exit},
};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use super::{Keeper, execs, phase::later};
use crate::state::container::{Health, MAX_PROBE_OUTPUT, ProbeResult, Status, Wellness};
use coracle_platform::clock;

/// Least time between two runs: docker takes a millisecond from an image, in which nothing but its health command
/// would run.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// Least time between two signals to a run that does not end.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// How long what a run has written may be on its way when it has ended: a thousand times what it takes.
const LATE_OUTPUT: Duration = Duration::from_secs(10);

/// Exit code of a run that did not start, or took too long, as docker's.
const NO_CODE: i32 = -1;

/// Least time between two states, or logs of runs, that are written down for nothing but the number of failures and
/// the last runs. A new word for health is written at once: whoever is told of it by an event finds it in the state.
const LEAST_SAVING: Duration = Duration::from_secs(1);

/// Where a container is between two runs of its health command.
#[derive(Debug)]
pub(super) enum Probe {
    /// It has none.
    Off,
    /// The next run is due then.
    Due(Instant),
    /// It runs.
    Running(Run),
}

/// A run of a health command.
#[derive(Debug)]
pub(super) struct Run {
    /// As the guest knows it.
    id: String,
    /// It is killed then, and once it has ended, no longer waited for.
    until: Instant,
    /// When it began, in nanoseconds since 1970.
    start: u64,
    /// It took too long.
    timed_out: bool,
    output: Output,
    /// Its exit code, and why it did not start, while what it wrote is on its way.
    ended: Option<(i32, String)>,
}

/// What a run writes, of which the beginning is kept.
#[derive(Debug, Default)]
struct Output {
    streams: [Option<UnixStream>; 2],
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Output {
    fn read(&mut self, index: usize, piece: &mut [u8]) {
        let Some(slot) = self.streams.get_mut(index) else {
            return;
        };
        let Some(stream) = slot else { return };
        let length = match recv(stream, &mut *piece, RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => 0,
        };
        if length == 0 {
            *slot = None;
        }
        let room = MAX_PROBE_OUTPUT - self.bytes.len();
        self.is_cut |= length > room;
        let bytes = piece.get(..length.min(room)).unwrap_or_default();
        self.bytes.extend_from_slice(bytes);
    }

    fn is_over(&self) -> bool {
        self.streams.iter().all(Option::is_none)
    }

    /// As docker shows it.
    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.is_cut {
            text += "...";
        }
        text
    }
}

impl Run {
    /// What is noted of it, when it has ended at a time.
    fn result(&self, end: u64, timeout: Duration) -> ProbeResult {
        let (exit_code, words) = self.ended.clone().unwrap_or_default();
        let written = self.output.text();
        let (exit_code, output) = match (self.timed_out, words.is_empty(), written.is_empty()) {
            (false, true, _) => (exit_code, written),
            (false, false, _) => (exit_code, words),
            (true, _, true) => (
                NO_CODE,
                format!("Health check exceeded timeout ({timeout:?})"),
            ),
            (true, _, false) => (
                NO_CODE,
                format!("Health check exceeded timeout ({timeout:?}): {written}"),
            ),
        };
        ProbeResult {
            start: self.start,
            end,
            exit_code,
            output,
        }
    }
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
            Self::Due(at) | Self::Running(Run { until: at, .. }) => Some(*at),
        }
    }

    /// The streams that are to be read.
    pub(super) fn sources(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let streams = match self {
            Self::Running(run) => run.output.streams.as_slice(),
            Self::Off | Self::Due(_) => &[],
        };
        let all = streams.iter().enumerate();
        all.filter_map(|(index, stream)| Some((index, stream.as_ref()?.as_fd())))
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
        if let Probe::Running(run) = &mut kept.probe {
            if run.ended.is_some() {
                self.conclude(number, now);
                return;
            }
            run.timed_out = true;
            run.until = later(now, patience(&health));
            let id = run.id.clone();
            self.say(&HostMessage::Signal { id, signal: 9 });
            return;
        }
        kept.probe = Probe::Due(later(now, pause(&health)));
        if !kept.life.is_running() || kept.state.status != Status::Running {
            return;
        }
        let mut process = kept.record.config.spec.process.for_guest();
        process.args = health.command;
        process.terminal = None;
        process.init = false;
        let sent = self.send_probe(number, process);
        if let (Ok(Some(id)), Some(kept)) = (sent, self.kept.get_mut(&number)) {
            kept.probe = Probe::Running(Run {
                id,
                until: later(now, Duration::from_nanos(health.timeout)),
                start: clock::wall(),
                timed_out: false,
                output: Output::default(),
                ended: None,
            });
        }
    }

    fn send_probe(&mut self, number: u32, process: Process) -> Result<Option<String>> {
        let stdio = self.promise(false, true, true)?;
        let client = execs::Client::Health(number);
        self.send_exec(client, number, Task::Program(process), stdio)
    }

    /// A stream of a health command's, by its number.
    pub(super) fn take_probe(&mut self, number: u32, index: u8, stream: &UnixStream) {
        if let Some(kept) = self.kept.get_mut(&number)
            && let Probe::Running(run) = &mut kept.probe
            && let Some(slot) = run.output.streams.get_mut(usize::from(index) - 1)
        {
            // Without it, less is known of the run.
            *slot = stream.try_clone().ok();
        }
    }

    /// A health command has written something, or no more.
    pub(super) fn read_probe(&mut self, number: u32, index: usize, piece: &mut [u8]) {
        if let Some(kept) = self.kept.get_mut(&number)
            && let Probe::Running(run) = &mut kept.probe
        {
            run.output.read(index, piece);
            self.conclude(number, Instant::now());
        }
    }

    /// The health command of a container has ended.
    pub(super) fn probed(&mut self, number: u32, event: Event) {
        let now = Instant::now();
        if let Some(kept) = self.kept.get_mut(&number)
            && let Probe::Running(run) = &mut kept.probe
        {
            run.until = later(now, LATE_OUTPUT);
            run.ended = Some(match event {
                Event::Exited(Exit { code, .. }) => (code.into(), String::new()),
                Event::Failed { message, .. } => (NO_CODE, message),
                _ => (NO_CODE, String::new()),
            });
            self.conclude(number, now);
        }
    }

    /// Judges a run that has ended, when all that it wrote is here or has been waited for long enough.
    fn conclude(&mut self, number: u32, now: Instant) {
        let Some(kept) = self.kept.get_mut(&number) else {
            return;
        };
        let (Probe::Running(run), Some(health)) = (&kept.probe, &kept.record.config.health) else {
            return;
        };
        let Some((code, _)) = run.ended else {
            return;
        };
        if !run.output.is_over() && run.until > now {
            return;
        }
        let well = code == 0 && !run.timed_out;
        let result = run.result(clock::wall(), Duration::from_nanos(health.timeout));
        kept.probes.add(kept.state.started, result);
        kept.probe = Probe::Due(later(now, pause(health)));
        let state = &mut kept.state;
        let before = (state.health, state.failing);
        let running = clock::wall().saturating_sub(state.started);
        (state.health, state.failing) = judge(health, before, running, well);
        let after = state.health;
        kept.health_is_unsaved |= before != (after, state.failing);
        let soon = |saved: Instant| now - saved < LEAST_SAVING;
        let has_news = after != before.0 || !kept.health_saved.is_some_and(soon);
        if has_news {
            kept.health_saved = Some(now);
            // First, so that who reads the state finds it.
            if let Err(error) = kept.record.save_probes(&kept.probes) {
                log::debug!("{error:#}");
            }
            if std::mem::take(&mut kept.health_is_unsaved) {
                kept.save();
            }
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
    use std::io::Write;

    use super::*;
    use crate::state::container::Probes;

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

    fn run(written: &[&[u8]], timed_out: bool, ended: (i32, &str)) -> Run {
        let mut output = Output::default();
        for (slot, bytes) in output.streams.iter_mut().zip(written) {
            let (mut guest, ours) = UnixStream::pair().unwrap();
            guest.write_all(bytes).unwrap();
            *slot = Some(ours);
        }
        let mut piece = [0; 3000];
        // More often than it takes: what is over stays so.
        for _ in 0..4 {
            for index in 0..2 {
                output.read(index, &mut piece);
            }
        }
        assert!(output.is_over());
        Run {
            id: "a".into(),
            until: Instant::now(),
            start: 5,
            timed_out,
            output,
            ended: Some((ended.0, ended.1.into())),
        }
    }

    #[test]
    fn result_of_a_run_is_as_docker_notes_it() {
        let result = |run: Run| {
            let result = run.result(9, Duration::from_secs(2));
            assert_eq!((result.start, result.end), (5, 9));
            (result.exit_code, result.output)
        };
        let exited = run(&[b"out\n", b"err\n"], false, (3, ""));
        assert_eq!(result(exited), (3, "out\nerr\n".into()));
        let missing = run(&[], false, (NO_CODE, "no such program"));
        assert_eq!(result(missing), (-1, "no such program".into()));
        let words = "Health check exceeded timeout (2s)";
        assert_eq!(result(run(&[], true, (137, ""))), (-1, words.into()));
        let late = run(&[b"so far"], true, (137, ""));
        assert_eq!(result(late), (-1, format!("{words}: so far")));
        let (_, long) = result(run(&[&[b'x'; 5000]], false, (0, "")));
        assert_eq!(long, "x".repeat(MAX_PROBE_OUTPUT) + "...");
        let (_, whole) = result(run(&[&[b'x'; MAX_PROBE_OUTPUT]], false, (0, "")));
        assert_eq!(whole.len(), MAX_PROBE_OUTPUT);
    }

    #[test]
    fn last_runs_of_one_life_are_kept() {
        let mut probes = Probes::default();
        let result = |end| ProbeResult {
            end,
            ..ProbeResult::default()
        };
        let scene = |probes: &Probes| {
            let text = serde_json::to_value(probes).unwrap();
            let all = text["last"].as_array().unwrap().clone();
            let ends: Vec<u64> = all.iter().map(|one| one["end"].as_u64().unwrap()).collect();
            ends
        };
        (0..7).for_each(|end| probes.add(1, result(end)));
        assert_eq!(scene(&probes), [2, 3, 4, 5, 6]);
        probes.add(2, result(9));
        assert_eq!(scene(&probes), [9]);
    }
}
