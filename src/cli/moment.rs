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
                "{text:?} is no time: give one such as 2026-01-31T12:00:00Z, seconds since 1970, \
                 or a duration such as 1h30m"
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

/// Nanoseconds of a duration in Go's words: `1h30m`, `10s`, `500ms`.
pub(super) fn duration(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 6] = [
        ("ns", 1),
        ("us", 1000),
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
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .filter(|end| *end > 0)?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let after = rest.get(digits..)?;
        let (unit, size) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(number.checked_mul(*size)?)?;
        rest = after.get(unit.len()..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// As [`duration`], for an option.
pub(super) fn span(text: &str) -> Result<u64, String> {
    duration(text).ok_or_else(|| format!("{text:?} is no duration such as 30s or 1m30s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("1h30m"), Some(5400 * clock::SECOND));
        assert_eq!(duration("500ms"), Some(500_000_000));
        assert_eq!(duration("10"), None);
        assert_eq!(duration(""), None);
        assert_eq!(duration("m"), None);
    }

    #[test]
    fn moments_are_read_in_each_form() {
        assert_eq!("12.5".parse(), Ok(Moment(12_500_000_000)));
        assert_eq!("1970-01-01T00:00:02.25Z".parse(), Ok(Moment(2_250_000_000)));
        assert!("soon".parse::<Moment>().is_err());
    }
}
