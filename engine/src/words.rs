//! Words about a guest, and steps of its start.

use anyhow::anyhow;
use contracts::monitor::{Report, StopReason};

use crate::keeper::CHANNEL_UP;
use coracle_platform::clean::lines;

/// Adds the monitor's steps. Its clock is ours, unless it ran in a software host: then the
/// moment at which the guest's first connection was seen joins the two.
pub fn merge(timeline: &mut Vec<(String, u64)>, report: &Report, shares_clock: bool) {
    let offset = if shares_clock {
        Some(0)
    } else {
        let ours = timeline.iter().find(|(step, _)| step == CHANNEL_UP);
        let theirs = report
            .timeline
            .iter()
            .find(|(step, _)| step == "first vsock connection");
        ours.zip(theirs)
            .map(|((_, ours), (_, theirs))| ours.wrapping_sub(*theirs))
    };
    let Some(offset) = offset else { return };
    for (step, at) in &report.timeline {
        timeline.push((format!("monitor: {step}"), at.wrapping_add(offset)));
    }
}

/// Words for a machine that ended before its container did.
pub fn stopped(report: &Report) -> anyhow::Error {
    let what = match &report.reason {
        StopReason::GuestReset => "the guest stopped before its container ended".to_owned(),
        StopReason::TripleFault => {
            "the guest's processor shut down (triple fault) before the container ended".to_owned()
        }
        StopReason::BootDeadline => {
            "the guest did not come up in time; is the kernel one for microVMs? ('coracle kernel \
             build' makes one)"
                .to_owned()
        }
        StopReason::Asked => "the host was stopped before the container ended".to_owned(),
        StopReason::Failed(why) => format!("the monitor failed: {why}"),
    };
    let console = report.console.trim();
    if console.is_empty() {
        anyhow!("{what}")
    } else {
        anyhow!(
            "{what}; the end of the guest's console:\n{}",
            last_lines(console)
        )
    }
}

/// Lines of a console that are shown.
const CONSOLE_LINES: usize = 20;

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(CONSOLE_LINES);
    lines.get(first..).unwrap_or_default().join("\n")
}

/// A guest's words as they may be kept: files of a container's state are read by others than this program, too.
pub fn clean(text: &str) -> String {
    lines(text).into_owned()
}

/// Words for what the monitor tells of a container's disk.
pub fn failure(words: &str) -> String {
    format!(
        "{}; what the container wrote to it is incomplete",
        clean(words)
    )
}

/// Words for an image that is not what it was when it was stored.
pub fn damage(image: &str) -> String {
    format!(
        "image {image} has changed on disk since it was stored; \
         'coracle image verify {image}' finds the damage, and pulling the image repairs it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_console_is_shown() {
        let text: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        assert_eq!(last_lines(&text.join("\n")).lines().next(), Some("80"));
    }
}
