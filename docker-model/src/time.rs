//! Times: nanoseconds since 1970 in UTC, and RFC 3339 as docker writes and clients send it.

use std::time::{SystemTime, UNIX_EPOCH};

pub use coracle_platform::clock::SECOND;
use coracle_platform::date;

/// Docker's word for a time that has not come: Go's zero time.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Last year that is read: nanoseconds of later ones do not fit 64 bits.
const LAST_YEAR: u64 = 2553;

/// RFC 3339 with nine decimals, as logs and events have it, so that lines of a list are aligned.
#[must_use]
pub fn rfc3339_fixed(nanoseconds: u64) -> String {
    let (seconds, fraction) = (nanoseconds / SECOND, nanoseconds % SECOND);
    format!("{}.{fraction:09}Z", date::second(seconds))
}

/// RFC 3339 as docker's JSON has it: with as many decimals as there are to tell.
#[must_use]
pub fn rfc3339(nanoseconds: u64) -> String {
    let (seconds, fraction) = (nanoseconds / SECOND, nanoseconds % SECOND);
    let decimals = format!(".{fraction:09}");
    let decimals = decimals.trim_end_matches('0').trim_end_matches('.');
    format!("{}{decimals}Z", date::second(seconds))
}

/// The same of a time of the system's; times before 1970 count as its beginning.
#[must_use]
pub fn rfc3339_of(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// As [`rfc3339`]; 0 is [`NEVER`].
#[must_use]
pub fn rfc3339_or_never(nanoseconds: u64) -> String {
    match nanoseconds {
        0 => NEVER.into(),
        some => rfc3339(some),
    }
}

/// Nanoseconds since 1970 of RFC 3339, with any offset. Nothing for what is none, and for times before 1970.
#[must_use]
pub fn nanoseconds(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let [year, month, day] = numbers(date, '-')?;
    if year > LAST_YEAR {
        return None;
    }
    let end = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(end);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?;
    // A leap second is the second before it, as Linux counts.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds =
        date::days_of(year, month, day)? * date::DAY + hour * 3600 + minute * 60 + second.min(59);
    let seconds = match zone {
        "Z" | "z" => seconds,
        _ => {
            let ahead = zone.starts_with('+');
            let [hours, minutes] = numbers(zone.get(1..)?, ':')?;
            let offset = hours * 3600 + minutes * 60;
            match ahead {
                true => seconds.checked_sub(offset)?,
                false => seconds.checked_add(offset)?,
            }
        }
    };
    seconds
        .checked_mul(SECOND)?
        .checked_add(decimals(fraction)?)
}

/// Nanoseconds of the digits behind a point; more than nine are cut off.
pub(crate) fn decimals(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<9}").get(..9)?.parse().ok()
}

/// Numbers of two or four digits between separators.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[u64; N]> {
    let mut parts = text.split(separator);
    let mut all = [0; N];
    for number in &mut all {
        let part = parts.next()?;
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        *number = (digits && matches!(part.len(), 2 | 4)).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_478_400, "2026-11-24T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds * SECOND), text);
            assert_eq!(nanoseconds(text), Some(seconds * SECOND), "{text}");
        }
    }

    #[test]
    fn decimals_are_as_docker_writes_them() {
        // dockerd's own: of "Created", where the last digit is 0, and of an event.
        let created = 1_796_110_682_740_714_250;
        assert_eq!(rfc3339(created), "2026-12-01T07:38:02.74071425Z");
        assert_eq!(rfc3339_fixed(created), "2026-12-01T07:38:02.740714250Z");
        assert_eq!(rfc3339_fixed(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(10 * SECOND), "1970-01-01T00:00:10Z");
        assert_eq!(rfc3339_or_never(0), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn times_are_read_in_every_zone() {
        let noon = Some(1_709_208_001_500_000_000);
        assert_eq!(nanoseconds("2024-02-29T12:00:01.5Z"), noon);
        assert_eq!(nanoseconds("2024-02-29T14:30:01.500+02:30"), noon);
        assert_eq!(nanoseconds("2024-02-29T04:00:01.5000000001-08:00"), noon);
        assert_eq!(
            nanoseconds("2024-02-29t12:00:01z"),
            Some(1_709_208_001 * SECOND)
        );
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-04-31T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-01-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00Z",
            "2024-01-01T0",
            "+024-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "2024-01-01T00:00:00+é",
        ] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
