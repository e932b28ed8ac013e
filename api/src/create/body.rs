//! The fields that are read; others are ignored, as docker ignores what it does not know.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::Value;

/// A container's configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Body {
    /// The image, as the person named it.
    pub image: String,
    /// The command; without one, the image's.
    pub cmd: Option<Command>,
    /// The entry point; without one, the image's. A single empty word takes the image's away.
    pub entrypoint: Option<Command>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// `user[:group]`.
    pub user: String,
    /// Working directory.
    pub working_dir: String,
    /// Host name; the ID's first digits otherwise.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Who makes it attaches to its input.
    pub attach_stdin: bool,
    /// Who makes it attaches to its output.
    pub attach_stdout: bool,
    /// Who makes it attaches to its errors.
    pub attach_stderr: bool,
    /// The process has a terminal.
    pub tty: bool,
    /// The process has an input.
    pub open_stdin: bool,
    /// The input ends with the first client's.
    pub stdin_once: bool,
    /// Anonymous volumes.
    pub volumes: BTreeMap<String, Value>,
    /// Ports that the image or the person says are listened on.
    pub exposed_ports: BTreeMap<String, Value>,
    /// The signal that asks it to stop.
    pub stop_signal: Option<String>,
    /// Seconds until it is killed then.
    pub stop_timeout: Option<i64>,
    /// Health check.
    pub healthcheck: Option<Health>,
    /// Fixed hardware address, as old clients have it.
    pub mac_address: String,
    /// No network.
    pub network_disabled: bool,
    /// What concerns the host.
    pub host_config: HostConfig,
    /// Networks by name.
    pub networking_config: NetworkingConfig,
}

/// A command line, which some clients send as one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Words.
    Words(Vec<String>),
    /// One word.
    Word(String),
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Command;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a word or a list of words")
            }

            fn visit_str<E>(self, word: &str) -> Result<Command, E> {
                Ok(Command::Word(word.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Command::Words(words))
            }
        }

        source.deserialize_any(Either)
    }
}

impl Command {
    /// Its words.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        match self {
            Self::Words(words) => words,
            Self::Word(word) => vec![word],
        }
    }
}

/// A health check; what is 0 is the image's or the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    /// `NONE`, `CMD` and words, `CMD-SHELL` and a line; empty: the image's.
    pub test: Vec<String>,
    /// Nanoseconds between two.
    pub interval: i64,
    /// Nanoseconds that one may take.
    pub timeout: i64,
    /// Nanoseconds in which failures do not count.
    pub start_period: i64,
    /// Nanoseconds between two in that time.
    pub start_interval: i64,
    /// Failures in a row that count.
    pub retries: i64,
}

/// What concerns the host.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// `SOURCE:TARGET[:OPTIONS]`.
    pub binds: Vec<String>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Containers whose volumes it gets.
    pub volumes_from: Vec<String>,
    /// Published ports.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// Publish all exposed ports.
    pub publish_all_ports: bool,
    /// Links to other containers.
    pub links: Vec<String>,
    /// Network, such as `default`, `bridge`, `none`, `host`, `container:NAME`.
    pub network_mode: String,
    /// Name servers.
    pub dns: Vec<String>,
    /// Domains that names are looked for in.
    pub dns_search: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// `NAME:ADDRESS` lines of `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// It is removed at its end.
    pub auto_remove: bool,
    /// When it is started again.
    pub restart_policy: RestartPolicy,
    /// Logging.
    pub log_config: LogConfig,
    /// Capabilities more.
    pub cap_add: Vec<String>,
    /// Capabilities less.
    pub cap_drop: Vec<String>,
    /// Everything that the guest's root can do.
    pub privileged: bool,
    /// Its root file system cannot be written to.
    pub readonly_rootfs: bool,
    /// Security options.
    pub security_opt: Vec<String>,
    /// Paths that it cannot see; none is a wish, too.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that it cannot write to.
    pub readonly_paths: Option<Vec<String>>,
    /// Further groups.
    pub group_add: Vec<String>,
    /// PID namespace.
    pub pid_mode: String,
    /// IPC namespace.
    pub ipc_mode: String,
    /// User namespace.
    pub userns_mode: String,
    /// UTS namespace.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Cgroup namespace.
    pub cgroupns_mode: String,
    /// A small init runs in it.
    pub init: Option<bool>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Temporary file systems: path and options.
    pub tmpfs: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`.
    pub shm_size: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of memory that are kept for it.
    pub memory_reservation: i64,
    /// Bytes of memory and swap.
    pub memory_swap: i64,
    /// The kernel does not kill it for its memory.
    pub oom_kill_disable: bool,
    /// How readily its memory is swapped; -1 is the usual.
    pub memory_swappiness: Option<i64>,
    /// Thousandths of a millionth of a processor.
    pub nano_cpus: i64,
    /// Microseconds of a period.
    pub cpu_period: i64,
    /// Microseconds of processor time in each.
    pub cpu_quota: i64,
    /// Weight among others.
    pub cpu_shares: i64,
    /// Processors.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Weight among others.
    pub blkio_weight: i64,
    /// Weights on devices.
    pub blkio_weight_device: Vec<Value>,
    /// Limits on devices.
    pub blkio_device_read_bps: Vec<Value>,
    /// Limits on devices.
    pub blkio_device_write_bps: Vec<Value>,
    /// Limits on devices.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_operations: Vec<Value>,
    /// Limits on devices.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_operations: Vec<Value>,
    /// Microseconds of a period of realtime processes.
    pub cpu_realtime_period: i64,
    /// Microseconds of realtime in each.
    pub cpu_realtime_runtime: i64,
    /// Most processes.
    pub pids_limit: Option<i64>,
    /// Devices of the host.
    pub devices: Vec<Value>,
    /// Devices by their drivers, such as GPUs.
    pub device_requests: Vec<Value>,
    /// Rules about devices.
    pub device_cgroup_rules: Vec<String>,
    /// Options of the writable layer.
    pub storage_opt: BTreeMap<String, String>,
    /// Rows and columns of the terminal.
    pub console_size: Vec<u16>,
    /// Runtime.
    pub runtime: String,
    /// Isolation.
    pub isolation: String,
    /// Cgroup that it is put below.
    pub cgroup_parent: String,
    /// Driver of its volumes.
    pub volume_driver: String,
    /// How readily the kernel kills it for lack of memory.
    pub oom_score_adj: i64,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Where from.
    pub source: String,
    /// Where to.
    pub target: String,
    /// Nothing can be written there.
    pub read_only: bool,
    /// Options of a tmpfs.
    pub tmpfs_options: TmpfsOptions,
}

/// Options of a tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TmpfsOptions {
    /// Its largest size.
    pub size_bytes: i64,
    /// Its directory's mode.
    pub mode: u32,
}

/// A published port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PortBinding {
    /// Address.
    pub host_ip: String,
    /// Port or range.
    pub host_port: String,
}

/// When a container is started again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub name: String,
    /// Most attempts of the last.
    pub maximum_retry_count: i64,
}

/// Logging.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LogConfig {
    /// Driver.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Options.
    pub config: BTreeMap<String, String>,
}

/// A resource limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ulimit {
    /// Name, such as `nofile`.
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// Networks by name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkingConfig {
    /// Each with what is asked of it.
    pub endpoints_config: BTreeMap<String, Endpoint>,
}

/// What is asked of a network.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Endpoint {
    /// Names of the container there.
    pub aliases: Vec<String>,
    /// Links to other containers.
    pub links: Vec<String>,
    /// Fixed addresses.
    #[serde(rename = "IPAMConfig")]
    pub addresses: Option<Value>,
    /// Fixed hardware address.
    pub mac_address: String,
}
