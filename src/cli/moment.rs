//! Moments, as `--since` and `--until` take them.

use super::age;
use crate::clock;

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

/// Nanoseconds of a duration in Go's words: `1h30m`, `1.5h`, `10s`, `500ms`.
pub(super) fn duration(text: &str) -> Option<u64> {
    // One that is the beginning of another stands behind it.
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1000),
        ("\u{b5}s", 1000),
        ("\u{3bc}s", 1000),
        ("ms", 1_000_000),
        ("h", 3600 * clock::SECOND),
        ("m", 60 * clock::SECOND),
        ("s", clock::SECOND),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, size) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(decimal(number, *size)?)?;
        rest = after.get(unit.len()..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// So many units of a size: `2`, `1.5`.
fn decimal(number: &str, size: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Go takes either of them alone.
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = format!("0{whole}").parse().ok()?;
    let part: u128 = format!("0{fraction}").parse().ok()?;
    let part = part * u128::from(size) / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    whole
        .checked_mul(size)?
        .checked_add(u64::try_from(part).ok()?)
}

/// Nanoseconds of a span of time as every option takes it: a duration, or a plain number of seconds.
pub(super) fn span(text: &str) -> Result<u64, String> {
    duration(text)
        .or_else(|| decimal(text, clock::SECOND))
        .ok_or_else(|| {
            format!("invalid duration {text:?}: use seconds, or units as in 30s or 1m30s")
        })
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
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("1h30m"), Some(5400 * clock::SECOND));
        assert_eq!(duration("500ms"), Some(500_000_000));
        assert_eq!(duration("1.5h"), Some(5400 * clock::SECOND));
        assert_eq!(duration(".5s"), Some(500_000_000));
        assert_eq!(duration("3\u{b5}s"), Some(3000));
        assert_eq!(duration("10"), None);
        assert_eq!(duration(""), None);
        assert_eq!(duration("m"), None);
        assert_eq!(duration("1.s.5"), None);
        assert_eq!(duration("9999999999h"), None);
    }

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
