//! `HostConfig`: what of a container depends on the machine that it runs on, as it was asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::null::{self, is_default};

/// Docker's `/dev/shm`, in bytes.
pub const SHM_SIZE: i64 = 64 << 20;

/// The machine's half of a container. Reads create bodies, too; lists that dockerd tells apart from `null` are `Option`s.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `source:target[:options]`.
    pub binds: Option<Vec<String>>,
    /// File that the client wrote the ID to.
    #[serde(rename = "ContainerIDFile", deserialize_with = "is_default")]
    pub container_id_file: String,
    /// What happens to output.
    #[serde(deserialize_with = "is_default")]
    pub log_config: LogConfig,
    /// `bridge`, `host`, `none`, `container:ID` or a network's name.
    #[serde(deserialize_with = "is_default")]
    pub network_mode: String,
    /// Where ports are published: `80/tcp` to addresses.
    pub port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
    /// When it is started again.
    #[serde(deserialize_with = "is_default")]
    pub restart_policy: RestartPolicy,
    /// It is removed when it ends.
    #[serde(deserialize_with = "is_default")]
    pub auto_remove: bool,
    /// Driver of volumes.
    #[serde(deserialize_with = "is_default")]
    pub volume_driver: String,
    /// Containers whose volumes it has.
    pub volumes_from: Option<Vec<String>>,
    /// Rows and columns of the terminal at the start.
    #[serde(deserialize_with = "is_default")]
    pub console_size: [u32; 2],
    /// Notes for the runtime.
    #[serde(skip_serializing_if = "null::is_empty")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Capabilities beyond docker's.
    #[serde(deserialize_with = "null::words")]
    pub cap_add: Option<Vec<String>>,
    /// Capabilities of docker's that it has not.
    #[serde(deserialize_with = "null::words")]
    pub cap_drop: Option<Vec<String>>,
    /// `host` or `private`.
    #[serde(deserialize_with = "is_default")]
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Options of the resolver.
    pub dns_options: Option<Vec<String>>,
    /// Domains that names are looked up in.
    pub dns_search: Option<Vec<String>>,
    /// `name:address`.
    pub extra_hosts: Option<Vec<String>>,
    /// Supplementary groups.
    pub group_add: Option<Vec<String>>,
    /// `private`, `host`, `shareable`, `none` or `container:ID`.
    #[serde(deserialize_with = "is_default")]
    pub ipc_mode: String,
    /// Unused by docker.
    #[serde(deserialize_with = "is_default")]
    pub cgroup: String,
    /// Links to containers.
    pub links: Option<Vec<String>>,
    /// How soon the kernel kills it when memory lacks.
    #[serde(deserialize_with = "is_default")]
    pub oom_score_adj: i64,
    /// `host`, `container:ID`, or empty for its own.
    #[serde(deserialize_with = "is_default")]
    pub pid_mode: String,
    /// Everything that root can do.
    #[serde(deserialize_with = "is_default")]
    pub privileged: bool,
    /// Every exposed port is published.
    #[serde(deserialize_with = "is_default")]
    pub publish_all_ports: bool,
    /// Read-only root file system.
    #[serde(deserialize_with = "is_default")]
    pub readonly_rootfs: bool,
    /// `seccomp=unconfined`, `no-new-privileges` and the like.
    pub security_opt: Option<Vec<String>>,
    /// `size`, of the disk for what it writes.
    #[serde(skip_serializing_if = "null::is_empty")]
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// Temporary file systems: target to options.
    #[serde(skip_serializing_if = "null::is_empty")]
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// `host`, or empty for its own.
    #[serde(rename = "UTSMode", deserialize_with = "is_default")]
    pub uts_mode: String,
    /// `host`, or empty.
    #[serde(deserialize_with = "is_default")]
    pub userns_mode: String,
    /// Bytes of `/dev/shm`.
    #[serde(deserialize_with = "is_default")]
    pub shm_size: i64,
    /// Kernel settings.
    #[serde(skip_serializing_if = "null::is_empty")]
    pub sysctls: Option<BTreeMap<String, String>>,
    /// What runs it.
    #[serde(deserialize_with = "is_default")]
    pub runtime: String,
    /// Kind of isolation.
    #[serde(deserialize_with = "is_default")]
    pub isolation: String,
    /// Relative weight of processor time.
    #[serde(deserialize_with = "is_default")]
    pub cpu_shares: i64,
    /// Bytes of memory; 0 for no limit.
    #[serde(deserialize_with = "is_default")]
    pub memory: i64,
    /// Billionths of a processor.
    #[serde(deserialize_with = "is_default")]
    pub nano_cpus: i64,
    /// Parent of its cgroup.
    #[serde(deserialize_with = "is_default")]
    pub cgroup_parent: String,
    /// Relative weight of input and output.
    #[serde(deserialize_with = "is_default")]
    pub blkio_weight: u16,
    /// The same of a device.
    pub blkio_weight_device: Option<Vec<Value>>,
    /// Limits of devices.
    pub blkio_device_read_bps: Option<Vec<Value>>,
    /// Limits of devices.
    pub blkio_device_write_bps: Option<Vec<Value>>,
    /// Limits of devices.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<Value>>,
    /// Limits of devices.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<Value>>,
    /// Microseconds of a period in which processor time is shared out.
    #[serde(deserialize_with = "is_default")]
    pub cpu_period: i64,
    /// Microseconds of processor time in a period.
    #[serde(deserialize_with = "is_default")]
    pub cpu_quota: i64,
    /// The same of realtime processes.
    #[serde(deserialize_with = "is_default")]
    pub cpu_realtime_period: i64,
    /// The same of realtime processes.
    #[serde(deserialize_with = "is_default")]
    pub cpu_realtime_runtime: i64,
    /// Processors that it may use.
    #[serde(deserialize_with = "is_default")]
    pub cpuset_cpus: String,
    /// Memory nodes that it may use.
    #[serde(deserialize_with = "is_default")]
    pub cpuset_mems: String,
    /// Devices of the host.
    pub devices: Option<Vec<Device>>,
    /// Rules of the device cgroup.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Requests to drivers, such as for GPUs.
    pub device_requests: Option<Vec<Value>>,
    /// Soft limit of memory in bytes.
    #[serde(deserialize_with = "is_default")]
    pub memory_reservation: i64,
    /// Bytes of memory and swap; -1 for no limit.
    #[serde(deserialize_with = "is_default")]
    pub memory_swap: i64,
    /// How readily it swaps, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// It is not killed when memory lacks.
    pub oom_kill_disable: Option<bool>,
    /// Most processes; `null` for no limit.
    pub pids_limit: Option<i64>,
    /// Resource limits.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Of Windows.
    #[serde(deserialize_with = "is_default")]
    pub cpu_count: i64,
    /// Of Windows.
    #[serde(deserialize_with = "is_default")]
    pub cpu_percent: i64,
    /// Of Windows.
    #[serde(rename = "IOMaximumIOps", deserialize_with = "is_default")]
    pub io_maximum_iops: i64,
    /// Of Windows.
    #[serde(rename = "IOMaximumBandwidth", deserialize_with = "is_default")]
    pub io_maximum_bandwidth: i64,
    /// `--mount`.
    #[serde(deserialize_with = "is_default", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Files that it cannot read.
    pub masked_paths: Option<Vec<String>>,
    /// Files that it cannot write.
    pub readonly_paths: Option<Vec<String>>,
    /// A small init runs in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// What happens to output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// Driver; empty for the default.
    #[serde(rename = "Type", deserialize_with = "is_default")]
    pub kind: String,
    /// Its options.
    #[serde(deserialize_with = "is_default")]
    pub config: BTreeMap<String, String>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `on-failure`, `always` or `unless-stopped`; empty is `no`.
    #[serde(deserialize_with = "is_default")]
    pub name: String,
    /// Most starts after a failure; 0 for any number.
    #[serde(deserialize_with = "is_default")]
    pub maximum_retry_count: i64,
}

/// Where a port is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// Address of this machine; empty for all.
    #[serde(deserialize_with = "is_default")]
    pub host_ip: String,
    /// Port, or a range; empty or `0` for any that is free.
    #[serde(deserialize_with = "is_default")]
    pub host_port: String,
}

/// A device of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Device {
    /// Path on the host.
    #[serde(deserialize_with = "is_default")]
    pub path_on_host: String,
    /// Path in the container.
    #[serde(deserialize_with = "is_default")]
    pub path_in_container: String,
    /// `r`, `w` and `m`.
    #[serde(deserialize_with = "is_default")]
    pub cgroup_permissions: String,
}

/// A resource limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// Such as `nofile`.
    #[serde(deserialize_with = "is_default")]
    pub name: String,
    /// Hard limit; -1 for none.
    #[serde(deserialize_with = "is_default")]
    pub hard: i64,
    /// Soft limit.
    #[serde(deserialize_with = "is_default")]
    pub soft: i64,
}

/// A mount as `--mount` asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(
        rename = "Type",
        deserialize_with = "is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub kind: String,
    /// Path on the host, or a volume's name.
    #[serde(
        deserialize_with = "is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub source: String,
    /// Path in the container.
    #[serde(
        deserialize_with = "is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub target: String,
    /// It cannot be written.
    #[serde(
        deserialize_with = "is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub read_only: bool,
    /// Of macOS.
    #[serde(
        deserialize_with = "is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub consistency: String,
    /// Options of a bind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<Value>,
    /// Options of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<Value>,
    /// Options of a temporary file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<Value>,
}

impl HostConfig {
    /// What dockerd makes of what was not asked for, as `inspect` then shows it.
    pub fn complete(&mut self) {
        let fill = |own: &mut String, default: &str| {
            if own.is_empty() {
                default.clone_into(own);
            }
        };
        fill(&mut self.log_config.kind, "json-file");
        fill(&mut self.restart_policy.name, "no");
        fill(&mut self.cgroupns_mode, "private");
        fill(&mut self.ipc_mode, "private");
        fill(&mut self.runtime, "coracle");
        if matches!(&*self.network_mode, "" | "default") {
            "bridge".clone_into(&mut self.network_mode);
        }
        if self.isolation == "default" {
            self.isolation.clear();
        }
        if self.shm_size == 0 {
            self.shm_size = SHM_SIZE;
        }
        if self.memory > 0 && self.memory_swap == 0 {
            // A guest has no swap.
            self.memory_swap = self.memory;
        }
        self.memory_swappiness = self.memory_swappiness.filter(|value| *value >= 0);
        self.pids_limit = self.pids_limit.filter(|most| *most > 0);
        self.oom_kill_disable = None;
    }
}
