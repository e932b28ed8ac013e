//! What a container may do.

use coracle_engine::{capability, host};

use super::{HOST_LABEL, invalid};
use crate::{
    create::{Body, HostConfig},
    error::ApiError,
};

/// The container's capabilities.
pub(super) fn capabilities(wanted: &HostConfig) -> Result<u64, ApiError> {
    let bits = |names: &[String]| -> Result<Vec<u64>, ApiError> {
        let parse = |name: &String| {
            capability::parse(name)
                .ok_or_else(|| ApiError::invalid(format!("invalid capability: {name:?}")))
        };
        names.iter().map(parse).collect()
    };
    Ok(capability::adjusted(
        &bits(&wanted.cap_add)?,
        &bits(&wanted.cap_drop)?,
    ))
}

/// Whether no program gives more privileges than the one that executes it.
pub(super) fn no_new_privileges(wanted: &HostConfig) -> Result<bool, ApiError> {
    options(wanted).map(|(no_new_privileges, _)| no_new_privileges)
}

/// Whether there is no system call filter.
pub(super) fn seccomp_unconfined(wanted: &HostConfig) -> Result<bool, ApiError> {
    options(wanted).map(|(_, unconfined)| unconfined)
}

fn options(wanted: &HostConfig) -> Result<(bool, bool), ApiError> {
    let (mut no_new_privileges, mut unconfined) = (false, false);
    for option in &wanted.security_opt {
        let (name, value) = option
            .split_once(['=', ':'])
            .unwrap_or((option.as_str(), ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => no_new_privileges = true,
            ("seccomp", "unconfined") => unconfined = true,
            // What a guest's kernel has not needs no leave.
            ("no-new-privileges", "false")
            | ("apparmor", "unconfined")
            | ("label", _)
            | ("seccomp", "builtin") => {}
            _ => {
                return Err(ApiError::unsupported(format!(
                    "security option {name:?} is not supported: use no-new-privileges or seccomp=unconfined \
                     (--security-opt)"
                )));
            }
        }
    }
    Ok((no_new_privileges, unconfined))
}

/// Refuses what a container without a machine cannot have.
pub(super) fn without_machine(body: &Body) -> Result<(), ApiError> {
    let wanted = &body.host_config;
    let modes = [&wanted.pid_mode, &wanted.ipc_mode, &wanted.cgroupns_mode];
    let machines = [
        (
            body.labels.contains_key(HOST_LABEL),
            "a named host is a machine",
        ),
        (
            wanted.privileged,
            "--privileged would be power over this machine",
        ),
        (
            modes.into_iter().any(|mode| mode == "host"),
            "--pid, --ipc or --cgroupns host would be this machine's",
        ),
        (
            !wanted.storage_opt.is_empty(),
            "--storage-opt: what it writes is in this machine's memory",
        ),
        (
            wanted.network_mode == "host",
            "--network host would be the network of this machine, which is given to no container",
        ),
    ];
    if let Some((_, why)) = machines.into_iter().find(|(given, _)| *given) {
        return Err(ApiError::invalid(format!(
            "conflicting options with --isolation namespace: {why}"
        )));
    }
    host::namespace::check().map(drop).map_err(invalid)
}
