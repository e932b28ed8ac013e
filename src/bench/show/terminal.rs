//! Tables and bars for a terminal.

use std::fmt::Write;

use super::{answers, phase, remarks, table::Table};
use crate::{
    ladder,
    report::{Report, Step, System},
};

/// Places that the longest bar takes.
const WIDTH: f64 = 48.0;

/// What the bars of the phases are made of, in their order.
const BLOCKS: [char; 6] = ['░', '▒', '▓', '█', '▒', '░'];

/// The whole report.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let count = report
        .systems
        .first()
        .map_or(0, |system| system.total.count);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} {}: {count} starts of each system, after {} that do not count\n",
        report.image,
        report.command.join(" "),
        report.warmup
    );
    text.push_str(&totals(report));
    text.push('\n');
    text.push_str(&steps(report));
    for remark in remarks(report) {
        let _ = writeln!(text, "\nnote: {remark}");
    }
    let (heads, rows) = answers(report);
    if !rows.is_empty() {
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let mut table = Table::new(&[&["VM OR CONTAINER?"], &heads[..]].concat());
        for row in rows {
            table.row(row);
        }
        let _ = write!(text, "\n{}", table.text());
    }
    for (name, why) in &report.absent {
        let _ = writeln!(
            text,
            "\nnot measured: {name}: {}",
            why.lines().next().unwrap_or_default()
        );
    }
    text
}

fn totals(report: &Report) -> String {
    let mut table = Table::new(&["SYSTEM", "P50 MS", "P90", "P99", "SPREAD", ""]);
    let all = report.systems.iter().map(|system| system.total.p50);
    let longest = all.fold(f64::MIN_POSITIVE, f64::max);
    for system in &report.systems {
        let total = &system.total;
        table.row([
            system.name.clone(),
            format!("{:.1}", total.p50),
            format!("{:.1}", total.p90),
            format!("{:.1}", total.p99),
            format!("±{:.1}", total.spread),
            bar(system, longest),
        ]);
    }
    table.text()
}

/// The steps that come before the command's end.
fn before_the_end(system: &System) -> impl Iterator<Item = &Step> {
    system
        .steps
        .iter()
        .take_while(|step| step.step != ladder::FREED)
}

fn bar(system: &System, longest: f64) -> String {
    let mut bar = String::new();
    let mut sum = 0.0;
    for step in before_the_end(system) {
        sum += step.took.p50;
        let block = BLOCKS
            .get(phase(&step.step) as usize)
            .copied()
            .unwrap_or('█');
        let end = (sum / longest * WIDTH).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "places of a line are few"
        )]
        let missing = (end as usize).saturating_sub(bar.chars().count());
        bar.extend(std::iter::repeat_n(block, missing));
    }
    bar
}

fn steps(report: &Report) -> String {
    let names: Vec<&str> = report
        .systems
        .iter()
        .map(|system| system.name.as_str())
        .collect();
    let mut table = Table::new(&[&["UNTIL, MS OF P50"], &names[..]].concat());
    for (step, _) in ladder::STEPS {
        let took = report.systems.iter().map(|system| {
            let mut steps = system.steps.iter();
            let found = steps.find(|one| one.step == step);
            found.map_or(String::new(), |one| format!("{:.2}", one.took.p50))
        });
        let took: Vec<String> = took.collect();
        if took.iter().any(|one| !one.is_empty()) {
            table.row([vec![step.to_owned()], took].concat());
        }
    }
    table.text()
}
