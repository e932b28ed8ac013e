//! Times: nanoseconds since 1970 in UTC, and RFC 3339 as docker writes and clients send it.

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// Docker's word for a time that has not come: Go's zero time.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Days from the first of March of the year 0 to 1970.
const DAYS_TO_1970: u64 = 719_468;

/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_400_YEARS: u64 = 146_097;

/// Last year that is read: nanoseconds of later ones do not fit 64 bits.
const LAST_YEAR: u64 = 2553;

/// Year, month and day of a number of days since 1970.
///
/// Years are counted from March, so that the leap day is the last of its year and 400 years are a whole period.
#[must_use]
pub fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    match month {
        0..=9 => (400 * era + year, month + 3, day),
        _ => (400 * era + year + 1, month - 9, day),
    }
}

/// Days since 1970 of a date; nothing for one that the calendar does not have, or before 1970.
#[must_use]
pub fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (from_march, month_from_march) = match month {
        3.. => (year, month - 3),
        _ => (year - 1, month + 9),
    };
    let leap_days = from_march / 4 - from_march / 100 + from_march / 400;
    let days = 365 * from_march + leap_days + (153 * month_from_march + 2) / 5 + day - 1;
    let days = days.checked_sub(DAYS_TO_1970)?;
    // The 31st of April is none.
    (date_of(days) == (year, month, day)).then_some(days)
}

fn to_the_second(seconds: u64) -> String {
    let (year, month, day) = date_of(seconds / DAY);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// RFC 3339 with nine decimals, as logs and events have it, so that lines of a list are aligned.
#[must_use]
pub fn rfc3339_fixed(nanoseconds: u64) -> String {
    let (seconds, fraction) = (nanoseconds / SECOND, nanoseconds % SECOND);
    format!("{}.{fraction:09}Z", to_the_second(seconds))
}

/// RFC 3339 as docker's JSON has it: with as many decimals as there are to tell.
#[must_use]
pub fn rfc3339(nanoseconds: u64) -> String {
    let (seconds, fraction) = (nanoseconds / SECOND, nanoseconds % SECOND);
    let decimals = format!(".{fraction:09}");
    let decimals = decimals.trim_end_matches('0').trim_end_matches('.');
    format!("{}{decimals}Z", to_the_second(seconds))
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
    let seconds = days_of(year, month, day)? * DAY + hour * 3600 + minute * 60 + second.min(59);
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
    fn every_day_is_read_as_it_is_written() {
        for days in 0..200_000 {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), Some(days));
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
