//! What a container is made of: everything that a front may ask for, by docker's names.
//!
//! The command fills it from its flags, the Docker API from a body; the engine makes a container of it, and keeps it in
//! the container's record, so that the same container can be made again. Nothing of it is merged with the image.
//!
//! Every field may be missing where it is read: it then has its default, which asks for nothing. So a record of one
//! release is read by the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::Isolation;
use crate::state::MachineMode;

/// What is asked for of a new container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateRequest {
    /// Its name; an empty one gets a name that is free.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// The image: a name, or an ID.
    pub image: String,
    /// When the image is pulled.
    #[serde(skip_serializing_if = "is_default")]
    pub pull: PullPolicy,
    /// Platform of the image: `linux/arm64`; this machine's unless it is given.
    #[serde(skip_serializing_if = "is_default")]
    pub platform: Option<String>,
    /// Whether certificates of registries are checked; the user's settings say so otherwise.
    #[serde(skip_serializing_if = "is_default")]
    pub tls_verify: Option<bool>,

    /// First words of the command line; replaces the image's, and takes its command away. One empty word is none.
    #[serde(skip_serializing_if = "is_default")]
    pub entrypoint: Option<Vec<String>>,
    /// Words after the entry point; replaces the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub cmd: Option<Vec<String>>,
    /// `NAME=VALUE`, later ones win; `NAME` alone takes a variable of the image's away.
    #[serde(skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    /// `user[:group]`; empty for the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub user: String,
    /// Where the command starts; empty for the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub working_dir: String,
    /// Host name; empty for the first digits of the ID.
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: String,
    /// NIS domain name.
    #[serde(skip_serializing_if = "is_default")]
    pub domainname: String,
    /// Labels, beside the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// Ports that it listens on, beside the image's: `80/tcp`.
    #[serde(skip_serializing_if = "is_default")]
    pub exposed_ports: BTreeSet<String>,
    /// Directories with data of their own.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes: BTreeSet<String>,

    /// It has a terminal.
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    /// Standard input is kept open.
    #[serde(skip_serializing_if = "is_default")]
    pub open_stdin: bool,
    /// Standard input ends with the first client that is attached to it.
    #[serde(skip_serializing_if = "is_default")]
    pub stdin_once: bool,
    /// Who makes it attaches to standard input.
    #[serde(skip_serializing_if = "is_default")]
    pub attach_stdin: bool,
    /// Who makes it attaches to standard output.
    #[serde(skip_serializing_if = "is_default")]
    pub attach_stdout: bool,
    /// Who makes it attaches to standard error.
    #[serde(skip_serializing_if = "is_default")]
    pub attach_stderr: bool,

    /// Signal that stops it, by name or number; the image's, or SIGTERM, unless it is given.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL, 10 unless they are given; -1 for ever.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_timeout: Option<i64>,
    /// How to find out whether it works, beside what the image says.
    #[serde(skip_serializing_if = "is_default")]
    pub healthcheck: Option<Healthcheck>,
    /// Hardware address.
    #[serde(skip_serializing_if = "is_default")]
    pub mac_address: Option<String>,

    /// What depends on where it runs.
    #[serde(skip_serializing_if = "is_default")]
    pub host_config: HostConfig,
    /// Its places in networks, by their names.
    #[serde(skip_serializing_if = "is_default")]
    pub networks: BTreeMap<String, Endpoint>,

    /// Named host to run in, by name or ID; a host of its own unless it is given.
    #[serde(skip_serializing_if = "is_default")]
    pub host: Option<String>,
    /// What keeps it apart from this machine.
    #[serde(skip_serializing_if = "is_default")]
    pub isolation: Isolation,
    /// Kernel to boot; Coracle's unless it is given.
    #[serde(skip_serializing_if = "is_default")]
    pub kernel: Option<PathBuf>,
    /// When a software host is used.
    #[serde(skip_serializing_if = "is_default")]
    pub machine: MachineMode,
    /// Each block of the image is verified when it is read.
    #[serde(skip_serializing_if = "is_default")]
    pub verify: bool,
    /// Seconds that it may run; 0 for no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: u64,
}

impl CreateRequest {
    /// Gives it names by which neighbours in its network know it.
    pub fn add_aliases(&mut self, aliases: impl IntoIterator<Item = String>) {
        let mut aliases = aliases.into_iter().peekable();
        if aliases.peek().is_none() {
            return;
        }
        let network = match self.host_config.network_mode.as_str() {
            "" => "default",
            name => name,
        };
        let endpoint = self.networks.entry(network.into()).or_default();
        endpoint.aliases.extend(aliases);
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// When it is not here.
    Missing,
    /// Not at all: docker's clients pull by themselves.
    #[default]
    Never,
}

/// The half of a request that depends on where the container runs; as it was asked for.
///
/// Numbers are docker's: 0 asks for nothing. `None` and an empty list are told apart, since docker's clients show them
/// differently.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// Volumes and directories of this machine: `SOURCE:TARGET[:OPTIONS]`.
    #[serde(skip_serializing_if = "is_default")]
    pub binds: Option<Vec<String>>,
    /// The same, in docker's newer form.
    #[serde(skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    /// Containers whose volumes it has, too.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes_from: Option<Vec<String>>,
    /// Driver of volumes that are made for it.
    #[serde(skip_serializing_if = "is_default")]
    pub volume_driver: String,
    /// Ports of this machine, by the container's port: `80/tcp`.
    #[serde(skip_serializing_if = "is_default")]
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// Each port that it listens on is published.
    #[serde(skip_serializing_if = "is_default")]
    pub publish_all_ports: bool,
    /// Its network: `bridge`, `none`, `host`, `container:NAME`; empty or `default` for what is usual where it runs.
    #[serde(skip_serializing_if = "is_default")]
    pub network_mode: String,
    /// Lines of `/etc/hosts`: `NAME:ADDRESS`.
    #[serde(skip_serializing_if = "is_default")]
    pub extra_hosts: Option<Vec<String>>,
    /// DNS servers.
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Option<Vec<String>>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "is_default")]
    pub dns_options: Option<Vec<String>>,
    /// Domains that are searched.
    #[serde(skip_serializing_if = "is_default")]
    pub dns_search: Option<Vec<String>>,
    /// Docker's old links: `CONTAINER:ALIAS`.
    #[serde(skip_serializing_if = "is_default")]
    pub links: Option<Vec<String>>,

    /// When it is started again.
    #[serde(skip_serializing_if = "is_default")]
    pub restart_policy: RestartPolicy,
    /// It is removed when it ends.
    #[serde(skip_serializing_if = "is_default")]
    pub auto_remove: bool,
    /// What happens to its output.
    #[serde(skip_serializing_if = "is_default")]
    pub log_config: LogConfig,
    /// Rows and columns of its terminal at the beginning.
    #[serde(skip_serializing_if = "is_default")]
    pub console_size: [u16; 2],

    /// Capabilities beside the usual ones.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_add: Option<Vec<String>>,
    /// Capabilities that it is not to have.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_drop: Option<Vec<String>>,
    /// `no-new-privileges`, `seccomp=unconfined`.
    #[serde(skip_serializing_if = "is_default")]
    pub security_opt: Option<Vec<String>>,
    /// Paths that are hidden; the usual ones unless they are given.
    #[serde(skip_serializing_if = "is_default")]
    pub masked_paths: Option<Vec<String>>,
    /// Paths that cannot be written; the usual ones unless they are given.
    #[serde(skip_serializing_if = "is_default")]
    pub readonly_paths: Option<Vec<String>>,
    /// Additional groups, by name or number.
    #[serde(skip_serializing_if = "is_default")]
    pub group_add: Option<Vec<String>>,
    /// Everything that the guest's root can do.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// PID namespace: `host`, or its own.
    #[serde(skip_serializing_if = "is_default")]
    pub pid_mode: String,
    /// IPC namespace: `host`, `private`, or `shareable`, which is the same here.
    #[serde(skip_serializing_if = "is_default")]
    pub ipc_mode: String,
    /// Cgroup namespace: `host` or `private`.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroupns_mode: String,
    /// User namespace: `host` or `private`; empty for what is usual where it runs.
    #[serde(skip_serializing_if = "is_default")]
    pub userns_mode: String,
    /// UTS namespace; only its own.
    #[serde(skip_serializing_if = "is_default")]
    pub uts_mode: String,
    /// OCI runtime; there is none to choose.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime: String,
    /// Cgroup above its own; there is none to choose.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup_parent: String,
    /// Devices of this machine.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Option<Vec<Device>>,
    /// Devices by what they can do, as docker writes them.
    #[serde(skip_serializing_if = "is_default")]
    pub device_requests: Option<Vec<serde_json::Value>>,
    /// Rules of the device cgroup.
    #[serde(skip_serializing_if = "is_default")]
    pub device_cgroup_rules: Option<Vec<String>>,

    /// Read-only root file system.
    #[serde(skip_serializing_if = "is_default")]
    pub readonly_rootfs: bool,
    /// An init inside that forwards signals and reaps processes.
    #[serde(skip_serializing_if = "is_default")]
    pub init: Option<bool>,
    /// Temporary file systems: options, separated by commas, by path.
    #[serde(skip_serializing_if = "is_default")]
    pub tmpfs: BTreeMap<String, String>,
    /// Kernel settings.
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// `size`: a disk for what it writes; `memory`: the most that it may write to memory.
    #[serde(skip_serializing_if = "is_default")]
    pub storage_opt: BTreeMap<String, String>,
    /// Resource limits.
    #[serde(skip_serializing_if = "is_default")]
    pub ulimits: Option<Vec<Ulimit>>,
    /// Bytes of `/dev/shm`; 64 MiB unless it is given.
    #[serde(skip_serializing_if = "is_default")]
    pub shm_size: i64,
    /// Memory limit in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: i64,
    /// Limit of memory and swap in bytes; there is no swap.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_swap: i64,
    /// Soft memory limit in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_reservation: i64,
    /// Readiness to swap, in percent.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_swappiness: Option<i64>,
    /// Processors, in thousand millionths.
    #[serde(skip_serializing_if = "is_default")]
    pub nano_cpus: i64,
    /// Weight against other containers.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_shares: i64,
    /// Microseconds of a period in which processor time is shared out.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_period: i64,
    /// Microseconds of processor time in a period.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_quota: i64,
    /// Processors that it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset_cpus: String,
    /// Memory nodes that it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset_mems: String,
    /// Most processes; 0 and less for no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub pids_limit: Option<i64>,
    /// How soon the kernel kills it when memory is short.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_score_adj: i64,
    /// The kernel is not to kill it.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_kill_disable: Option<bool>,
}

/// How to find out whether a container works; times in nanoseconds. 0, and no test, take the image's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `NONE`, `CMD` and words, or `CMD-SHELL` and a line.
    #[serde(skip_serializing_if = "is_default")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(skip_serializing_if = "is_default")]
    pub interval: i64,
    /// Time for one check.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: i64,
    /// Time after the start in which failures do not count.
    #[serde(skip_serializing_if = "is_default")]
    pub start_period: i64,
    /// Time between checks in that period.
    #[serde(skip_serializing_if = "is_default")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_default")]
    pub retries: i64,
}

/// A volume or a directory of this machine, in docker's newer form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    /// Path on this machine, or name of the volume.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// It cannot be written.
    pub read_only: bool,
    /// Docker's, which is of no meaning on Linux.
    #[serde(skip_serializing_if = "is_default")]
    pub consistency: Option<String>,
    /// `BindOptions`, `VolumeOptions` and `TmpfsOptions`, as docker writes them.
    #[serde(skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, serde_json::Value>,
}

/// Where a port is published on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// Address; empty for all.
    pub host_ip: String,
    /// Port or range; empty or 0 for one that is free.
    pub host_port: String,
}

/// A container's place in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Names by which neighbours know it, beside its own.
    #[serde(skip_serializing_if = "is_default")]
    pub aliases: Vec<String>,
    /// Docker's old links.
    #[serde(skip_serializing_if = "is_default")]
    pub links: Vec<String>,
    /// Address that was asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv4_address: Option<String>,
    /// Hardware address that was asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub mac_address: Option<String>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `no` or empty, `on-failure`, `always`, `unless-stopped`.
    pub name: String,
    /// Most starts `on-failure`; 0 for any number.
    #[serde(skip_serializing_if = "is_default")]
    pub maximum_retry_count: i64,
}

/// What happens to output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `local` or `json-file`, which are the same here, or `none`; empty for the usual one.
    pub kind: String,
    /// `max-size`.
    #[serde(skip_serializing_if = "is_default")]
    pub config: BTreeMap<String, String>,
}

/// A resource limit; -1 for none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ulimit {
    /// `nofile`, `nproc`, ….
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// A device of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Path on this machine.
    pub path_on_host: String,
    /// Path in the container.
    pub path_in_container: String,
    /// `rwm`.
    pub cgroup_permissions: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
