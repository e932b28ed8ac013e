//! Moments, as `--since` and `--until` take them and clients send them.

use coracle_platform::duration::duration;

use crate::time::{self, SECOND};

/// Nanoseconds since 1970: [`absolute`], or a duration before now, which is in nanoseconds since 1970, too.
///
/// # Errors
/// What is wrong with the text, for a person.
pub fn parse(text: &str, now: u64) -> Result<u64, String> {
    absolute(text)
        .or_else(|| Some(now.saturating_sub(duration(text)?)))
        .ok_or_else(|| {
            format!(
                "invalid time {text:?}: use RFC 3339 (2026-01-31T12:00:00Z), Unix time, or a duration before now (1h30m)"
            )
        })
}

/// Nanoseconds since 1970 of RFC 3339 or of seconds since 1970 with decimals: the forms that do not depend on the time.
#[must_use]
pub fn absolute(text: &str) -> Option<u64> {
    time::nanoseconds(text).or_else(|| unix(text))
}

/// Seconds since 1970 with decimals, in nanoseconds.
fn unix(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u64 = digits.then(|| whole.parse().ok())??;
    whole
        .checked_mul(SECOND)?
        .checked_add(time::decimals(fraction)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_each_form() {
        assert_eq!(absolute("12.5"), Some(12_500_000_000));
        assert_eq!(absolute("1970-01-01T00:00:02.25Z"), Some(2_250_000_000));
        // As Go's clients send it.
        assert_eq!(
            absolute("1796110682.740714250"),
            Some(1_796_110_682_740_714_250)
        );
        assert_eq!(parse("1h30m", 6000 * SECOND), Ok(600 * SECOND));
        assert_eq!(parse("12.5", 0), Ok(12_500_000_000));
        assert!(parse("soon", 0).is_err());
        for text in ["soon", "", "-1", "1.", "1.x", "99999999999999999999"] {
            assert_eq!(absolute(text), None, "{text}");
        }
    }
}
