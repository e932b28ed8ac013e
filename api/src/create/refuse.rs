//! What a body can ask for beyond the engine's request, and so only here can be refused or told. It is refused, not
//! passed over: a service whose port is not there, or data that is not kept, is found out later than an error.

use coracle_engine::containers::CreateRequest;

use super::body::Body;
use crate::error::{ApiError, whole};

/// Drivers of logs whose files `docker logs` reads.
const LOG_DRIVERS: [&str; 4] = ["", "json-file", "local", "none"];

/// What a body asks for, under a name.
///
/// # Errors
/// When there is something in it that Coracle cannot honour.
pub fn request(body: &Body, name: &str) -> Result<CreateRequest, ApiError> {
    unsupported(body)?;
    let request = body.request(name)?;
    let checked = request.check();
    checked.map_err(|error| ApiError::unsupported(whole(&error)))?;
    Ok(request)
}

fn unsupported(body: &Body) -> Result<(), ApiError> {
    let host = &body.host_config;
    let mut endpoints = body.networking_config.endpoints_config.values();
    let refused = [
        (
            !host.devices.is_empty(),
            "devices of this machine cannot be given to a container (--device)",
        ),
        (
            endpoints.any(|endpoint| !endpoint.links.is_empty()),
            "links are not supported (--link)",
        ),
        (
            !LOG_DRIVERS.contains(&host.log_config.kind.as_str()),
            "the logging drivers are json-file, local and none (--log-driver)",
        ),
        (
            has_fixed_addresses(body),
            "addresses cannot be chosen (--ip, --ip6, --mac-address)",
        ),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, why)) => Err(ApiError::unsupported(why)),
        None => Ok(()),
    }
}

fn has_fixed_addresses(body: &Body) -> bool {
    let endpoints = body.networking_config.endpoints_config.values();
    endpoints.into_iter().any(|endpoint| {
        let given = |value: &serde_json::Value| {
            value
                .as_object()
                .is_some_and(|fields| fields.values().any(|value| value != ""))
        };
        !endpoint.mac_address.is_empty() || endpoint.addresses.as_ref().is_some_and(given)
    })
}

/// What is passed over, since nothing depends on it.
#[must_use]
pub fn warnings(body: &Body, request: &CreateRequest) -> Vec<String> {
    let host = &body.host_config;
    let passed_over = [
        (host.blkio_weight != 0, "Block I/O weight has no effect"),
        (
            [
                &host.blkio_weight_device,
                &host.blkio_device_read_bps,
                &host.blkio_device_write_bps,
                &host.blkio_device_read_operations,
                &host.blkio_device_write_operations,
            ]
            .iter()
            .any(|list| !list.is_empty()),
            "Block I/O weights and limits of devices have no effect",
        ),
        (
            host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0,
            "Realtime periods have no effect",
        ),
    ];
    let own = passed_over.into_iter().filter(|(given, _)| *given);
    let all = request.warnings().chain(own.map(|(_, words)| words));
    all.map(str::to_owned).collect()
}

/// Checks a container's name as docker does.
///
/// # Errors
/// In docker's words.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = characters.as_str();
    let valid = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if first && !rest.is_empty() && rest.chars().all(valid) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}
