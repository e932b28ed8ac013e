//! What cannot be had. It is refused and not passed over: a service whose port is not there, or data that is not kept,
//! is found out later than an error. What no program depends on is told in a warning.

use super::{
    CreateRequest, HostConfig,
    network::{self, Choice},
};
use crate::{
    Error, Kind, Result,
    error::ErrorKind,
    host,
    state::{MachineMode, container::Isolation},
};

fn has(list: Option<&Vec<String>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

impl CreateRequest {
    /// Refuses what is not there yet, or cannot be. A create does so, too, when its image is there.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when there is such a thing in it.
    pub fn check(&self) -> Result<()> {
        unsupported(self)
    }

    /// What is passed over, since nothing depends on it, in words for a person.
    pub fn warnings(&self) -> impl Iterator<Item = &'static str> {
        warnings(self)
    }
}

/// Refuses what is not there yet, or cannot be.
///
/// # Errors
/// When there is such a thing in it.
pub(super) fn unsupported(request: &CreateRequest) -> Result<()> {
    let host = &request.host_config;
    let endpoints = || request.networks.values();
    let refused = [
        (
            host.port_bindings
                .values()
                .any(|bindings| !bindings.is_empty())
                || host.publish_all_ports,
            "publishing ports is not supported yet (-p, -P): containers of a named host reach each other by \
             name",
        ),
        (
            has(host.binds.as_ref())
                || !request.volumes.is_empty()
                || has(host.volumes_from.as_ref())
                || host.mounts.iter().any(|mount| mount.kind != "tmpfs"),
            "volumes and bind mounts are not supported yet (-v, --mount, --volumes-from): use --tmpfs, or \
             'coracle cp' to copy files",
        ),
        (
            host.devices.as_ref().is_some_and(|list| !list.is_empty())
                || host
                    .device_requests
                    .as_ref()
                    .is_some_and(|list| !list.is_empty())
                || has(host.device_cgroup_rules.as_ref()),
            "devices of this machine cannot be given to a container (--device, --gpus)",
        ),
        (
            has(host.links.as_ref()) || endpoints().any(|endpoint| !endpoint.links.is_empty()),
            "links are not supported (--link): containers of a named host know each other by name",
        ),
        (
            has(host.dns.as_ref())
                || has(host.dns_search.as_ref())
                || has(host.dns_options.as_ref()),
            "DNS servers are not supported yet (--dns)",
        ),
        (
            !host.cpuset_cpus.is_empty() || !host.cpuset_mems.is_empty(),
            "processors cannot be chosen (--cpuset-cpus, --cpuset-mems): limit their number (--cpus)",
        ),
        (
            host.oom_kill_disable == Some(true),
            "the kernel's OOM killer cannot be turned off (--oom-kill-disable)",
        ),
        (
            !host.cgroup_parent.is_empty(),
            "the parent cgroup cannot be chosen (--cgroup-parent)",
        ),
        (
            !request.domainname.is_empty(),
            "domain names are not supported (--domainname)",
        ),
        (
            request
                .mac_address
                .as_ref()
                .is_some_and(|address| !address.is_empty())
                || endpoints().any(|endpoint| {
                    let given = [&endpoint.ipv4_address, &endpoint.mac_address];
                    given.into_iter().flatten().any(|given| !given.is_empty())
                }),
            "addresses cannot be chosen (--ip, --ip6, --mac-address)",
        ),
        (
            host.masked_paths.is_some() || host.readonly_paths.is_some(),
            "masked and read-only paths cannot be chosen (--security-opt systempaths): --privileged has \
             none",
        ),
        (
            request
                .kernel
                .as_ref()
                .is_some_and(|kernel| !kernel.is_absolute()),
            "the path of a kernel must be absolute",
        ),
    ];
    if let Some((_, why)) = refused.into_iter().find(|(given, _)| *given) {
        return Err(Error::invalid(why));
    }
    modes(host)
}

/// Namespaces of other containers or of this machine, and runtimes.
fn modes(host: &HostConfig) -> Result<()> {
    let modes: [(&str, &str, &[&str]); 6] = [
        ("--pid", &host.pid_mode, &["", "private", "host"]),
        (
            "--ipc",
            &host.ipc_mode,
            &["", "private", "shareable", "host"],
        ),
        ("--uts", &host.uts_mode, &["", "private"]),
        ("--userns", &host.userns_mode, &["", "private", "host"]),
        ("--cgroupns", &host.cgroupns_mode, &["", "private", "host"]),
        ("--runtime", &host.runtime, &["", "coracle", "runc"]),
    ];
    match modes
        .into_iter()
        .find(|(_, given, known)| !known.contains(given))
    {
        Some((flag, given, _)) => Err(Error::invalid(format!("{flag} {given} is not supported"))),
        None => Ok(()),
    }
}

/// What is passed over, since nothing depends on it.
pub(super) fn warnings(request: &CreateRequest) -> impl Iterator<Item = &'static str> {
    let host = &request.host_config;
    let passed_over = [
        (
            host.cpu_shares != 0,
            "CPU shares have no effect: a container has virtual CPUs of its own",
        ),
        (
            host.memory_reservation != 0,
            "Memory reservation has no effect: a guest takes the memory that it uses",
        ),
        (
            host.memory_swap > 0 && host.memory_swap != host.memory,
            "There is no swap: the memory limit is the limit of both",
        ),
        (
            host.memory_swappiness.is_some_and(|given| given != -1),
            "Memory swappiness has no effect: there is no swap",
        ),
        (
            host.oom_score_adj != 0,
            "OOM score adjustment has no effect",
        ),
    ];
    let given = passed_over.into_iter().filter(|(given, _)| *given);
    given.map(|(_, words)| words)
}

/// Refuses what a container without a machine cannot have.
///
/// # Errors
/// When there is such a thing in it, or this machine cannot run one so.
pub(super) fn without_machine(request: &CreateRequest) -> Result<()> {
    if request.isolation != Isolation::Namespace {
        return Ok(());
    }
    let host = &request.host_config;
    let is_host = |mode: &String| mode == "host";
    let machines = [
        (
            request.host.is_some(),
            "--host",
            "a named host is a machine",
        ),
        (
            request.kernel.is_some(),
            "--kernel",
            "it uses this machine's kernel",
        ),
        (
            request.machine == MachineMode::Always,
            "--machine always",
            "it needs no KVM",
        ),
        (
            host.privileged,
            "--privileged",
            "it would be power over this machine",
        ),
        (
            [&host.pid_mode, &host.ipc_mode, &host.cgroupns_mode]
                .into_iter()
                .any(is_host),
            "--pid, --ipc or --cgroupns host",
            "they would be this machine's",
        ),
        (
            !host.storage_opt.is_empty(),
            "--storage-opt",
            "what it writes is in this machine's memory",
        ),
        (
            request.verify,
            "--verify",
            "no guest is there to check the layers",
        ),
    ];
    if let Some((_, flag, why)) = machines.into_iter().find(|(given, _, _)| *given) {
        return Err(Error::invalid(format!(
            "--isolation namespace and {flag} contradict each other: {why}"
        )));
    }
    if network::choice(request)? == Some(Choice::Host) {
        return Err(Error::invalid(
            "--network host would be the network of this machine, which is given to no container",
        ));
    }
    host::namespace::check()
        .map(drop)
        .kind(ErrorKind::Unavailable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::containers::{Device, Endpoint, Mount, PortBinding};

    fn edited(edit: impl FnOnce(&mut CreateRequest)) -> CreateRequest {
        let mut request = CreateRequest::default();
        edit(&mut request);
        request
    }

    #[test]
    fn what_cannot_be_had_is_refused_in_words() {
        type Edit = fn(&mut CreateRequest);
        let cases: [(Edit, &str); 14] = [
            (
                |request| {
                    let bindings = vec![PortBinding::default()];
                    request
                        .host_config
                        .port_bindings
                        .insert("80/tcp".into(), bindings);
                },
                "publishing ports",
            ),
            (
                |request| request.host_config.publish_all_ports = true,
                "publishing ports",
            ),
            (
                |request| request.host_config.binds = Some(vec!["/a:/a".into()]),
                "bind mounts",
            ),
            (
                |request| request.volumes.extend(["/data".into()]),
                "volumes",
            ),
            (
                |request| {
                    request.host_config.mounts = vec![Mount {
                        kind: "volume".into(),
                        ..Mount::default()
                    }];
                },
                "volumes",
            ),
            (
                |request| request.host_config.devices = Some(vec![Device::default()]),
                "devices",
            ),
            (
                |request| request.host_config.links = Some(vec!["a:b".into()]),
                "links",
            ),
            (
                |request| request.host_config.dns = Some(vec!["1.1.1.1".into()]),
                "DNS",
            ),
            (
                |request| request.host_config.cpuset_cpus = "0".into(),
                "processors",
            ),
            (
                |request| request.host_config.oom_kill_disable = Some(true),
                "OOM killer",
            ),
            (
                |request| request.host_config.pid_mode = "container:x".into(),
                "--pid container:x",
            ),
            (
                |request| request.host_config.runtime = "runsc".into(),
                "--runtime runsc",
            ),
            (
                |request| {
                    let endpoint = Endpoint {
                        ipv4_address: Some("10.0.0.1".into()),
                        ..Endpoint::default()
                    };
                    request.networks = BTreeMap::from([("bridge".into(), endpoint)]);
                },
                "addresses",
            ),
            (
                |request| request.host_config.masked_paths = Some(Vec::new()),
                "masked",
            ),
        ];
        for (edit, words) in cases {
            let error = unsupported(&edited(edit)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_taken() {
        let request = edited(|request| {
            let host = &mut request.host_config;
            host.binds = Some(Vec::new());
            host.links = Some(Vec::new());
            host.devices = Some(Vec::new());
            host.port_bindings.insert("80/tcp".into(), Vec::new());
            host.ipc_mode = "shareable".into();
            host.runtime = "runc".into();
            host.oom_kill_disable = Some(false);
            request.exposed_ports.extend(["80/tcp".into()]);
        });
        assert!(unsupported(&request).is_ok());
        assert_eq!(warnings(&request).count(), 0);
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let request = edited(|request| {
            request.host_config.cpu_shares = 512;
            request.host_config.memory_swap = 1 << 30;
        });
        assert!(unsupported(&request).is_ok());
        assert_eq!(warnings(&request).count(), 2);
    }

    #[test]
    fn container_without_a_machine_has_nothing_of_a_machines() {
        type Edit = fn(&mut CreateRequest);
        let cases: [(Edit, &str); 6] = [
            (|request| request.host = Some("blue".into()), "--host"),
            (|request| request.verify = true, "--verify"),
            (
                |request| request.host_config.privileged = true,
                "--privileged",
            ),
            (
                |request| request.host_config.ipc_mode = "host".into(),
                "--ipc",
            ),
            (
                |request| request.host_config.network_mode = "host".into(),
                "--network host",
            ),
            (|request| request.machine = MachineMode::Always, "--machine"),
        ];
        for (edit, words) in cases {
            let mut request = edited(edit);
            assert!(without_machine(&request).is_ok());
            request.isolation = Isolation::Namespace;
            let error = without_machine(&request).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{words}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
