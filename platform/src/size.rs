//! Numbers of bytes as docker writes them, in powers of 1000 on disks and networks, of 1024 in memory; and as it reads
//! them.

/// The digits of a number before and behind its point, of which there may be no whole part (`.5`) or no fraction (`5`).
pub fn number(text: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = match text.split_once('.') {
        None => (text, "0"),
        Some(("", fraction)) => ("0", fraction),
        Some(parts) => parts,
    };
    let are_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits(whole) && are_digits(fraction)).then_some((whole, fraction))
}

/// A number of bytes: `512m`, `1.5g`, `4096`.
///
/// # Errors
/// In words for a person, when it is none.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid size {text:?}: use a number with a unit, such as 512m or 2g");
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = lower.get(digits.len()..).unwrap_or_default();
    let digits = digits.strip_suffix(' ').unwrap_or(digits);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number(digits).ok_or_else(wrong)?;
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let unit = 1_u64 << shift;
    // Nine digits of a fraction are more than anyone writes and cannot overflow.
    if fraction.len() > 9 {
        return Err(wrong());
    }
    let numerator: u64 = fraction.parse().map_err(|_| wrong())?;
    let denominator = 10_u64.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
    let part = u128::from(numerator) * u128::from(unit) / u128::from(denominator);
    whole
        .checked_mul(unit)
        .and_then(|bytes| bytes.checked_add(u64::try_from(part).ok()?))
        .ok_or_else(|| format!("size {text:?} is too large"))
}

/// Bytes in powers of 1000, with at most three digits.
pub fn decimal(bytes: u64) -> String {
    written(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 3)
}

/// Bytes in powers of 1024, with at most four digits.
pub fn binary(bytes: u64) -> String {
    written(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

fn written(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are written")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole = match value {
        value if value < 10.0 => 1,
        value if value < 100.0 => 2,
        value if value < 1000.0 => 3,
        _ => 4,
    };
    let decimals = if unit == 0 {
        0
    } else {
        digits.saturating_sub(whole)
    };
    let text = format!("{value:.decimals$}");
    // As docker: nothing that says nothing.
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", units.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            (".5g", 1 << 29),
            ("2GiB", 2 << 30),
            ("64KB", 64 << 10),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for text in [
            "",
            "m",
            "-1",
            "1x",
            "1.m",
            ".",
            ".m",
            "+5m",
            "1.+5m",
            "1.5.5m",
            "99999999999g",
            "1.0000000001g",
            "٣m",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_told_in_docker_s_units() {
        for (bytes, text) in [
            (0, "0B"),
            (1536, "1.5KiB"),
            (1 << 30, "1GiB"),
            (12_345_678, "11.77MiB"),
        ] {
            assert_eq!(binary(bytes), text);
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_500, "1.5kB"),
            (4_261_000, "4.26MB"),
            (10_000_000_000, "10GB"),
            (12_345_000_000, "12.3GB"),
        ] {
            assert_eq!(decimal(bytes), text);
        }
    }
}
