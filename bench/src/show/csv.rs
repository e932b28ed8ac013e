//! Each step of each start, in comma-separated values (RFC 4180).

use std::fmt::Write;

use crate::ladder;
use crate::report::Report;

/// A line for each step: the system, the number of the start, the step, when it was over, what it took.
pub(super) fn text(report: &Report) -> String {
    let mut text = "system,start,step,at_ms,took_ms\r\n".to_owned();
    for system in &report.systems {
        for (number, start) in (1..).zip(&system.starts) {
            for (event, (step, took)) in start.iter().zip(ladder::durations(start)) {
                let (name, step) = (field(&system.name), field(step));
                // Writing to a string cannot fail.
                let _ = write!(text, "{name},{number},{step},{:.4},{took:.4}\r\n", event.ms);
            }
        }
    }
    text
}

/// A value, in quotes where it needs them.
fn field(value: &str) -> String {
    if value.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_would_be_two_are_quoted() {
        assert_eq!(field("a b"), "a b");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
