//! How long ago something was, in docker's words.

use coracle_platform::clock;

/// `2 hours ago` for a time in RFC 3339; `N/A` for one that is none.
pub(super) fn age(created: &str) -> String {
    let now = clock::wall() / clock::SECOND;
    seconds(created).map_or("N/A".into(), |then| {
        format!("{} ago", duration(now.saturating_sub(then)))
    })
}

/// `2 hours ago` for nanoseconds since 1970, as is `now`.
pub(super) fn since(wall: u64, now: u64) -> String {
    let ago = now.saturating_sub(wall) / clock::SECOND;
    format!("{} ago", duration(ago))
}

/// Nanoseconds since 1970 of RFC 3339 in UTC.
pub(super) fn nanoseconds(text: &str) -> Option<u64> {
    let whole = seconds(text)?;
    let rest = text.get(19..)?.strip_suffix('Z')?;
    let fraction = rest.strip_prefix('.').unwrap_or(rest);
    let fraction: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    whole.checked_mul(clock::SECOND)?.checked_add(fraction)
}

/// A duration in one unit, the largest of which there are two or more.
pub(super) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (365 * 86400, "years"),
        (30 * 86400, "months"),
        (7 * 86400, "weeks"),
        (86400, "days"),
        (3600, "hours"),
        (60, "minutes"),
    ];
    match UNITS.iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None if seconds >= 60 => "About a minute".into(),
        None if seconds == 1 => "1 second".into(),
        None if seconds == 0 => "Less than a second".into(),
        None => format!("{seconds} seconds"),
    }
}

/// Seconds since 1970 of `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`; an offset of hours does not
/// change how long ago something was in these words, and is passed over.
fn seconds(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<u64>);
    let mut next = || date.next()?.ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let mut time = rest.get(..8)?.split(':').map(str::parse::<u64>);
    let mut next = || time.next()?.ok();
    let (hour, minute, second) = (next()?, next()?, next()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March end in their leap day.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_one_unit() {
        for (seconds, words) in [
            (5, "5 seconds"),
            (61, "About a minute"),
            (7200, "2 hours"),
            (3 * 86400, "3 days"),
            (3 * 365 * 86400, "3 years"),
        ] {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T12:00:01.5Z"), Some(1_709_208_001));
        assert_eq!(seconds("2026-11-24T00:00:00+01:00"), Some(1_795_478_400));
        for text in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "2024-01-01T0",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
