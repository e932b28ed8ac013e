//! Numbers.

use std::collections::BTreeMap;

use coracle_protocol::{Rlimit, sysctl};
use docker_model::records::RLIMITS;

use crate::{create::HostConfig, error::ApiError};

/// Least memory of a container: docker's.
const MIN_MEMORY: i64 = 6 << 20;

/// Billionths of a processor in a thousandth.
const NANO_IN_THOUSANDTH: u64 = 1_000_000;

/// Microseconds of docker's period.
const CPU_PERIOD: u64 = 100_000;

/// Bytes of memory that the container may use.
pub(super) fn memory(wanted: &HostConfig) -> Result<Option<u64>, ApiError> {
    match wanted.memory {
        0 => Ok(None),
        ..MIN_MEMORY => Err(ApiError::invalid("Minimum memory limit allowed is 6MB")),
        bytes => Ok(u64::try_from(bytes).ok()),
    }
}

/// Thousandths of a processor.
pub(super) fn cpu(wanted: &HostConfig) -> Result<Option<u64>, ApiError> {
    let positive = |number: i64, what: &str| -> Result<u64, ApiError> {
        u64::try_from(number).map_err(|_| ApiError::invalid(format!("invalid {what}: {number}")))
    };
    let nano = positive(wanted.nano_cpus, "CPUs")?;
    if nano > 0 && (wanted.cpu_quota > 0 || wanted.cpu_period > 0) {
        return Err(ApiError::invalid(
            "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set",
        ));
    }
    let period = match positive(wanted.cpu_period, "CPU period")? {
        0 => CPU_PERIOD,
        period => period,
    };
    // Less than nothing is no limit.
    let quota = u64::try_from(wanted.cpu_quota).unwrap_or(0);
    let thousandths = match nano {
        0 => quota.saturating_mul(1000) / period,
        nano => nano / NANO_IN_THOUSANDTH,
    };
    match (nano, quota, thousandths) {
        (0, 0, _) => Ok(None),
        (_, _, 0) => Err(ApiError::invalid("less than a thousandth of a CPU")),
        (_, _, thousandths) => Ok(Some(thousandths)),
    }
}

/// Resource limits by Linux's numbers.
pub(super) fn rlimits(wanted: &HostConfig) -> Result<Vec<Rlimit>, ApiError> {
    let limit = |limit: &crate::create::Ulimit| {
        let resource = RLIMITS.iter().position(|known| *known == limit.name);
        let resource = resource
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| ApiError::invalid(format!("invalid ulimit type: {}", limit.name)))?;
        // -1 is without a limit.
        let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        if soft > hard {
            return Err(ApiError::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            )));
        }
        Ok(Rlimit {
            resource,
            soft,
            hard,
        })
    };
    wanted.ulimits.iter().map(limit).collect()
}

/// Kernel settings, whose names have dots.
pub(super) fn sysctls(wanted: &HostConfig) -> Result<Vec<(String, String)>, ApiError> {
    let setting = |(name, value): (&String, &String)| match sysctl::name(name) {
        Some(name) => Ok((name, value.clone())),
        None => Err(ApiError::invalid(format!("invalid sysctl: {name}"))),
    };
    wanted.sysctls.iter().map(setting).collect()
}

/// Temporary file systems: target and options.
pub(super) fn tmpfs(wanted: &HostConfig) -> Result<Vec<(String, Vec<String>)>, ApiError> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (target, options) in &wanted.tmpfs {
        let options = options.split(',').filter(|option| !option.is_empty());
        all.insert(target.clone(), options.map(Into::into).collect());
    }
    for mount in wanted.mounts.iter().filter(|mount| mount.kind == "tmpfs") {
        let mut options = Vec::new();
        if mount.tmpfs_options.size_bytes > 0 {
            options.push(format!("size={}", mount.tmpfs_options.size_bytes));
        }
        if mount.tmpfs_options.mode > 0 {
            options.push(format!("mode={:o}", mount.tmpfs_options.mode));
        }
        if mount.read_only {
            options.push("ro".into());
        }
        all.insert(mount.target.clone(), options);
    }
    if let Some(target) = all
        .keys()
        .find(|path| !path.starts_with('/') || *path == "/")
    {
        return Err(ApiError::invalid(format!(
            "invalid mount target, must be an absolute path in the container, and not /: {target:?}"
        )));
    }
    Ok(all.into_iter().collect())
}

/// A number of bytes with a unit, as docker's options have it: `10m`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match lower.get(digits.len()..)? {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift)
}
