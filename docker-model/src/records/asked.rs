//! What was asked for of a container, merged with its image as dockerd merges it.

use std::collections::BTreeMap;

use coracle_engine::state::container::{self as record, Asked};

use crate::{
    container::{
        Config, Device, Healthcheck, HostConfig, LogConfig, Mount, MountPoint, PortBinding,
        RestartPolicy, Ulimit,
    },
    null::{Empty, Set},
};

/// The portable half.
pub(super) fn portable(config: &record::Config, asked: &Asked) -> Config {
    let Asked {
        request: asked,
        image,
    } = asked;
    let set = |names: &std::collections::BTreeSet<String>| -> Option<Set> {
        let all = names.iter().map(|name| (name.clone(), Empty {}));
        (!names.is_empty()).then(|| all.collect())
    };
    let mut shown = Config {
        hostname: config.spec.hostname.clone(),
        domainname: asked.domainname.clone(),
        user: asked.user.clone(),
        attach_stdin: asked.attach_stdin,
        attach_stdout: asked.attach_stdout,
        attach_stderr: asked.attach_stderr,
        exposed_ports: set(&asked.exposed_ports),
        tty: asked.tty,
        open_stdin: asked.open_stdin,
        stdin_once: asked.stdin_once,
        env: Some(asked.env.clone()),
        cmd: asked.cmd.clone(),
        healthcheck: asked.healthcheck.as_ref().map(healthcheck),
        image: config.image.clone(),
        volumes: set(&asked.volumes),
        working_dir: asked.working_dir.clone(),
        entrypoint: asked.entrypoint.clone(),
        network_disabled: None,
        mac_address: asked.mac_address.clone(),
        on_build: None,
        labels: Some(config.labels.clone()),
        stop_signal: asked.stop_signal.clone(),
        stop_timeout: asked.stop_timeout,
        shell: None,
    };
    shown.take_from(&Config::from(image));
    shown
}

fn healthcheck(check: &record::Healthcheck) -> Healthcheck {
    Healthcheck {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

/// The machine's half, not yet [complete](HostConfig::complete). What depends on where it runs is what came of it.
pub(super) fn host_config(config: &record::Config, asked: &record::HostConfig) -> HostConfig {
    let some = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
    let ports = asked.port_bindings.iter();
    let ports: BTreeMap<_, _> = ports
        .map(|(port, bindings)| (port.clone(), Some(bindings.iter().map(binding).collect())))
        .collect();
    HostConfig {
        binds: asked.binds.clone(),
        log_config: match asked.log_config.kind.as_str() {
            "" => super::log_config(config.log),
            kind => LogConfig {
                kind: kind.into(),
                config: asked.log_config.config.clone(),
            },
        },
        network_mode: config.network.word(),
        port_bindings: (!ports.is_empty()).then_some(ports),
        restart_policy: RestartPolicy {
            name: asked.restart_policy.name.clone(),
            maximum_retry_count: asked.restart_policy.maximum_retry_count,
        },
        auto_remove: config.remove,
        volume_driver: asked.volume_driver.clone(),
        volumes_from: asked.volumes_from.clone(),
        console_size: asked.console_size.map(u32::from),
        cap_add: asked.cap_add.as_deref().map(capabilities),
        cap_drop: asked.cap_drop.as_deref().map(capabilities),
        cgroupns_mode: asked.cgroupns_mode.clone(),
        dns: asked.dns.clone(),
        dns_options: asked.dns_options.clone(),
        dns_search: asked.dns_search.clone(),
        extra_hosts: asked.extra_hosts.clone(),
        group_add: asked.group_add.clone(),
        ipc_mode: asked.ipc_mode.clone(),
        links: asked.links.clone(),
        oom_score_adj: asked.oom_score_adj,
        pid_mode: asked.pid_mode.clone(),
        privileged: asked.privileged,
        publish_all_ports: asked.publish_all_ports,
        readonly_rootfs: asked.readonly_rootfs,
        security_opt: asked.security_opt.clone(),
        // Where nothing was asked for, a host's part for each container is worth knowing.
        storage_opt: some(&asked.storage_opt).or_else(|| super::storage(config)),
        tmpfs: some(&asked.tmpfs),
        uts_mode: asked.uts_mode.clone(),
        userns_mode: asked.userns_mode.clone(),
        shm_size: asked.shm_size,
        sysctls: some(&asked.sysctls),
        runtime: asked.runtime.clone(),
        isolation: super::isolation(config),
        cpu_shares: asked.cpu_shares,
        memory: asked.memory,
        nano_cpus: asked.nano_cpus,
        cgroup_parent: asked.cgroup_parent.clone(),
        cpu_period: asked.cpu_period,
        cpu_quota: asked.cpu_quota,
        cpuset_cpus: asked.cpuset_cpus.clone(),
        cpuset_mems: asked.cpuset_mems.clone(),
        devices: asked
            .devices
            .as_ref()
            .map(|all| all.iter().map(device).collect()),
        device_cgroup_rules: asked.device_cgroup_rules.clone(),
        device_requests: asked.device_requests.clone(),
        memory_reservation: asked.memory_reservation,
        memory_swap: asked.memory_swap,
        memory_swappiness: asked.memory_swappiness,
        oom_kill_disable: asked.oom_kill_disable,
        pids_limit: asked.pids_limit,
        ulimits: asked
            .ulimits
            .as_ref()
            .map(|all| all.iter().map(ulimit).collect()),
        mounts: asked.mounts.iter().map(mount).collect(),
        masked_paths: Some(config.spec.masked_paths.clone()),
        readonly_paths: Some(config.spec.readonly_paths.clone()),
        init: asked.init,
        ..HostConfig::default()
    }
}

/// Docker's spelling of names that are taken in any.
fn capabilities(names: &[String]) -> Vec<String> {
    let spelled = |name: &String| {
        let upper = name.to_ascii_uppercase();
        match upper.as_str() {
            "ALL" => upper,
            name if name.starts_with("CAP_") => upper,
            name => format!("CAP_{name}"),
        }
    };
    names.iter().map(spelled).collect()
}

fn binding(binding: &record::PortBinding) -> PortBinding {
    PortBinding {
        host_ip: binding.host_ip.clone(),
        host_port: binding.host_port.clone(),
    }
}

fn device(device: &record::Device) -> Device {
    Device {
        path_on_host: device.path_on_host.clone(),
        path_in_container: device.path_in_container.clone(),
        cgroup_permissions: device.cgroup_permissions.clone(),
    }
}

fn ulimit(limit: &record::Ulimit) -> Ulimit {
    Ulimit {
        name: limit.name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    }
}

fn mount(mount: &record::Mount) -> Mount {
    let options = |name: &str| mount.options.get(name).cloned();
    Mount {
        kind: mount.kind.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone().unwrap_or_default(),
        bind_options: options("BindOptions"),
        volume_options: options("VolumeOptions"),
        tmpfs_options: options("TmpfsOptions"),
    }
}

/// What `--mount` mounts; what `--tmpfs` does is no mount to docker.
pub(super) fn mounts(asked: &record::HostConfig) -> Vec<MountPoint> {
    let temporary = asked.mounts.iter().filter(|mount| mount.kind == "tmpfs");
    temporary
        .map(|mount| MountPoint {
            kind: mount.kind.clone(),
            destination: mount.target.clone(),
            writable: !mount.read_only,
            ..MountPoint::default()
        })
        .collect()
}
