//! What a container's health command, log and disk are to be.

use anyhow::{Context, Result, bail};
use images::store::Image;

use super::{Flags, values::LogDriver};
use crate::cli::options::Bytes;
use coracle_engine::state::{
    container::{Health, LogPolicy},
    disk,
    host::Config as Host,
};
use coracle_platform::clock;

/// Bytes of each of a log's two files unless told otherwise.
const LOG_SIZE: u64 = 10 << 20;

/// The smallest log: a record is longer than less.
const MIN_LOG_SIZE: u64 = 256 << 10;

/// Nanoseconds between two runs of a health command, and that one may take: docker's.
const HEALTH_SPAN: u64 = 30 * clock::SECOND;

/// Failures in a row that make a container unhealthy: docker's.
const HEALTH_RETRIES: u32 = 3;

/// The user's health command, or the image's.
pub(super) fn health(flags: &Flags, image: &Image) -> Option<Health> {
    if flags.no_healthcheck {
        return None;
    }
    let of_image = image.config.healthcheck.as_ref();
    let shell = |command: &str| vec!["/bin/sh".into(), "-c".into(), command.to_owned()];
    let command = match (&flags.health_cmd, of_image.map(|check| &check.test[..])) {
        (Some(command), _) => shell(command),
        (None, Some([kind, command])) if kind == "CMD-SHELL" => shell(command),
        (None, Some([kind, command @ ..])) if kind == "CMD" && !command.is_empty() => {
            command.to_vec()
        }
        _ => return None,
    };
    let span = |own: Option<u64>, of_image: Option<i64>, default: u64| {
        let of_image = of_image.and_then(|span| u64::try_from(span).ok());
        // 0 is the image's, as docker's.
        own.filter(|span| *span > 0)
            .or(of_image.filter(|span| *span > 0))
            .unwrap_or(default)
    };
    let retries = of_image.and_then(|check| u32::try_from(check.retries).ok());
    Some(Health {
        command,
        // More often than each millisecond would be all that the guest does.
        interval: span(
            flags.health_interval,
            of_image.map(|check| check.interval),
            HEALTH_SPAN,
        )
        .max(clock::SECOND / 1000),
        timeout: span(
            flags.health_timeout,
            of_image.map(|check| check.timeout),
            HEALTH_SPAN,
        )
        .max(clock::SECOND / 1000),
        start_period: span(
            flags.health_start_period,
            of_image.map(|check| check.start_period),
            0,
        ),
        retries: flags
            .health_retries
            .or(retries.filter(|retries| *retries > 0))
            .unwrap_or(HEALTH_RETRIES),
    })
}

pub(super) fn log_policy(flags: &Flags) -> Result<LogPolicy> {
    if flags.log_driver == LogDriver::None {
        return Ok(LogPolicy::None);
    }
    let mut size = LOG_SIZE;
    for (name, value) in &flags.log_opt {
        match name.as_str() {
            "max-size" => {
                let bytes: Bytes = value
                    .parse()
                    .map_err(anyhow::Error::msg)
                    .context("--log-opt max-size")?;
                size = bytes.0.max(MIN_LOG_SIZE);
            }
            _ => bail!("unknown log option {name:?}: only max-size is supported"),
        }
    }
    Ok(LogPolicy::Local(size))
}

/// Bytes of the disk for what the container writes, if it has one, and of memory, if that is limited.
///
/// # Errors
/// When an option is unknown, or they contradict each other.
pub(super) fn storage(flags: &Flags) -> Result<(Option<u64>, Option<u64>)> {
    let (mut size, mut memory) = (None, None);
    for (name, value) in &flags.storage_opt {
        if !["size", "memory"].contains(&name.as_str()) {
            bail!("unknown storage option {name:?}: only size and memory are supported");
        }
        let bytes = value.parse().map_err(anyhow::Error::msg);
        let Bytes(bytes) = bytes.context("--storage-opt")?;
        match (name.as_str(), bytes) {
            ("size", _) => size = Some(disk::size(bytes).context("--storage-opt")?),
            (_, 0) => bail!("--storage-opt memory=0 would leave no room at all"),
            _ => memory = Some(bytes),
        }
    }
    if size.is_some() && memory.is_some() {
        bail!(
            "--storage-opt size and memory contradict each other: what is written goes to one of them"
        );
    }
    Ok((size, memory))
}

/// Most bytes that a container may write to the disk of its named host, if that has one and it is not to be in
/// memory.
///
/// # Errors
/// When there is no such disk, or it is smaller.
pub(super) fn part_of_disk(flags: &Flags, host: &Host) -> Result<Option<u64>> {
    match storage(flags)? {
        (_, Some(_)) => Ok(None),
        (size, None) => host.part_of_disk(size),
    }
}
