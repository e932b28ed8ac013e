//! Tables and bars for a terminal.

use super::{
    answers, phase, remarks,
    table::{Table, wrapped},
};
use crate::ladder;
use crate::report::{Report, Step, System};

/// Places that the longest bar takes, and least ones.
const BAR: usize = 48;
const SHORTEST_BAR: usize = 10;

/// What the bars of the phases are made of, in their order.
const BLOCKS: [char; 6] = ['░', '▒', '▓', '█', '▒', '░'];

/// The whole report, in lines of at most so many places.
pub(super) fn text(report: &Report, width: usize) -> String {
    let mut text = String::new();
    let count = report
        .systems
        .first()
        .map_or(0, |system| system.total.count);
    let head = format!(
        "{} {}: {count} starts of each system, after {} that do not count",
        report.image,
        report.command.join(" "),
        report.warmup
    );
    paragraph(&mut text, &head, width);
    text.push('\n');
    text.push_str(&totals(report, width));
    text.push('\n');
    text.push_str(&steps(report, width));
    for remark in remarks(report) {
        text.push('\n');
        paragraph(&mut text, &format!("note: {remark}"), width);
    }
    let (heads, rows) = answers(report);
    if !rows.is_empty() {
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let mut table = Table::new(&[&["VM OR CONTAINER?"], &heads[..]].concat());
        for row in rows {
            table.row(row);
        }
        text.push('\n');
        text.push_str(&table.text(width));
    }
    for (name, why) in &report.absent {
        let why = why.lines().next().unwrap_or_default();
        text.push('\n');
        paragraph(&mut text, &format!("not measured: {name}: {why}"), width);
    }
    text
}

fn paragraph(text: &mut String, words: &str, width: usize) {
    for line in wrapped(words, width) {
        text.push_str(&line);
        text.push('\n');
    }
}

fn totals(report: &Report, width: usize) -> String {
    let mut table = Table::new(&["SYSTEM", "P50 MS", "P90", "P99", "SPREAD", ""]);
    let all = report.systems.iter().map(|system| system.total.p50);
    let longest = all.fold(f64::MIN_POSITIVE, f64::max);
    let names = report.systems.iter().map(|system| system.name.len()).max();
    let places = width.saturating_sub(names.unwrap_or(0) + NUMBERS);
    let places = places.clamp(SHORTEST_BAR, BAR);
    for system in &report.systems {
        let total = &system.total;
        table.row([
            system.name.clone(),
            format!("{:.1}", total.p50),
            format!("{:.1}", total.p90),
            format!("{:.1}", total.p99),
            format!("±{:.1}", total.spread),
            bar(system, longest, places),
        ]);
    }
    table.text(width)
}

/// The steps that come before the command's end.
fn before_the_end(system: &System) -> impl Iterator<Item = &Step> {
    system
        .steps
        .iter()
        .take_while(|step| step.step != ladder::FREED)
}

/// Places of the numbers before a bar, and of what parts them.
const NUMBERS: usize = 40;

fn bar(system: &System, longest: f64, places: usize) -> String {
    let mut bar = String::new();
    let mut sum = 0.0;
    for step in before_the_end(system) {
        sum += step.took.p50;
        let block = BLOCKS
            .get(phase(&step.step) as usize)
            .copied()
            .unwrap_or('█');
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "places of a line are few"
        )]
        let missing =
            ((sum / longest * places as f64).round() as usize).saturating_sub(bar.chars().count());
        bar.extend(std::iter::repeat_n(block, missing));
    }
    bar
}

fn steps(report: &Report, width: usize) -> String {
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
    table.text(width)
}
