//! The steps of a start, under names that are the same for every system.

use serde_json::Value;

use crate::clock::milliseconds;
use crate::report::Event;
use crate::start::Start;

/// The steps in their order, and what `coracle run --json` calls them; those without are seen from outside.
/// A guest's kernel has no time before its clock runs: its first instructions are part of that step.
/// A system has some of them: what others call a step of its own is part of the next one.
pub(crate) const STEPS: [(&str, Option<&str>); 13] = [
    ("the command runs", Some("command line starts")),
    ("image ready", Some("container created")),
    ("monitor runs", Some("monitor: main")),
    ("machine built", Some("monitor: processors made")),
    ("first KVM_RUN", Some("monitor: first instruction")),
    ("kernel's clock runs", Some("kernel entry")),
    ("init begins", Some("init begins")),
    ("channel up", Some("control channel up")),
    ("container executed", Some("container's process executed")),
    (FIRST_BYTE, None),
    ("exit seen", Some("container's exit seen")),
    (ENDED, None),
    (FREED, None),
];

/// The first byte of output has reached the one who started the command.
pub(crate) const FIRST_BYTE: &str = "first byte";

/// The command has ended.
pub(crate) const ENDED: &str = "command ended";

/// No process is left.
pub(crate) const FREED: &str = "all freed";

/// The events of a start, in order: those that were seen from outside, and those that the system told.
pub(crate) fn events(start: &Start, told: &[(String, u64)]) -> Vec<Event> {
    let mut last = start.begun;
    let mut events = Vec::new();
    for (step, own_name) in STEPS {
        let outside = match step {
            FIRST_BYTE => start.first_byte,
            ENDED => Some(start.ended),
            FREED => Some(start.freed),
            _ => None,
        };
        let told = told.iter().find(|(name, _)| own_name == Some(name));
        let Some(at) = outside.or(told.map(|(_, at)| *at)) else {
            continue;
        };
        // A guest's clock is joined to ours by a message's arrival: some microseconds are not known.
        last = at.max(last);
        events.push(Event {
            step: step.into(),
            ms: milliseconds(last - start.begun),
        });
    }
    events
}

/// The steps that `coracle run --json` told, in nanoseconds of the common clock.
pub(crate) fn told(words: &str) -> Vec<(String, u64)> {
    let json = words.lines().rev().find_map(|line| {
        let line = line.trim();
        line.starts_with('{')
            .then(|| serde_json::from_str::<Value>(line).ok())?
    });
    let Some(json) = json else { return Vec::new() };
    let Some(began) = json.get("timeline_began").and_then(Value::as_u64) else {
        return Vec::new();
    };
    let steps = json.get("timeline").and_then(Value::as_array);
    let step = |step: &Value| {
        let ms = step.get("ms")?.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "milliseconds of a start, which are positive and few"
        )]
        let at = began + (ms * 1e6) as u64;
        Some((step.get("step")?.as_str()?.to_owned(), at))
    };
    steps.into_iter().flatten().filter_map(step).collect()
}

/// What each step of a start took: milliseconds since the one before.
pub(crate) fn durations(events: &[Event]) -> Vec<(&str, f64)> {
    let mut before = 0.0;
    let took = events.iter().map(|event| {
        let took = event.ms - before;
        before = event.ms;
        (event.step.as_str(), took)
    });
    took.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        Start {
            begun: 1_000_000,
            first_byte: Some(3_000_000),
            ended: 4_000_000,
            freed: 6_500_000,
            ..Start::default()
        }
    }

    fn names(events: &[Event]) -> Vec<(&str, f64)> {
        events
            .iter()
            .map(|event| (event.step.as_str(), event.ms))
            .collect()
    }

    #[test]
    fn what_is_seen_from_outside_is_told_of_every_system() {
        let events = events(&start(), &[]);
        let wanted = [(FIRST_BYTE, 2.0), (ENDED, 3.0), (FREED, 5.5)];
        assert_eq!(names(&events), wanted);
        assert_eq!(
            durations(&events),
            [(FIRST_BYTE, 2.0), (ENDED, 1.0), (FREED, 2.5)]
        );
    }

    #[test]
    fn what_a_system_tells_comes_in_between_and_never_goes_back() {
        let words = "coracle: warning: something\n\
            {\"timeline_began\": 1500000, \"timeline\": [{\"step\": \"command line starts\", \"ms\": 0.0},\
            {\"step\": \"kernel entry\", \"ms\": 0.9}, {\"step\": \"init begins\", \"ms\": 0.8},\
            {\"step\": \"of its own\", \"ms\": 1}]}\n";
        let events = events(&start(), &told(words));
        let wanted = [
            ("the command runs", 0.5),
            ("kernel's clock runs", 1.4),
            ("init begins", 1.4),
            (FIRST_BYTE, 2.0),
            (ENDED, 3.0),
            (FREED, 5.5),
        ];
        assert_eq!(names(&events), wanted);
    }

    #[test]
    fn words_that_are_no_time_line_tell_nothing() {
        for words in ["", "{", "{}", "{\"timeline_began\": 1}", "[1]"] {
            assert!(told(words).is_empty(), "{words}");
        }
    }
}
