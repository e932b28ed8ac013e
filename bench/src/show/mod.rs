//! What was measured, for people and for other programs.

mod csv;
mod html;
pub(crate) mod table;
mod terminal;

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result};

use crate::arguments::Outputs;
use crate::report::{Report, System};
use crate::statistics::{Verdict, compare};
use coracle_platform::size;
use coracle_terminal::output::{self, Stream};

/// Writes a report in one form.
type Form = fn(&Report) -> Result<String>;

/// Writes all that is asked for, and a table for a person unless standard output is for something else.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn all(report: &Report, outputs: &Outputs) -> Result<()> {
    let wanted: [(_, Form); 3] = [
        (&outputs.json, |report| {
            let text = serde_json::to_string_pretty(report)?;
            Ok(output::clean_json(&text).into_owned() + "\n")
        }),
        (&outputs.csv, |report| Ok(csv::text(report))),
        (&outputs.html, |report| Ok(html::page(report))),
    ];
    let mut for_a_person = true;
    for (path, text) in wanted {
        if let Some(path) = path {
            write(path, &text(report)?)?;
            for_a_person &= !is_standard_output(path);
        }
    }
    if for_a_person {
        output::write(Stream::Output, &terminal::text(report, columns()));
    }
    Ok(())
}

/// Writes to a file, or to standard output.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if is_standard_output(path) {
        // In a form for programs, which has its own escapes.
        return output::raw(Stream::Output)
            .write_all(text.as_bytes())
            .or_else(|_| Ok(()));
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A dash, as everywhere.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

/// Places of a line where nothing says how wide it may be.
const COLUMNS: usize = 80;

/// Places of a line on standard output: what `COLUMNS` says, or the terminal.
pub(crate) fn columns() -> usize {
    let given = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    let terminal = || {
        let size = rustix::termios::tcgetwinsize(output::descriptor(Stream::Output)).ok()?;
        Some(usize::from(size.ws_col))
    };
    let columns = given.filter(|columns| *columns > 0).or_else(terminal);
    columns.filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// What the steps are part of, in the order of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Command,
    Monitor,
    Kernel,
    Init,
    Container,
    End,
}

/// What a step is part of.
pub(crate) fn phase(step: &str) -> Phase {
    match step {
        "the command runs" | "image ready" => Phase::Command,
        "monitor runs" | "machine built" | "first KVM_RUN" => Phase::Monitor,
        "kernel's clock runs" | "init begins" => Phase::Kernel,
        "channel up" | "container executed" => Phase::Init,
        "first byte" | "exit seen" => Phase::Container,
        _ => Phase::End,
    }
}

/// What the container's own work and its system's come to, in words, for systems that differ by less than
/// their spread.
pub(crate) fn remarks(report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    let total = |system: &System| crate::measure::totals(&system.starts);
    for (index, one) in report.systems.iter().enumerate() {
        for other in report.systems.iter().skip(index + 1) {
            if compare(&total(one), &total(other)) == Verdict::Noise {
                found.push(format!(
                    "{} and {} differ by less than their spread: this measurement does not tell which \
                     is faster",
                    one.name, other.name
                ));
            }
        }
        if one.total.p50 > 0.0 && one.total.spread > one.total.p50 / 4.0 {
            found.push(format!(
                "the times of {} are spread by {:.0} % of their mean: something else was busy; \
                 --virtual-time is not disturbed by that",
                one.name,
                100.0 * one.total.spread / one.total.mean
            ));
        }
    }
    found
}

/// The answers about each system, as rows: the question, then an answer for each system that was asked.
pub(crate) fn answers(report: &Report) -> (Vec<String>, Vec<Vec<String>>) {
    let asked: Vec<_> = report
        .systems
        .iter()
        .filter_map(|system| Some((system, system.answers.as_ref()?)))
        .collect();
    let heads = asked
        .iter()
        .map(|(system, _)| system.name.clone())
        .collect();
    let mut rows = Vec::new();
    let mut row = |question: &str, answers: Vec<String>| {
        rows.push([vec![question.to_owned()], answers].concat());
    };
    let bytes = |bytes: Option<u64>| bytes.map_or("not seen".into(), size::binary);
    row(
        "start, p50",
        asked
            .iter()
            .map(|(system, _)| format!("{:.1} ms", system.total.p50))
            .collect(),
    );
    let mut parts: Vec<&String> = asked
        .iter()
        .flat_map(|(_, answers)| answers.disk.keys())
        .collect();
    parts.sort();
    parts.dedup();
    for part in parts {
        let of = asked.iter().map(|(_, answers)| {
            answers
                .disk
                .get(part)
                .map_or("-".into(), |n| size::decimal(*n))
        });
        row(&format!("on disk: {part}"), of.collect());
    }
    let memory = asked
        .iter()
        .map(|(_, answers)| bytes(answers.memory))
        .collect();
    row("one more container: its processes", memory);
    let available = asked
        .iter()
        .map(|(_, answers)| bytes(answers.available))
        .collect();
    row("one more container: the machine has less", available);
    let shares = asked
        .iter()
        .map(|(_, answers)| match answers.shares_kernel {
            Some(true) => "shared with the machine".into(),
            Some(false) => format!("its own, {}", answers.kernel),
            None => "not seen".into(),
        });
    row("kernel", shares.collect());
    let mut views: Vec<&String> = asked
        .iter()
        .flat_map(|(_, answers)| answers.visible.keys())
        .collect();
    views.sort();
    views.dedup();
    for view in views {
        let of = asked
            .iter()
            .map(|(_, answers)| answers.visible.get(view).map_or("-".into(), Clone::clone));
        row(&format!("sees {view}"), of.collect());
    }
    if asked.is_empty() {
        rows.clear();
    }
    (heads, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::STEPS;

    #[test]
    fn phases_follow_each_other_as_the_steps_do() {
        let phases: Vec<Phase> = STEPS.iter().map(|(step, _)| phase(step)).collect();
        let mut distinct = phases.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), 6, "{phases:?}");
        assert_eq!(phases.last(), Some(&Phase::End));
    }
}
