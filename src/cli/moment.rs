//! Moments, as `--since` and `--until` take them.

use coracle_platform::{clock, duration::span};
use docker_model::moment;

/// Nanoseconds since 1970: from RFC 3339, seconds since 1970, or a duration before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        moment::parse(text, clock::wall()).map(Self)
    }
}

/// The longest time that can be waited for, about a hundred years: then as good as without an end.
const MAX_SECONDS: u64 = 100 * 365 * 86400;

/// A span of time in whole seconds, rounded up; -1, as docker's, is without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) u64);

impl std::str::FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-1" {
            return Ok(Self(MAX_SECONDS));
        }
        let seconds = span(text)?.div_ceil(clock::SECOND);
        Ok(Self(seconds.min(MAX_SECONDS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_durations_or_seconds() {
        for (text, seconds) in [
            ("0", 0),
            ("60", 60),
            ("1m", 60),
            ("1.2", 2),
            ("500ms", 1),
            ("-1", MAX_SECONDS),
            ("9999999999", MAX_SECONDS),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for text in ["", "-2", "1x", "1 m", ".", "1.2.3", "soon"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }
}
