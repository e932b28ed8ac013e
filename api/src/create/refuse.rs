//! What cannot be had yet. It is refused, not passed over: a service whose port is not there, or data that
//! is not kept, is found out later than an error.

use super::body::{Body, HostConfig};
use crate::error::ApiError;

/// Drivers of logs whose files `docker logs` reads.
const LOG_DRIVERS: [&str; 4] = ["", "json-file", "local", "none"];

/// Refuses what Coracle cannot honour.
///
/// # Errors
/// When there is such a thing in it.
pub fn unsupported(body: &Body) -> Result<(), ApiError> {
    let host = &body.host_config;
    let refused = [
        (
            host.port_bindings
                .values()
                .any(|bindings| !bindings.is_empty())
                || host.publish_all_ports,
            "publishing ports is not supported yet (-p, -P): containers of one host reach each other by \
             name (--label coracle.host=NAME)",
        ),
        (
            !host.binds.is_empty()
                || !body.volumes.is_empty()
                || !host.volumes_from.is_empty()
                || host.mounts.iter().any(|mount| mount.kind != "tmpfs"),
            "volumes and bind mounts are not supported yet (-v, --mount, --volumes-from): use --tmpfs, or \
             copy files with 'coracle cp'",
        ),
        (
            !host.devices.is_empty()
                || !host.device_requests.is_empty()
                || !host.device_cgroup_rules.is_empty(),
            "devices of this machine cannot be given to a container (--device, --gpus)",
        ),
        (
            !host.links.is_empty()
                || body
                    .networking_config
                    .endpoints_config
                    .values()
                    .any(|endpoint| !endpoint.links.is_empty()),
            "links are not supported (--link)",
        ),
        (
            host.masked_paths.is_some() || host.readonly_paths.is_some(),
            "masked and read-only paths cannot be chosen (--security-opt systempaths): --privileged has none",
        ),
        (
            !host.dns.is_empty() || !host.dns_search.is_empty() || !host.dns_options.is_empty(),
            "name servers are not supported yet (--dns)",
        ),
        (
            !LOG_DRIVERS.contains(&host.log_config.kind.as_str()),
            "the logging drivers are json-file, local and none (--log-driver)",
        ),
        (
            !host.cpuset_cpus.is_empty() || !host.cpuset_mems.is_empty(),
            "processors cannot be chosen (--cpuset-cpus, --cpuset-mems): limit their number (--cpus)",
        ),
        (
            host.oom_kill_disable,
            "the kernel's OOM killer cannot be turned off (--oom-kill-disable)",
        ),
        (
            !host.cgroup_parent.is_empty(),
            "the parent cgroup cannot be chosen (--cgroup-parent)",
        ),
        (
            !domain(body).is_empty(),
            "domain names are not supported (--domainname)",
        ),
        (
            !body.mac_address.is_empty() || has_fixed_addresses(body),
            "addresses cannot be chosen (--ip, --ip6, --mac-address)",
        ),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, why)) => Err(ApiError::unsupported(why)),
        None => modes(host),
    }
}

fn domain(body: &Body) -> &str {
    &body.domainname
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

/// Namespaces of other containers or of this machine.
fn modes(host: &HostConfig) -> Result<(), ApiError> {
    let modes = [
        (
            "--pid",
            host.pid_mode.as_str(),
            &["", "private", "host"][..],
        ),
        (
            "--ipc",
            &host.ipc_mode,
            &["", "private", "shareable", "host"],
        ),
        ("--uts", &host.uts_mode, &["", "private"]),
        ("--userns", &host.userns_mode, &["", "private", "host"]),
        ("--cgroupns", &host.cgroupns_mode, &["", "private", "host"]),
        (
            "--isolation",
            &host.isolation,
            &["", "default", "vm", "namespace"],
        ),
        ("--runtime", &host.runtime, &["", "coracle", "runc"]),
    ];
    for (flag, given, known) in modes {
        if !known.contains(&given) {
            return Err(ApiError::unsupported(format!(
                "{flag} {given} is not supported"
            )));
        }
    }
    Ok(())
}

/// What is passed over, since nothing depends on it.
#[must_use]
pub fn warnings(body: &Body) -> Vec<String> {
    let host = &body.host_config;
    let passed_over = [
        (
            host.cpu_shares != 0,
            "CPU shares have no effect: a container has virtual CPUs of its own",
        ),
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
        (
            host.memory_swappiness.is_some_and(|given| given != -1),
            "Memory swappiness has no effect: there is no swap",
        ),
        (
            host.memory_reservation != 0,
            "Memory reservation has no effect: a guest takes the memory that it uses",
        ),
        (
            host.memory_swap > 0 && host.memory_swap != host.memory,
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory \
             limited without swap.",
        ),
        (
            host.oom_score_adj != 0,
            "OOM score adjustment has no effect",
        ),
    ];
    passed_over
        .into_iter()
        .filter(|(given, _)| *given)
        .map(|(_, words)| words.to_owned())
        .collect()
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
