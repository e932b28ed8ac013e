//! What 'run' and 'create' take, and the request that they make of it.

mod request;
mod values;

use std::path::PathBuf;

use coracle_engine::{
    containers::{
        RestartPolicy, Ulimit,
        network::Choice,
        values as engine,
        values::{SecurityOption, restart_policy},
    },
    state::{MachineMode, container::Isolation},
};
use coracle_platform::duration::span;

use crate::cli::{
    choices,
    moment::Seconds,
    options::{self, Bytes, Cpus, Memory, checked},
    pull,
};
pub(super) use request::{How, console_size, create, environment};
use values::{LogDriver, Namespace, When};

/// What 'run' and 'create' take.
#[derive(clap::Args)]
pub(super) struct Flags {
    /// Image, and the command with its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_name = "IMAGE [COMMAND] [ARG...]"
    )]
    pub(super) image_and_command: Vec<String>,

    /// Keep standard input open even if not attached
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Automatically remove the container when it exits
    #[arg(long)]
    rm: bool,
    /// Assign a name to the container [default: a generated one]
    #[arg(long)]
    name: Option<String>,
    /// Set metadata on the container
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Write the container ID to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Option<PathBuf>,
    /// Restart policy when the container exits: no, on-failure[:MAX-RETRIES], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no", value_parser = restart_policy)]
    restart: RestartPolicy,
    /// Logging driver for the container: local files, or none
    #[arg(long, value_name = "DRIVER", default_value = "local")]
    log_driver: LogDriver,
    /// Log driver option: max-size=SIZE, of each of the two log files
    #[arg(long, value_name = "NAME=VALUE", value_parser = |text: &str| options::pair(text, '='))]
    log_opt: Vec<(String, String)>,

    /// Set an environment variable, or pass on one of this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read in a file of environment variables, one per line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<String>,
    /// User name or UID, and group name or GID
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Additional group to join, by name or GID
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Overwrite the image's ENTRYPOINT
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Another line for /etc/hosts; host-gateway is the address of the guest on its bridge
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = |text: &str| checked(text, engine::extra_host))]
    add_host: Vec<String>,

    /// Connect the container to a network: bridge (containers of a named host), none, host (the
    /// guest's own), or container:NAME [default: bridge in a named host, else none]
    #[arg(long, alias = "net", value_name = "NETWORK", value_parser = |text: &str| checked(text, str::parse::<Choice>))]
    network: Option<String>,
    /// Network-scoped alias for the container
    #[arg(long, alias = "net-alias", value_name = "NAME", value_parser = |text: &str| checked(text, engine::alias))]
    network_alias: Vec<String>,

    // Docker's, which people give out of habit: refused in words.
    #[arg(short, long, hide = true, value_name = "PORTS")]
    publish: Vec<String>,
    #[arg(short, long, alias = "mount", hide = true, value_name = "VOLUME")]
    volume: Vec<String>,

    /// Verify every block of the image on read (dm-verity), and fail on blocks changed on disk
    #[arg(long)]
    verify: bool,
    /// size=SIZE: keep the writable layer on a disk of this size until 'rm'; without it, it is in the
    /// guest's memory, and lost when the container exits. In a named host with a disk: let it take this
    /// much of that. memory=SIZE: keep it in memory, at most this much, even if the named host has a disk
    #[arg(long, value_name = "NAME=VALUE", value_parser = |text: &str| options::pair(text, '='))]
    storage_opt: Vec<(String, String)>,
    /// Mount the container's root file system as read-only
    #[arg(long)]
    read_only: bool,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = options::tmpfs)]
    tmpfs: Vec<(String, String)>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", default_value = "64m")]
    shm_size: Bytes,

    /// Add a Linux capability, or ALL
    #[arg(long, value_name = "NAME", value_parser = |text: &str| checked(text, engine::capabilities))]
    cap_add: Vec<String>,
    /// Drop a Linux capability, or ALL
    #[arg(long, value_name = "NAME", value_parser = |text: &str| checked(text, engine::capabilities))]
    cap_drop: Vec<String>,
    /// Security option: no-new-privileges, seccomp=unconfined
    #[arg(long, value_name = "OPTION", value_parser = |text: &str| checked(text, str::parse::<SecurityOption>))]
    security_opt: Vec<String>,
    /// User namespace: host (the guest's own), or private, whose root is nobody outside
    /// [default: host; private with --isolation namespace]
    #[arg(long, value_name = "MODE")]
    userns: Option<Namespace>,
    /// Give extended privileges inside the guest: all capabilities and devices, no seccomp filter.
    /// In a named host this includes its other containers; never this machine
    #[arg(long)]
    privileged: bool,
    /// PID namespace: host (the guest's own), or private
    #[arg(long, value_name = "MODE", default_value = "private")]
    pid: Namespace,
    /// IPC namespace: host (the guest's own), or private
    #[arg(long, value_name = "MODE", default_value = "private")]
    ipc: Namespace,
    /// Cgroup namespace: host (the guest's own), or private
    #[arg(long, value_name = "MODE", default_value = "private")]
    cgroupns: Namespace,
    /// Kernel setting of the container's namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = options::sysctl)]
    sysctl: Vec<(String, String)>,

    /// Ulimit option: nofile, nproc, core, …; -1 for unlimited
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = options::ulimit)]
    ulimit: Vec<Ulimit>,
    /// Tune the container's PIDs limit; 0 or -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Number of CPUs; the guest has as many vCPUs, rounded up [default: 1]
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<Cpus>,
    /// Memory limit, such as 512m, at least 6m; the guest has some MiB more for its kernel
    /// [default: unlimited in a guest of 512 MiB]
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Memory>,

    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Signal to stop the container [default: the image's, or SIGTERM]
    #[arg(long, value_name = "SIGNAL", value_parser = |text: &str| checked(text, engine::signal))]
    stop_signal: Option<String>,
    /// Time to wait for the container to stop before it is killed; -1 to wait forever [default: 10s]
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true)]
    stop_timeout: Option<Seconds>,
    /// Maximum time the container may run before it is killed; 0 for no limit
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0",
        hide_default_value = true
    )]
    timeout: Seconds,

    /// Shell command to run to check health
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between running the check [default: the image's, or 30s]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    health_interval: Option<u64>,
    /// Maximum time to allow one check to run [default: the image's, or 30s]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    health_timeout: Option<u64>,
    /// Start period for the container to initialize, in which failures do not count [default: the
    /// image's, or 0s]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    health_start_period: Option<u64>,
    /// Consecutive failures needed to report unhealthy [default: the image's, or 3]
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// Disable the image's HEALTHCHECK
    #[arg(long, conflicts_with = "health_cmd")]
    no_healthcheck: bool,

    /// Pull the image before running
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: When,
    #[command(flatten)]
    image: pull::Options,

    /// Named host to run in, on one kernel with its other containers
    #[arg(long, value_name = "HOST", conflicts_with_all = ["kernel", "machine"])]
    host: Option<String>,
    /// Guest kernel to boot: an ELF vmlinux or a bzImage
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Isolation technology: a microVM, or namespaces on this machine's kernel (needs root)
    #[arg(long, value_name = "KIND", default_value = "vm", value_parser = choices::isolation())]
    isolation: Isolation,
    /// When to use a software host, which is slow but needs no KVM
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = choices::machine())]
    machine: MachineMode,

    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
}
