//! Moments, as `--since` and `--until` take them.

use super::age;
use coracle_platform::clock;
use coracle_platform::duration::{duration, span};

/// Nanoseconds since 1970: from RFC 3339, seconds since 1970, or a duration before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "invalid time {text:?}: use RFC 3339 (2026-01-31T12:00:00Z), Unix time, or a duration \
                 before now (1h30m)"
            )
        };
        if let Some(nanoseconds) = age::nanoseconds(text) {
            return Ok(Self(nanoseconds));
        }
        if let Some(seconds) = seconds(text) {
            return Ok(Self(seconds));
        }
        let before = duration(text).ok_or_else(wrong)?;
        Ok(Self(clock::wall().saturating_sub(before)))
    }
}

/// Seconds since 1970 with decimals, in nanoseconds.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = format!("{fraction:0<9}");
    let fraction: u64 = fraction.get(..9)?.parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(clock::SECOND)?.checked_add(fraction)
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

    #[test]
    fn moments_are_read_in_each_form() {
        assert_eq!("12.5".parse(), Ok(Moment(12_500_000_000)));
        assert_eq!("1970-01-01T00:00:02.25Z".parse(), Ok(Moment(2_250_000_000)));
        assert!("soon".parse::<Moment>().is_err());
    }
}
