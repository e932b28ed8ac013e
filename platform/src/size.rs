//! Numbers of bytes as docker writes them: in powers of 1000 on disks and networks, of 1024 in memory.

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
