//! Spans of time as options take them.

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of a duration in Go's words: `1h30m`, `1.5h`, `10s`, `500ms`.
pub fn duration(text: &str) -> Option<u64> {
    // One that is the beginning of another stands behind it.
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1000),
        ("\u{b5}s", 1000),
        ("\u{3bc}s", 1000),
        ("ms", 1_000_000),
        ("h", 3600 * SECOND),
        ("m", 60 * SECOND),
        ("s", SECOND),
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
pub fn span(text: &str) -> Result<u64, String> {
    duration(text)
        .or_else(|| decimal(text, SECOND))
        .ok_or_else(|| {
            format!("invalid duration {text:?}: use seconds, or units as in 30s or 1m30s")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("1h30m"), Some(5400 * SECOND));
        assert_eq!(duration("500ms"), Some(500_000_000));
        assert_eq!(duration("1.5h"), Some(5400 * SECOND));
        assert_eq!(duration(".5s"), Some(500_000_000));
        assert_eq!(duration("3\u{b5}s"), Some(3000));
        assert_eq!(duration("10"), None);
        assert_eq!(duration(""), None);
        assert_eq!(duration("m"), None);
        assert_eq!(duration("1.s.5"), None);
        assert_eq!(duration("9999999999h"), None);
    }
}
