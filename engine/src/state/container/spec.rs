//! What a container is to its guest, in the record's own words: its image's configuration merged with the request.
//!
//! The guest's protocol has types of the same names, and is free to change with each release: init and keeper are of one
//! release, while a record is read by earlier and later ones. What is added here has a default that changes nothing for
//! the records that lack it; what would mean something else is another [`VERSION`](super::VERSION).

use contracts::guest::{self, Network, Stdio};
use serde::{Deserialize, Serialize};

/// A container, merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its ID, which is also the name of its cgroup.
    pub id: String,
    /// Where its file system comes from.
    pub root: Root,
    /// Name that `uname -n` gives, at most 64 bytes.
    pub hostname: String,
    /// What is executed.
    pub process: Process,
    /// Mounts beyond the standard ones, in order.
    pub mounts: Vec<Mount>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Paths that are hidden from the container.
    pub masked_paths: Vec<String>,
    /// Paths that the container can only read.
    pub readonly_paths: Vec<String>,
    /// Kernel settings by their dotted name.
    pub sysctls: Vec<(String, String)>,
    /// Limits of its cgroup.
    pub resources: Resources,
    /// It has a user namespace of its own.
    pub user_namespace: bool,
    /// Namespaces of the guest's own that it has instead of new ones.
    #[serde(default)]
    pub shares: Shares,
    /// It has all that the guest's root has: docker's `--privileged`.
    #[serde(default)]
    pub privileged: bool,
    /// Contents of `/etc/resolv.conf`; `None` leaves the image's own file.
    pub resolv_conf: Option<String>,
    /// Lines added to `/etc/hosts` after the standard ones, as (address, names).
    pub extra_hosts: Vec<(String, String)>,
    /// For earlier releases, which do not read a record without it.
    #[serde(default, rename = "stdio")]
    pub no_streams: NoStreams,
}

/// The streams of a container that does not run: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoStreams {
    stdin: (),
    stdout: (),
    stderr: (),
}

/// Namespaces of the guest's own that a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Processes: it sees all of the guest's.
    pub processes: bool,
    /// System V and POSIX inter-process communication.
    pub ipc: bool,
    /// Cgroups: it sees the whole hierarchy.
    pub control_groups: bool,
}

/// The file system of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Index of the disk that holds the layers.
    pub disk: u8,
    /// The layers, from the base up.
    pub layers: Vec<Layer>,
    /// Where changes are written.
    pub upper: Upper,
    /// The root file system is mounted read-only.
    pub read_only: bool,
}

impl Root {
    /// Whether layers are checked while they are read.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.layers.iter().any(|layer| layer.verity.is_some())
    }
}

/// A layer, as it lies on the disk of a container with a machine of its own. A named host has places of its own for
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Number of its partition, 1 to 255.
    pub partition: u8,
    /// Every block that is read is checked against this; `None` takes them as they are.
    #[serde(default)]
    pub verity: Option<Verity>,
}

/// A tree of hashes (dm-verity, version 1, SHA-256, blocks of 4 KiB, no salt), behind the layer's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verity {
    /// Blocks of data, at least 1; the tree begins with the next one.
    pub blocks: u64,
    /// Hash at the top of the tree.
    pub root: [u8; 32],
}

/// The writable layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upper {
    /// In the guest's memory, with a limit in bytes where one is given.
    Tmpfs(Option<u64>),
    /// On the disk of this index.
    Disk(u8),
}

/// What is executed in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; the program is looked up on the `PATH` of `env`.
    pub args: Vec<String>,
    /// Environment as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory, absolute; created when it does not exist, as docker does.
    pub cwd: String,
    /// `user[:group]` by name or number; empty for root.
    pub user: String,
    /// Supplementary groups by name or number.
    pub groups: Vec<String>,
    /// Size of the terminal; `None` runs without one.
    pub terminal: Option<TerminalSize>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Bit `n` is capability `n` of `linux/capability.h`.
    pub capabilities: u64,
    /// It and its children gain no privileges by what they execute.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: SeccompProfile,
    /// A small init runs it, reaps and forwards signals.
    pub init: bool,
}

/// System call filter of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// Docker's default profile, for the container's capabilities.
    Default,
    /// All but what reaches the host past the container's streams.
    Unconfined,
    /// No filter at all.
    Off,
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A resource limit of `setrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Linux's number of the resource: `RLIMIT_NOFILE` is 7.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// A mount beyond the standard ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// File system type: `tmpfs`.
    pub kind: String,
    /// Source, as `mount(2)` takes it.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Options as in `fstab(5)`.
    pub options: Vec<String>,
}

/// Limits of a container's cgroup (version 2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `memory.max` in bytes.
    pub memory: Option<u64>,
    /// `memory.swap.max` in bytes.
    pub swap: Option<u64>,
    /// `pids.max`.
    pub pids: Option<u64>,
    /// `cpu.max`.
    pub cpu: Option<Cpu>,
}

/// Processor time that a cgroup may use: `quota` in each `period`, both in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Microseconds of processor time in a period.
    pub quota: u64,
    /// Length of a period in microseconds.
    pub period: u64,
}

impl Spec {
    /// What the guest is told of it at a start.
    pub(crate) fn for_guest(&self, network: Network, stdio: Stdio) -> guest::ContainerSpec {
        guest::ContainerSpec {
            id: self.id.clone(),
            root: self.root.for_guest(),
            hostname: self.hostname.clone(),
            process: self.process.for_guest(),
            mounts: self.mounts.iter().map(Mount::for_guest).collect(),
            shm_size: self.shm_size,
            masked_paths: self.masked_paths.clone(),
            readonly_paths: self.readonly_paths.clone(),
            sysctls: self.sysctls.clone(),
            resources: self.resources.for_guest(),
            user_namespace: self.user_namespace,
            shares: self.shares.for_guest(),
            privileged: self.privileged,
            network,
            resolv_conf: self.resolv_conf.clone(),
            extra_hosts: self.extra_hosts.clone(),
            stdio,
        }
    }
}

impl Process {
    /// What the guest is told of it.
    #[must_use]
    pub fn for_guest(&self) -> guest::Process {
        guest::Process {
            args: self.args.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            groups: self.groups.clone(),
            terminal: self.terminal.map(|size| guest::TerminalSize {
                rows: size.rows,
                columns: size.columns,
            }),
            rlimits: self.rlimits.iter().map(Rlimit::for_guest).collect(),
            capabilities: self.capabilities,
            no_new_privileges: self.no_new_privileges,
            seccomp: match self.seccomp {
                SeccompProfile::Default => guest::SeccompProfile::Default,
                SeccompProfile::Unconfined => guest::SeccompProfile::Unconfined,
                SeccompProfile::Off => guest::SeccompProfile::Off,
            },
            init: self.init,
        }
    }
}

impl Root {
    fn for_guest(&self) -> guest::Root {
        guest::Root {
            disk: self.disk,
            layers: self.layers.iter().map(Layer::for_guest).collect(),
            upper: match self.upper {
                Upper::Tmpfs(limit) => guest::Upper::Tmpfs(limit),
                Upper::Disk(disk) => guest::Upper::Disk(disk),
            },
            read_only: self.read_only,
        }
    }
}

impl Layer {
    fn for_guest(&self) -> guest::Layer {
        guest::Layer {
            partition: self.partition,
            range: None,
            verity: self.verity.map(|tree| guest::Verity {
                blocks: tree.blocks,
                root: tree.root,
            }),
        }
    }
}

impl Shares {
    fn for_guest(self) -> guest::Shares {
        guest::Shares {
            processes: self.processes,
            ipc: self.ipc,
            control_groups: self.control_groups,
        }
    }
}

impl Rlimit {
    fn for_guest(&self) -> guest::Rlimit {
        guest::Rlimit {
            resource: self.resource,
            soft: self.soft,
            hard: self.hard,
        }
    }
}

impl Mount {
    fn for_guest(&self) -> guest::Mount {
        guest::Mount {
            kind: self.kind.clone(),
            source: self.source.clone(),
            target: self.target.clone(),
            options: self.options.clone(),
        }
    }
}

impl Resources {
    fn for_guest(self) -> guest::Resources {
        guest::Resources {
            memory: self.memory,
            swap: self.swap,
            pids: self.pids,
            cpu: self.cpu.map(|cpu| guest::Cpu {
                quota: cpu.quota,
                period: cpu.period,
            }),
        }
    }
}
