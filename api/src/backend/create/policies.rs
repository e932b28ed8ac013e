//! What a container's health command, log and restarts are to be.

use coracle_engine::state::container::{Health, LogPolicy, Restart};
use coracle_platform::clock;
use images::store::Image;

use super::limits;
use crate::{
    create::{self, Body, HostConfig},
    error::ApiError,
};

/// Bytes of each of a log's two files unless told otherwise.
const LOG_SIZE: u64 = 10 << 20;

/// The smallest log: a record is longer than less.
const MIN_LOG_SIZE: u64 = 256 << 10;

/// Nanoseconds between two runs of a health command, and that one may take: docker's.
const HEALTH_SPAN: u64 = 30 * clock::SECOND;

/// Shortest of them: docker's. More often would be all that the guest does.
const LEAST_SPAN: u64 = clock::SECOND / 1000;

/// Failures in a row that make a container unhealthy: docker's.
const HEALTH_RETRIES: u32 = 3;

/// Where output is kept.
pub(super) fn log(wanted: &HostConfig) -> Result<LogPolicy, ApiError> {
    if wanted.log_config.kind == "none" {
        return Ok(LogPolicy::None);
    }
    let Some(size) = wanted.log_config.config.get("max-size") else {
        return Ok(LogPolicy::Local(LOG_SIZE));
    };
    match limits::bytes(size) {
        Some(bytes) => Ok(LogPolicy::Local(bytes.max(MIN_LOG_SIZE))),
        None => Err(ApiError::invalid(format!("invalid max-size: {size:?}"))),
    }
}

/// When it is started again.
pub(super) fn restart(wanted: &HostConfig) -> Result<Restart, ApiError> {
    let policy = &wanted.restart_policy;
    let restart = match policy.name.as_str() {
        "" | "no" => Restart::No,
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => {
            let most = u32::try_from(policy.maximum_retry_count).map_err(|_| {
                ApiError::invalid("invalid restart policy: maximum retry count cannot be negative")
            })?;
            Restart::OnFailure(most)
        }
        other => {
            return Err(ApiError::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', \
                 or 'unless-stopped'"
            )));
        }
    };
    if restart != Restart::No && wanted.auto_remove {
        return Err(ApiError::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(restart)
}

/// The client's health command, or the image's.
pub(super) fn health(body: &Body, image: &Image) -> Result<Option<Health>, ApiError> {
    let none = create::Health::default();
    let own = body.healthcheck.as_ref().unwrap_or(&none);
    let of_image = image.config.healthcheck.as_ref();
    let test = match own.test.is_empty() {
        true => of_image.map(|check| &check.test[..]).unwrap_or_default(),
        false => &own.test[..],
    };
    let command = match test {
        [kind, line] if kind == "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        [kind, command @ ..] if kind == "CMD" && !command.is_empty() => command.to_vec(),
        [] => return Ok(None),
        [kind, ..] if kind == "NONE" => return Ok(None),
        [kind, ..] => {
            return Err(ApiError::invalid(format!(
                "invalid health check: unknown type {kind:?}"
            )));
        }
    };
    let span = |own: i64, of_image: Option<i64>, default: u64| -> Result<u64, ApiError> {
        // 0 is the image's.
        let given = Some(own).filter(|span| *span != 0).or(of_image);
        match given.filter(|span| *span != 0) {
            None => Ok(default),
            Some(span) => match u64::try_from(span) {
                Ok(span) if span >= LEAST_SPAN => Ok(span),
                _ => Err(ApiError::invalid(
                    "a span of a health check cannot be less than 1ms",
                )),
            },
        }
    };
    let retries = |retries: i64| u32::try_from(retries).ok().filter(|retries| *retries > 0);
    Ok(Some(Health {
        command,
        interval: span(
            own.interval,
            of_image.map(|check| check.interval),
            HEALTH_SPAN,
        )?,
        timeout: span(
            own.timeout,
            of_image.map(|check| check.timeout),
            HEALTH_SPAN,
        )?,
        start_period: span(
            own.start_period,
            of_image.map(|check| check.start_period),
            0,
        )?,
        retries: retries(own.retries)
            .or(of_image.and_then(|check| retries(check.retries)))
            .unwrap_or(HEALTH_RETRIES),
    }))
}
