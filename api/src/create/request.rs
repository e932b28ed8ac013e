//! A body as the engine's request.

use std::collections::BTreeMap;

use coracle_engine::containers::{
    self as engine, CreateRequest, Healthcheck, network::Choice, values,
};
use serde_json::json;

use super::{Body, Command, HostConfig};
use crate::error::ApiError;

/// A label that names the host that a container is to be in.
pub const HOST_LABEL: &str = "coracle.host";

/// A list that asks for something.
fn given(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

impl Body {
    /// What it asks for, under this name.
    ///
    /// # Errors
    /// In docker's words for what docker's clients look at; the engine refuses the rest.
    pub fn request(&self, name: &str) -> Result<CreateRequest, ApiError> {
        if self.image.is_empty() {
            return Err(ApiError::invalid("no image specified"));
        }
        let host = &self.host_config;
        let is_enough = |bytes| bytes == 0 || bytes >= values::MIN_MEMORY;
        if !u64::try_from(host.memory).is_ok_and(is_enough) {
            return Err(ApiError::invalid("Minimum memory limit allowed is 6MB"));
        }
        let mut request = CreateRequest {
            name: name.into(),
            image: self.image.clone(),
            entrypoint: self.entrypoint.clone().map(Command::words),
            cmd: self.cmd.clone().map(Command::words),
            env: self.env.clone(),
            user: self.user.clone(),
            working_dir: self.working_dir.clone(),
            hostname: self.hostname.clone(),
            domainname: self.domainname.clone(),
            labels: self.labels.clone(),
            exposed_ports: self.exposed_ports.keys().cloned().collect(),
            volumes: self.volumes.keys().cloned().collect(),
            tty: self.tty,
            open_stdin: self.open_stdin,
            stdin_once: self.stdin_once,
            attach_stdin: self.attach_stdin,
            attach_stdout: self.attach_stdout,
            attach_stderr: self.attach_stderr,
            mac_address: Some(self.mac_address.clone()).filter(|address| !address.is_empty()),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            healthcheck: self.healthcheck.as_ref().map(|check| Healthcheck {
                test: check.test.clone(),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            }),
            host_config: self.host_config.request()?,
            host: self.labels.get(HOST_LABEL).cloned(),
            isolation: values::isolation(&host.isolation).map_err(ApiError::invalid)?,
            ..CreateRequest::default()
        };
        if self.network_disabled {
            request.host_config.network_mode = "none".into();
        }
        let endpoints = self.networking_config.endpoints_config.values();
        let mut aliases: Vec<String> = Vec::new();
        for alias in endpoints.flat_map(|endpoint| &endpoint.aliases) {
            if !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
        request.add_aliases(aliases);
        Ok(request)
    }
}

impl HostConfig {
    fn request(&self) -> Result<engine::HostConfig, ApiError> {
        let network = self.network_mode.as_str();
        if !network.is_empty() && network.parse::<Choice>().is_err() {
            // Not 404, by which docker's command would pull the image: dockerd says it at the start.
            return Err(ApiError::invalid(format!("network {network} not found")));
        }
        Ok(engine::HostConfig {
            binds: given(&self.binds),
            mounts: self.mounts.iter().map(super::Mount::request).collect(),
            volumes_from: given(&self.volumes_from),
            volume_driver: self.volume_driver.clone(),
            port_bindings: self.ports(),
            publish_all_ports: self.publish_all_ports,
            network_mode: self.network_mode.clone(),
            extra_hosts: given(&self.extra_hosts),
            dns: given(&self.dns),
            dns_options: given(&self.dns_options),
            dns_search: given(&self.dns_search),
            links: given(&self.links),
            restart_policy: engine::RestartPolicy {
                name: self.restart_policy.name.clone(),
                maximum_retry_count: self.restart_policy.maximum_retry_count,
            },
            auto_remove: self.auto_remove,
            log_config: engine::LogConfig {
                kind: self.log_config.kind.clone(),
                config: self.log_config.config.clone(),
            },
            console_size: match *self.console_size {
                [rows, columns] => [rows, columns],
                _ => [0; 2],
            },
            cap_add: given(&self.cap_add),
            cap_drop: given(&self.cap_drop),
            security_opt: given(&self.security_opt),
            masked_paths: self.masked_paths.clone(),
            readonly_paths: self.readonly_paths.clone(),
            group_add: given(&self.group_add),
            privileged: self.privileged,
            pid_mode: self.pid_mode.clone(),
            ipc_mode: self.ipc_mode.clone(),
            cgroupns_mode: self.cgroupns_mode.clone(),
            userns_mode: self.userns_mode.clone(),
            uts_mode: self.uts_mode.clone(),
            runtime: self.runtime.clone(),
            cgroup_parent: self.cgroup_parent.clone(),
            device_requests: Some(self.device_requests.clone()).filter(|list| !list.is_empty()),
            device_cgroup_rules: given(&self.device_cgroup_rules),
            readonly_rootfs: self.readonly_rootfs,
            init: self.init,
            tmpfs: self.tmpfs.clone(),
            sysctls: self.sysctls.clone(),
            storage_opt: self.storage_opt.clone(),
            ulimits: (!self.ulimits.is_empty()).then(|| {
                let limits = self.ulimits.iter();
                let limits = limits.map(|limit| engine::Ulimit {
                    name: limit.name.clone(),
                    soft: limit.soft,
                    hard: limit.hard,
                });
                limits.collect()
            }),
            shm_size: self.shm_size,
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            memory_swappiness: self.memory_swappiness,
            nano_cpus: self.nano_cpus,
            cpu_shares: self.cpu_shares,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids_limit: self.pids_limit,
            oom_score_adj: self.oom_score_adj,
            oom_kill_disable: self.oom_kill_disable.then_some(true),
            ..engine::HostConfig::default()
        })
    }

    fn ports(&self) -> BTreeMap<String, Vec<engine::PortBinding>> {
        let binding = |binding: &super::PortBinding| engine::PortBinding {
            host_ip: binding.host_ip.clone(),
            host_port: binding.host_port.clone(),
        };
        let ports = self.port_bindings.iter();
        ports
            .map(|(port, all)| (port.clone(), all.iter().map(binding).collect()))
            .collect()
    }
}

impl super::Mount {
    fn request(&self) -> engine::Mount {
        let tmpfs = &self.tmpfs_options;
        let options = json!({"SizeBytes": tmpfs.size_bytes, "Mode": tmpfs.mode});
        engine::Mount {
            kind: self.kind.clone(),
            source: self.source.clone(),
            target: self.target.clone(),
            read_only: self.read_only,
            consistency: None,
            options: match self.kind.as_str() {
                "tmpfs" => [("TmpfsOptions".into(), options)].into(),
                _ => BTreeMap::new(),
            },
        }
    }
}
