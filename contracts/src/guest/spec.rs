//! What a container is: the parts of the OCI runtime spec that a guest needs, under its names.
//!
//! The host merges the image's configuration with the user's flags; the guest resolves what only
//! the root file system knows (user names, the program on `PATH`).

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{network::Network, stream::Port};

extern crate alloc;

/// A container to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Identifier, 64 hexadecimal digits; also the name of its cgroup.
    pub id: String,
    /// Where its file system comes from.
    pub root: Root,
    /// Name that `uname -n` gives in its UTS namespace, at most 64 bytes.
    pub hostname: String,
    /// What is executed.
    pub process: Process,
    /// Mounts beyond the standard ones (`/proc`, `/dev`, `/dev/pts`, `/dev/shm`, `/dev/mqueue`,
    /// `/sys`, `/sys/fs/cgroup`), in order.
    pub mounts: Vec<Mount>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Paths that are hidden from the container.
    pub masked_paths: Vec<String>,
    /// Paths that the container can only read.
    pub readonly_paths: Vec<String>,
    /// Kernel settings by their dotted name, as `net.ipv4.ip_unprivileged_port_start`.
    pub sysctls: Vec<(String, String)>,
    /// Limits of its cgroup.
    pub resources: Resources,
    /// Give it a user namespace of its own, whose users are nobody outside.
    pub user_namespace: bool,
    /// Namespaces of the guest's own that it has instead of new ones.
    #[serde(default)]
    pub shares: Shares,
    /// Give it all of the guest's devices, and `/sys` and its control groups to write (docker's
    /// `--privileged`, as far as init has a part in it).
    #[serde(default)]
    pub privileged: bool,
    /// How it reaches others. Records of containers from before this field have no network.
    #[serde(default)]
    pub network: Network,
    /// Contents of `/etc/resolv.conf`; `None` leaves the image's own file.
    pub resolv_conf: Option<String>,
    /// Lines added to `/etc/hosts` after the standard ones, as (address, names).
    pub extra_hosts: Vec<(String, String)>,
    /// Where its standard streams go.
    pub stdio: Stdio,
}

/// Namespaces of the guest's own that a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Process numbers: it sees all of the guest's processes. Its own are killed when its first
    /// process ends, as they are without.
    pub processes: bool,
    /// System V and POSIX inter-process communication.
    pub ipc: bool,
    /// Control groups: it sees the whole hierarchy.
    pub control_groups: bool,
}

/// Most layers of a root: what docker allows an image to have is 127, and a GPT has 128 entries.
pub const MAX_LAYERS: usize = 128;

/// The file system of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Index of the disk that holds the layers: 0 is `/dev/vda`.
    pub disk: u8,
    /// The layers, from the base up.
    pub layers: Vec<Layer>,
    /// Where changes are written.
    pub upper: Upper,
    /// Mount the root file system read-only.
    pub read_only: bool,
}

impl Root {
    /// Whether layers are checked while they are read.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.layers.iter().any(|layer| layer.verity.is_some())
    }
}

/// A layer: a partition of a disk with an EROFS file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Number of the partition, 1 to 255.
    pub partition: u8,
    /// Where it lies, when the disk has no table that says so: the guest makes the partition then,
    /// unless it is there already.
    pub range: Option<Range>,
    /// Every block that is read is checked against this; `None` takes them as they are.
    #[serde(default)]
    pub verity: Option<Verity>,
}

/// A tree of hashes (dm-verity, version 1, SHA-256, blocks of 4 KiB, no salt) in the same partition,
/// behind the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verity {
    /// Blocks of data, at least 1; the tree begins with the next one.
    pub blocks: u64,
    /// Hash at the top of the tree.
    pub root: [u8; 32],
}

/// A run of bytes on a disk, whole sectors of 512.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
}

/// The writable layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upper {
    /// In the guest's memory, with a limit in bytes where one is given.
    Tmpfs(Option<u64>),
    /// On the disk of this index, formatted as ext4.
    Disk(u8),
    /// On such a disk, which containers share: in a directory of its own that goes with it.
    Shared {
        /// Index of the disk.
        disk: u8,
        /// Most bytes that it may take there; as large a part of the disk's inodes goes with them.
        limit: u64,
    },
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
    /// `user[:group]` by name or number, looked up in the image's own files; empty for root.
    pub user: String,
    /// Supplementary groups by name or number, beyond those of `/etc/group`.
    pub groups: Vec<String>,
    /// Size of the terminal; `None` runs without one.
    pub terminal: Option<TerminalSize>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Bit `n` is capability `n` of `linux/capability.h`: the bounding set, and root's effective,
    /// permitted and (never) inheritable sets follow from it.
    pub capabilities: u64,
    /// Set `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: SeccompProfile,
    /// Run a small init as PID 1 that reaps and forwards signals (`--init`).
    pub init: bool,
}

/// What is run beside a container's first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// A program in the container's namespaces and control group.
    Program(Process),
    /// A service of init's about the container.
    Tool(Tool),
}

/// A service of init's about a container. It writes to its standard output, exits with 0, or says
/// why not on its standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tool {
    /// Stop all of the container's processes where they are, or let them go on.
    Freeze(bool),
    /// A line for each of the container's processes: number, parent's number, user number, state,
    /// processor time in clock ticks, start in clock ticks after the guest's, resident KiB, and
    /// the command's words, parted by tabs.
    Processes,
    /// Files of the container's control group: a line with each one's name between `==> ` and
    /// ` <==`, then its content.
    Statistics,
    /// A line for each file that differs from the image's: `A`, `C` or `D`, a space, the path.
    Changes,
    /// A tar archive of a file or directory of the container.
    Pack {
        /// Absolute path in the container.
        path: String,
        /// Follow a symbolic link in the path's last component.
        follow: bool,
    },
    /// Unpacks a tar archive from standard input into a directory of the container.
    Unpack {
        /// Absolute path of a directory in the container.
        path: String,
        /// Where the archive's first name is a symbolic link there, what it leads to is meant.
        follow: bool,
    },
    /// What is at a path: `file`, `directory`, `other`, or nothing; before it `link `, if it is a symbolic
    /// link that leads there.
    Look {
        /// Absolute path in the container.
        path: String,
    },
}

/// System call filter of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// Docker's default profile, for the container's capabilities.
    Default,
    /// All but what reaches the host past the container's streams: a vsock socket, and `io_uring`,
    /// which could make one.
    Unconfined,
    /// No filter at all: what is privileged has the guest's own reach.
    Off,
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Number of lines.
    pub rows: u16,
    /// Number of characters in a line.
    pub columns: u16,
}

/// A resource limit, as `setrlimit(2)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Absolute path in the container; resolved inside its root, created when missing.
    pub target: String,
    /// Options as in `fstab(5)`: flags (`ro`, `nosuid`, `noexec`, …) and file system data.
    pub options: Vec<String>,
}

/// Limits of a container's cgroup (version 2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Host ports to which the guest connects for each standard stream; `None` is `/dev/null`.
///
/// With a terminal only `stdin` and `stdout` are used. The host half-closes `stdin` at its end;
/// the guest half-closes the others when nothing can write to them any more. By each of them the
/// guest sends the port's secret first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Host to container.
    pub stdin: Option<Port>,
    /// Container to host.
    pub stdout: Option<Port>,
    /// Container to host.
    pub stderr: Option<Port>,
}
