//! What processes weigh.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};

use crate::processes;

/// Bytes of a kibibyte, in which the kernel counts.
const KIB: u64 = 1024;

/// Leaves containers alone for so many seconds before they are weighed: what has just started holds more than
/// what idles, and a guest gives back what it has freed only after some seconds.
pub(crate) fn let_idle(seconds: u64) {
    std::thread::sleep(std::time::Duration::from_secs(seconds));
}

/// Bytes of memory, of all descendants of this process besides these: what each has for itself, and its share
/// of what it has with others. A guest's memory is its monitor's.
///
/// # Errors
/// When a process cannot be looked at.
pub(crate) fn of_descendants(besides: &BTreeSet<i32>) -> Result<u64> {
    let mut sum = 0;
    for pid in processes::descendants(besides)? {
        sum += of_process(pid).unwrap_or(0);
    }
    Ok(sum)
}

/// The proportional set size of a process in bytes; `None` when it is gone.
pub(crate) fn of_process(pid: i32) -> Option<u64> {
    field(
        &fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?,
        "Pss:",
    )
}

/// Bytes that the machine can still give out.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    field(&text, "MemAvailable:").context("/proc/meminfo does not tell what is available")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_read_in_bytes() {
        let text = "Rss:    8 kB\nPss:     5 kB\nPss_Anon: 3 kB\n";
        assert_eq!(field(text, "Pss:"), Some(5120));
        assert_eq!(field(text, "Swap:"), None);
    }

    #[test]
    fn this_process_weighs_something() {
        let own = std::process::id().cast_signed();
        assert!(of_process(own).unwrap() > 100 * KIB);
        assert_eq!(of_process(i32::MAX), None);
        assert!(available().unwrap() > 0);
    }
}
