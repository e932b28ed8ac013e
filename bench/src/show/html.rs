//! A page that needs nothing beside itself: the ladder as a picture, and all tables. It follows the reader's
//! choice of light or dark, and prints.

use std::{collections::BTreeMap, fmt::Write};

use coracle_platform::date;

use super::{answers, phase, remarks};
use crate::ladder;
use crate::report::{Report, Step, Summary, System};

/// Heights in the picture, in pixels: a system's row, the bar in it, and the axis below. Widths are parts of
/// the page's, however wide that is.
const ROW: f64 = 54.0;
const BAR: f64 = 24.0;
const AXIS: f64 = 28.0;

/// Marks on the axis, about: as many as a telephone has room for.
const MARKS: f64 = 6.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1c2430;--dim:#5a6675;--line:#d4dae2;--page:#fff;--stripe:#f5f7fa;\
--p0:#2f6fde;--p1:#7c4dd6;--p2:#d9822b;--p3:#1d9a8a;--p4:#3f9b3f;--p5:#8a94a3}\
@media screen and (prefers-color-scheme:dark){:root{--text:#e4e9f0;--dim:#9aa6b5;--line:#38424f;--page:#14181f;\
--stripe:#1b212a;--p0:#5b93f5;--p1:#a37df0;--p2:#eca457;--p3:#43c2b1;--p4:#66c266;--p5:#a5afbd}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--page);max-width:62rem;\
margin:2rem auto;padding:0 1rem}h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem;\
break-after:avoid}p{color:var(--dim);margin:.3rem 0}.wide{overflow-x:auto}table{border-collapse:collapse;\
width:100%;font-variant-numeric:tabular-nums;font-size:14px}th,td{padding:.3rem .7rem;\
border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;vertical-align:top}\
tr{background:var(--page);break-inside:avoid}tbody tr:nth-child(odd){background:var(--stripe)}\
th{color:var(--dim);font-weight:600}th:first-child,td:first-child{text-align:left;position:sticky;left:0;\
background:inherit}.w th,.w td{text-align:left}.w td{white-space:normal;min-width:7rem;overflow-wrap:anywhere}\
.w td:first-child{min-width:9rem}svg{display:block}svg.all{width:100%}svg text{fill:var(--text);\
font:13px system-ui,sans-serif;paint-order:stroke;stroke:var(--page);stroke-width:3px}\
svg .d{fill:var(--dim);font-size:12px}svg .l{stroke:var(--line)}\
svg .e{stroke:var(--text);stroke-width:1.5}code{font:inherit;white-space:nowrap}\
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin:.5rem 0}\
.key span{display:inline-flex;gap:.4rem;align-items:center}\
@media print{:root{color-scheme:light;--text:#000;--dim:#333;--line:#bbb;--stripe:#fff}body{margin:0;padding:0;\
max-width:none;font-size:12px}.wide{overflow:visible}table{font-size:11px}\
th,td{padding:.2rem .4rem;white-space:normal}\
.w td{min-width:0}.w td:first-child{min-width:9em}th:first-child,td:first-child{position:static}}";

/// Names of the phases, in their order, for the key.
const PHASES: [&str; 6] = [
    "command and image",
    "monitor",
    "kernel, until init",
    "init",
    "container",
    "end",
];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("{} {}", report.image, report.command.join(" "));
    let count = report
        .systems
        .first()
        .map_or(0, |system| system.total.count);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>coracle bench: {0}</title>\
         <style>{STYLE}</style></head><body>\n<h1>What a start takes</h1>\n<p>{0} · {count} starts of each \
         system, side by side, after {1} that do not count · <code>{2}</code></p>\n",
        escaped(title.trim()),
        report.warmup,
        escaped(&date::day(report.taken)),
    );
    section(&mut page, "The ladder", &(picture(report) + &key()));
    section(&mut page, "Whole starts, milliseconds", &totals(report));
    section(
        &mut page,
        "Steps, milliseconds of the median start",
        &steps(report),
    );
    let (heads, rows) = answers(report);
    if !rows.is_empty() {
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        section(
            &mut page,
            "VM or container?",
            &table(&[&[""], &heads[..]].concat(), &rows, true),
        );
    }
    let about: Vec<Vec<String>> = report
        .systems
        .iter()
        .map(|system| {
            vec![
                system.name.clone(),
                system.release.clone(),
                system.about.clone(),
            ]
        })
        .collect();
    section(
        &mut page,
        "Systems",
        &table(&["", "release", "what it is"], &about, true),
    );
    let pairs = |all: &BTreeMap<String, String>| -> Vec<Vec<String>> {
        all.iter()
            .map(|(name, value)| vec![name.clone(), value.clone()])
            .collect()
    };
    if !report.absent.is_empty() {
        let rows = pairs(&report.absent);
        section(&mut page, "Not measured", &table(&["", "why"], &rows, true));
    }
    let rows = pairs(&report.environment);
    section(
        &mut page,
        "Where",
        &table(&["", "what is there"], &rows, true),
    );
    page.push_str("</body></html>\n");
    page
}

fn section(page: &mut String, head: &str, content: &str) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        page,
        "<section><h2>{}</h2><div class=\"wide\">{content}</div></section>",
        escaped(head)
    );
}

/// A text in a page.
fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '"' => result.push_str("&quot;"),
            letter if letter.is_control() => result.push(' '),
            letter => result.push(letter),
        }
    }
    result
}

fn table(heads: &[&str], rows: &[Vec<String>], words: bool) -> String {
    let class = if words { " class=\"w\"" } else { "" };
    let mut text = format!("<table{class}><thead><tr>");
    for head in heads {
        let _ = write!(text, "<th>{}</th>", escaped(head));
    }
    text.push_str("</tr></thead><tbody>");
    for row in rows {
        text.push_str("<tr>");
        for value in row {
            let _ = write!(text, "<td>{}</td>", escaped(value));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody></table>"
}

fn totals(report: &Report) -> String {
    let row = |system: &System| {
        let Summary {
            min,
            p50,
            p90,
            p99,
            max,
            spread,
            ..
        } = system.total;
        let numbers = [p50, p90, p99, min, max, spread].map(|ms| format!("{ms:.2}"));
        [vec![system.name.clone()], numbers.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = report.systems.iter().map(row).collect();
    let mut text = table(
        &["", "p50", "p90", "p99", "least", "most", "spread"],
        &rows,
        false,
    );
    for remark in remarks(report) {
        // An option's name stays in one piece.
        let remark = escaped(&remark).replace("--virtual-time", "<code>--virtual-time</code>");
        let _ = write!(text, "<p>Note: {remark}.</p>");
    }
    text
}

fn steps(report: &Report) -> String {
    let mut rows = Vec::new();
    for (step, _) in ladder::STEPS {
        let found = |system: &System| {
            let mut steps = system.steps.iter();
            let step = steps.find(|one| one.step == step);
            step.map_or(String::new(), |one| {
                format!("{:.2} ±{:.2}", one.took.p50, one.took.spread)
            })
        };
        let cells: Vec<String> = report.systems.iter().map(found).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push([vec![format!("until {step}")], cells].concat());
        }
    }
    let names: Vec<&str> = report
        .systems
        .iter()
        .map(|system| system.name.as_str())
        .collect();
    table(&[&[""], &names[..]].concat(), &rows, false)
}

fn key() -> String {
    let mut text = "<div class=\"key\">".to_owned();
    for (number, name) in PHASES.iter().enumerate() {
        let _ = write!(
            text,
            "<span><svg width=\"14\" height=\"14\"><rect width=\"14\" height=\"14\" rx=\"2\" \
             fill=\"var(--p{number})\"/></svg>{}</span>",
            escaped(name)
        );
    }
    text + "</div>"
}

/// The steps that a bar is made of.
fn before_the_end(system: &System) -> impl Iterator<Item = &Step> {
    system
        .steps
        .iter()
        .take_while(|step| step.step != ladder::FREED)
}

fn picture(report: &Report) -> String {
    let ends = report.systems.iter().map(|system| {
        let sum: f64 = before_the_end(system).map(|step| step.took.p50).sum();
        sum.max(system.total.p99)
    });
    let longest = ends.fold(f64::MIN_POSITIVE, f64::max);
    let scale = 100.0 / longest;
    #[expect(clippy::cast_precision_loss, reason = "systems are few")]
    let height = ROW * report.systems.len() as f64 + AXIS;
    let mut text = format!(
        "<svg class=\"all\" height=\"{height}\" role=\"img\" \
         aria-label=\"Time of each step for each system\">"
    );
    let mark = mark(longest / MARKS);
    let mut at = 0.0;
    while at <= longest {
        let x = at * scale;
        // The first and the last must not be cut.
        let anchor = match at {
            0.0 => "start",
            _ if x > 95.0 => "end",
            _ => "middle",
        };
        let bottom = height - AXIS;
        let _ = write!(
            text,
            "<line class=\"l\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{bottom}\"/>\
             <text class=\"d\" x=\"{x:.2}%\" y=\"{:.1}\" text-anchor=\"{anchor}\">{at} ms</text>",
            height - 9.0
        );
        at += mark;
    }
    let mut top = 0.0;
    for system in &report.systems {
        row(&mut text, system, top, scale);
        top += ROW;
    }
    text + "</svg>"
}

/// A system's row: its name and its time, and the bar below them.
fn row(text: &mut String, system: &System, top: f64, scale: f64) {
    let words = top + 17.0;
    let y = top + ROW - BAR - 6.0;
    let middle = y + BAR / 2.0;
    let _ = write!(
        text,
        "<text x=\"4\" y=\"{words}\">{}</text>\
         <text x=\"100%\" y=\"{words}\" text-anchor=\"end\">{:.1} ms</text>",
        escaped(&system.name),
        system.total.p50
    );
    let mut x = 0.0;
    for (number, step) in before_the_end(system).enumerate() {
        let width = step.took.p50 * scale;
        let _ = write!(
            text,
            "<rect x=\"{x:.3}%\" y=\"{y}\" width=\"{width:.3}%\" height=\"{BAR}\" fill=\"var(--p{})\" \
             opacity=\"{}\"><title>until {}: {:.2} ms, spread {:.2}</title></rect>",
            phase(&step.step) as usize,
            if number % 2 == 0 { "1" } else { ".72" },
            escaped(&step.step),
            step.took.p50,
            step.took.spread,
        );
        x += width;
    }
    // From the least to the 99th in a hundred.
    let (least, most) = (system.total.min * scale, system.total.p99 * scale);
    let _ = write!(
        text,
        "<line class=\"e\" x1=\"{least:.2}%\" x2=\"{most:.2}%\" y1=\"{middle}\" y2=\"{middle}\"/>"
    );
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn mark(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(f64::MIN_POSITIVE).log10().floor());
    let mut steps = [1.0, 2.0, 5.0].into_iter().map(|step| step * power);
    steps.find(|step| *step >= least).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers() {
        assert_eq!(mark(19.3), 20.0);
        assert_eq!(mark(0.7), 1.0);
        assert_eq!(mark(51.0), 100.0);
    }

    #[test]
    fn words_of_others_are_no_markup() {
        assert_eq!(
            escaped("<a b=\"c\">&\u{1b}"),
            "&lt;a b=&quot;c&quot;&gt;&amp; "
        );
    }
}
