//! The civil calendar, in UTC: days since 1970 as dates, and back.

/// Seconds of a day.
pub const DAY: u64 = 86_400;

/// Days from the first of March of the year 0 to 1970.
const DAYS_TO_1970: u64 = 719_468;

/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_400_YEARS: u64 = 146_097;

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

/// The day of a time in seconds since 1970: `2026-01-31`.
#[must_use]
pub fn day(seconds: u64) -> String {
    let (year, month, day) = date_of(seconds / DAY);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time in seconds since 1970 as RFC 3339 begins: `2026-01-31T12:00:00`.
#[must_use]
pub fn second(seconds: u64) -> String {
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}", day(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_208_001, "2024-02-29T12:00:01"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (1_795_478_400, "2026-11-24T00:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(second(seconds), text);
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
    fn dates_that_the_calendar_does_not_have_are_none() {
        for (year, month, day) in [
            (1969, 12, 31),
            (2023, 2, 29),
            (2024, 4, 31),
            (2024, 13, 1),
            (2024, 1, 0),
        ] {
            assert_eq!(days_of(year, month, day), None);
        }
    }
}
