//! How long ago something was, in docker's words.

use crate::time::{self, SECOND};

/// A number of seconds in docker's words: `2 hours`, `About a minute`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let minutes = seconds / 60;
    // Docker rounds hours, and counts everything longer by them.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 168),
        (_, _, ..17_520) => format!("{} months", hours / 720),
        _ => format!("{} years", seconds / 3600 / 8760),
    }
}

/// `2 hours` since a time; both are nanoseconds since 1970.
#[must_use]
pub fn since(then: u64, now: u64) -> String {
    duration(now.saturating_sub(then) / SECOND)
}

/// `2 hours ago`; both are nanoseconds since 1970.
#[must_use]
pub fn ago(then: u64, now: u64) -> String {
    format!("{} ago", since(then, now))
}

/// `2 hours ago` of a time in RFC 3339; `N/A` for what is none.
#[must_use]
pub fn ago_of(text: &str, now: u64) -> String {
    time::nanoseconds(text).map_or_else(|| "N/A".into(), |then| ago(then, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_docker_s_words() {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (5, "5 seconds"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (HOUR - 1, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (700 * DAY, "23 months"),
            (730 * DAY, "2 years"),
            (3 * 365 * DAY, "3 years"),
        ] {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn ages_are_counted_from_either_form_of_a_time() {
        let now = 1_796_110_683 * SECOND;
        assert_eq!(ago(now - 3 * SECOND, now), "3 seconds ago");
        assert_eq!(ago(now + SECOND, now), "Less than a second ago");
        assert_eq!(ago_of("2026-12-01T07:33:03Z", now), "5 minutes ago");
        assert_eq!(ago_of("2026-12-01T08:33:03+01:00", now), "5 minutes ago");
        assert_eq!(ago_of("", now), "N/A");
    }
}
