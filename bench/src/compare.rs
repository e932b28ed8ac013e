//! What became better or worse between two measurements.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::arguments::Files;
use crate::ladder;
use crate::measure;
use crate::report::{Report, System, VERSION};
use crate::show::{columns, table::Table};
use crate::statistics::{Verdict, compare, summary};
use coracle_terminal::output::{self, Stream};

/// What the program ends with when something became worse.
const WORSE: u8 = 1;

/// The name of the line for a whole start.
const TOTAL: &str = "start to end";

/// One line of what is told.
#[derive(Debug, PartialEq)]
struct Line {
    system: String,
    step: String,
    before: f64,
    after: f64,
    verdict: Verdict,
}

/// Compares two files.
///
/// # Errors
/// When one cannot be read, or they have no system in common.
pub(crate) fn main(files: &Files) -> Result<u8> {
    let (before, after) = (read(&files.before)?, read(&files.after)?);
    let lines = lines(&before, &after);
    if lines.is_empty() {
        bail!(
            "{} and {} have no system in common",
            files.before.display(),
            files.after.display()
        );
    }
    for difference in differences(&before, &after) {
        outln!("{difference}");
    }
    let mut table = Table::new(&[
        "SYSTEM",
        "STEP",
        "BEFORE MS",
        "AFTER MS",
        "CHANGE",
        "VERDICT",
    ])
    .with_keys(2);
    for line in &lines {
        let change = 100.0 * (line.after - line.before) / line.before.max(f64::MIN_POSITIVE);
        let change = match line.before > 0.0 {
            true => format!("{change:+.1} %"),
            false => "new".into(),
        };
        table.row([
            line.system.clone(),
            line.step.clone(),
            format!("{:.2}", line.before),
            format!("{:.2}", line.after),
            change,
            line.verdict.word().into(),
        ]);
    }
    output::write(Stream::Output, &table.text(columns()));
    let worse = lines.iter().any(|line| line.verdict == Verdict::Worse);
    Ok(if worse { WORSE } else { 0 })
}

/// Reads a measurement.
///
/// # Errors
/// When it cannot be read, or is of another version.
pub(crate) fn read(path: &Path) -> Result<Report> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let report: Report = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is not what 'coracle bench --json' writes",
            path.display()
        )
    })?;
    if report.version != VERSION {
        bail!(
            "{} has version {}, and this program reads {VERSION}; measure again",
            path.display(),
            report.version
        );
    }
    Ok(report)
}

/// What the two have not in common, and what may be the reason for a difference then.
fn differences(before: &Report, after: &Report) -> Vec<String> {
    let mut found = Vec::new();
    if (&before.image, &before.command) != (&after.image, &after.command) {
        found.push("note: other images or commands were started".to_owned());
    }
    for (name, one) in &before.environment {
        let other = after.environment.get(name);
        if other != Some(one) && !name.starts_with("load") {
            let other = other.map_or("nothing known", String::as_str);
            found.push(format!("note: {name} was {one:?} and is {other:?}"));
        }
    }
    found
}

fn lines(before: &Report, after: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    for one in &before.systems {
        let mut others = after.systems.iter();
        if let Some(other) = others.find(|other| other.name == one.name) {
            lines.extend(lines_of(one, other));
        }
    }
    lines
}

fn lines_of(before: &System, after: &System) -> Vec<Line> {
    let line = |step: &str, one: &[f64], other: &[f64]| Line {
        system: before.name.clone(),
        step: step.into(),
        before: summary(one).p50,
        after: summary(other).p50,
        verdict: compare(one, other),
    };
    let mut lines = Vec::new();
    for (step, _) in ladder::STEPS {
        let series = |system: &System| measure::series(&system.starts, step);
        let (one, other) = (series(before), series(after));
        if !one.is_empty() && !other.is_empty() {
            lines.push(line(step, &one, &other));
        }
    }
    let total = |system: &System| measure::totals(&system.starts);
    lines.push(line(TOTAL, &total(before), &total(after)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Event;

    fn report(first: f64, rest: f64) -> Report {
        let event = |step: &str, ms| Event {
            step: step.into(),
            ms,
        };
        let start = |number: u32| {
            let noise = f64::from(number % 3) / 100.0;
            let ended = first + noise + rest;
            vec![
                event("image ready", first + noise),
                event(ladder::ENDED, ended),
            ]
        };
        let system = System {
            name: "coracle".into(),
            about: String::new(),
            release: String::new(),
            starts: (0..20).map(start).collect(),
            steps: Vec::new(),
            total: summary(&[]),
            answers: None,
        };
        Report {
            version: VERSION,
            taken: 0,
            environment: [("kernel".to_owned(), "6".to_owned())].into(),
            image: "busybox".into(),
            command: Vec::new(),
            warmup: 2,
            systems: vec![system],
            absent: std::collections::BTreeMap::new(),
        }
    }

    fn verdicts(before: &Report, after: &Report) -> Vec<(String, Verdict)> {
        let lines = lines(before, after).into_iter();
        lines.map(|line| (line.step, line.verdict)).collect()
    }

    #[test]
    fn equal_measurements_differ_by_noise() {
        let one = report(10.0, 100.0);
        let all = verdicts(&one, &one.clone());
        assert_eq!(all.len(), 3);
        assert!(
            all.iter().all(|(_, verdict)| *verdict == Verdict::Noise),
            "{all:?}"
        );
        assert!(differences(&one, &one).is_empty());
    }

    #[test]
    fn step_that_became_slower_is_named_alone() {
        let all = verdicts(&report(10.0, 100.0), &report(20.0, 100.0));
        let of = |step: &str| all.iter().find(|(name, _)| name == step).unwrap().1;
        assert_eq!(of("image ready"), Verdict::Worse);
        assert_eq!(of(ladder::ENDED), Verdict::Noise);
        assert_eq!(of(TOTAL), Verdict::Worse);
    }

    #[test]
    fn what_else_differs_is_told() {
        let (one, mut other) = (report(1.0, 1.0), report(1.0, 1.0));
        other.command = vec!["true".into()];
        other.environment.clear();
        let words = differences(&one, &other).join("\n");
        assert!(
            words.contains("commands") && words.contains("kernel"),
            "{words}"
        );
    }

    #[test]
    fn file_of_another_kind_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{\"version\": 1}").unwrap();
        let error = read(file.path()).unwrap_err();
        assert!(error.to_string().contains("--json"), "{error}");
        let mut old = report(1.0, 1.0);
        old.version = 0;
        fs::write(file.path(), serde_json::to_vec(&old).unwrap()).unwrap();
        assert!(
            read(file.path())
                .unwrap_err()
                .to_string()
                .contains("version 0")
        );
    }
}
