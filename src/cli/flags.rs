//! What 'run' and 'create' take, and the container that they make of it.

mod policies;
mod values;

use std::{collections::BTreeMap, fs, io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use coracle_protocol::{MAX_LAYERS, Rlimit, Shares, Stdio, Verity};
use images::store::{Image, LayerFile};

use crate::cli::choices;
use policies::{health, log_policy, part_of_disk, storage};
use values::{LogDriver, Namespace, RestartPolicy, SecurityOption};

use crate::cli::{
    env_file,
    moment::Seconds,
    network,
    obtain::{When, obtain},
    options::{self, Bytes, Capabilities, Cpus, Memory, Signal, Tmpfs, Ulimit},
    pull,
};
use coracle_engine::Request;
use coracle_engine::host;
use coracle_engine::state::{
    Directories, MachineMode,
    container::{self, Config, Container, Containers, Isolation, Restart},
    host::Hosts,
    journal,
    network::Mode,
};
use coracle_platform::clock;
use coracle_platform::duration::span;

/// Bytes of /dev/shm unless told otherwise, as docker's.
const SHM_SIZE: u64 = 64 << 20;

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
    cidfile: Option<PathBuf>,
    /// Restart policy when the container exits: no, on-failure[:MAX-RETRIES], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
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
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = options::extra_host)]
    add_host: Vec<(String, String)>,

    /// Connect the container to a network: bridge (containers of a named host), none, host (the
    /// guest's own), or container:NAME [default: bridge in a named host, else none]
    #[arg(long, alias = "net", value_name = "NETWORK")]
    network: Option<network::Choice>,
    /// Network-scoped alias for the container
    #[arg(long, alias = "net-alias", value_name = "NAME", value_parser = network::alias)]
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
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    tmpfs: Vec<Tmpfs>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", default_value = "64m")]
    shm_size: Bytes,

    /// Add a Linux capability, or ALL
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<Capabilities>,
    /// Drop a Linux capability, or ALL
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<Capabilities>,
    /// Security option: no-new-privileges, seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<SecurityOption>,
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
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
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
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<Signal>,
    /// Time to wait for the container to stop before it is killed; -1 to wait forever
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        allow_negative_numbers = true
    )]
    stop_timeout: Seconds,
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

/// Makes a container of the flags, and tells of the steps. Its input ends with the first client where
/// `once`. Its layers stay in the store for as long as it does.
pub(super) fn create(
    flags: &Flags,
    directories: &Directories,
    once: bool,
    step: &mut dyn FnMut(&str),
) -> Result<Container> {
    let Some((name, command)) = flags.image_and_command.split_first() else {
        bail!("no image specified");
    };
    if !flags.publish.is_empty() {
        bail!(
            "publishing ports is not supported yet; containers of a named host reach each other \
             (--host, --network)"
        );
    }
    if !flags.volume.is_empty() {
        bail!("volumes and bind mounts are not supported yet; use 'coracle cp' to copy files");
    }
    if flags.isolation == Isolation::Namespace {
        refuse_without_machine(flags)?;
    }
    let (host, disk) = match &flags.host {
        Some(host) => {
            let host = Hosts::new(directories).find(host)?.config;
            let disk = part_of_disk(flags, &host)?;
            (Some(host.id), disk)
        }
        None => (None, storage(flags)?.0),
    };
    let network = network::resolve(
        &wishes(flags),
        host.as_deref(),
        &Containers::new(directories),
    )?;
    step("flags understood");
    let obtained = obtain(name, flags.pull, &flags.image, directories)?;
    step("image found");
    let config = Config {
        host,
        disk,
        aliases: flags.network_alias.clone(),
        ..config(flags, name, command, &obtained.image, once, network)?
    };
    coracle_engine::policy::check(&config)?;
    let cidfile = match &flags.cidfile {
        Some(path) => Some(
            fs::File::create_new(path)
                .with_context(|| format!("cannot create {}", path.display()))?,
        ),
        None => None,
    };
    let container = Containers::new(directories).create(config)?;
    if let Some(mut file) = cidfile {
        file.write_all(container.config.id.as_bytes())
            .context("cannot write the container ID")?;
    }
    journal::note(&directories.data, &container.config, "create", &[]);
    // From here on the container itself keeps the layers from being removed.
    drop(obtained);
    Ok(container)
}

/// What each layer of an image is checked against, if it is.
fn trees(flags: &Flags, image: &Image) -> Result<Vec<Option<Verity>>> {
    let tree = |layer: &LayerFile| {
        if !flags.verify {
            return Ok(None);
        }
        let tree = layer.verity.as_ref().with_context(|| {
            format!(
                "cannot verify layer {}: it was stored by an earlier release without a hash tree; remove \
                 the images that use it ('coracle rmi'), and pull again",
                layer.diff_id
            )
        })?;
        Ok(Some(Verity {
            blocks: tree.blocks,
            root: tree.root.sha256(),
        }))
    };
    image.layers.iter().map(tree).collect()
}

/// Refuses what a container without a machine cannot have.
fn refuse_without_machine(flags: &Flags) -> Result<()> {
    let machines = [
        (flags.host.is_some(), "--host", "a named host is a machine"),
        (
            flags.kernel.is_some(),
            "--kernel",
            "it uses this machine's kernel",
        ),
        (
            flags.machine == MachineMode::Always,
            "--machine always",
            "it needs no KVM",
        ),
        (
            flags.privileged,
            "--privileged",
            "it would be power over this machine",
        ),
        (
            [flags.pid, flags.ipc, flags.cgroupns].contains(&Namespace::Host),
            "--pid, --ipc or --cgroupns host",
            "they would be this machine's",
        ),
        (
            !flags.storage_opt.is_empty(),
            "--storage-opt",
            "what it writes is in this machine's memory",
        ),
        (
            flags.verify,
            "--verify",
            "no guest is there to check the layers",
        ),
    ];
    if let Some((_, flag, why)) = machines.into_iter().find(|(given, _, _)| *given) {
        bail!("--isolation namespace and {flag} contradict each other: {why}");
    }
    if flags
        .network
        .as_ref()
        .is_some_and(network::Choice::is_guests)
    {
        bail!(
            "--network host would be the network of this machine, which is given to no container"
        );
    }
    host::namespace::check().map(drop)
}

fn wishes(flags: &Flags) -> network::Wishes<'_> {
    network::Wishes {
        choice: flags.network.as_ref(),
        aliases: &flags.network_alias,
        hostname: flags.hostname.is_some(),
        add_host: !flags.add_host.is_empty(),
    }
}

fn config(
    flags: &Flags,
    name: &str,
    command: &[String],
    image: &Image,
    once: bool,
    (network, shared): (Mode, Option<Container>),
) -> Result<Config> {
    if flags.rm && flags.restart.0 != Restart::No {
        bail!("conflicting options: --restart and --rm");
    }
    let id = coracle_engine::identifier()?;
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| (layer.path.clone(), layer.size))
        .collect();
    if layers.len() > MAX_LAYERS {
        bail!(
            "the image has {} layers; the maximum is {MAX_LAYERS}",
            layers.len()
        );
    }
    let mut request = request(flags, command)?;
    network::find_gateway(&mut request.hosts, &network)?;
    if let Some(other) = shared {
        request.hostname = Some(other.config.spec.hostname);
    }
    let mut spec = request.spec(&id, &image.config, &trees(flags, image)?, Stdio::default())?;
    if flags.isolation == Isolation::Namespace {
        spec.masked_paths.extend(host::namespace::masked_paths());
    }
    // The monitor has another working directory where it runs in a software host.
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
    };
    Ok(Config {
        version: container::VERSION,
        id,
        name: flags.name.clone().unwrap_or_default(),
        created: clock::wall(),
        image: name.into(),
        image_id: image.id.to_string(),
        layers,
        labels: labels(flags, image),
        interactive: flags.interactive,
        input_once: once,
        remove: flags.rm,
        log: log_policy(flags)?,
        restart: flags.restart.0,
        stop_signal: stop_signal(flags, image)?,
        stop_timeout: flags.stop_timeout.0,
        timeout: Some(flags.timeout.0).filter(|seconds| *seconds > 0),
        memory: flags.memory.and_then(|memory| memory.0),
        cpu: flags.cpus.map(|cpus| cpus.thousandths.get()),
        disk: None,
        kernel: flags.kernel.as_ref().map(absolute).transpose()?,
        machine: flags.machine,
        host: None,
        isolation: flags.isolation,
        network,
        aliases: Vec::new(),
        health: health(flags, image),
        spec,
    })
}

/// The image's labels, then the user's.
fn labels(flags: &Flags, image: &Image) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = image.config.labels.clone().into_iter().collect();
    for label in &flags.label {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        labels.insert(name.into(), value.into());
    }
    labels
}

fn stop_signal(flags: &Flags, image: &Image) -> Result<u8> {
    match (flags.stop_signal, &image.config.stop_signal) {
        (Some(Signal(number)), _) => Ok(number),
        (None, Some(name)) if !name.is_empty() => coracle_engine::signal::parse(name)
            .with_context(|| format!("the image's stop signal {name:?} is unknown")),
        (None, _) => Ok(15),
    }
}

fn request(flags: &Flags, command: &[String]) -> Result<Request> {
    let bits = |list: &[Capabilities]| list.iter().map(|set| set.0).collect::<Vec<_>>();
    let rlimit = |limit: &Ulimit| Rlimit {
        resource: limit.resource,
        soft: limit.soft,
        hard: limit.hard,
    };
    Ok(Request {
        command: command.to_vec(),
        entrypoint: flags.entrypoint.clone(),
        env: environment(flags)?,
        workdir: flags.workdir.clone(),
        user: flags.user.clone(),
        groups: flags.group_add.clone(),
        hostname: flags.hostname.clone(),
        terminal: flags.tty.then(coracle_terminal::raw::size),
        disk: storage(flags)?.0.is_some() && flags.host.is_none(),
        upper_memory: storage(flags)?.1,
        read_only: flags.read_only,
        tmpfs: flags
            .tmpfs
            .iter()
            .map(|tmpfs| (tmpfs.target.clone(), tmpfs.options.clone()))
            .collect(),
        capabilities: coracle_engine::capability::adjusted(
            &bits(&flags.cap_add),
            &bits(&flags.cap_drop),
        ),
        rlimits: flags.ulimit.iter().map(rlimit).collect(),
        sysctls: flags.sysctl.clone(),
        hosts: flags.add_host.clone(),
        pids: flags
            .pids_limit
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|n| *n > 0),
        cpu: flags.cpus.map(|cpus| cpus.thousandths.get()),
        memory: flags.memory.and_then(|memory| memory.0),
        // As docker, 0 is the default; to tmpfs it would be no limit.
        shm_size: Some(flags.shm_size.0)
            .filter(|bytes| *bytes > 0)
            .or(Some(SHM_SIZE)),
        init: flags.init,
        user_namespace: match flags.userns {
            Some(namespace) => namespace == Namespace::Private,
            // Where the kernel is this machine's, root is to be nobody on it.
            None => flags.isolation == Isolation::Namespace,
        },
        shares: Shares {
            processes: flags.pid == Namespace::Host,
            ipc: flags.ipc == Namespace::Host,
            control_groups: flags.cgroupns == Namespace::Host,
        },
        privileged: flags.privileged,
        no_new_privileges: flags
            .security_opt
            .contains(&SecurityOption::NoNewPrivileges),
        seccomp_unconfined: flags
            .security_opt
            .contains(&SecurityOption::SeccompUnconfined),
    })
}

/// Variables of the files, then those of the command line.
fn environment(flags: &Flags) -> Result<Vec<String>> {
    let mut env = Vec::new();
    for file in &flags.env_file {
        env.extend(env_file::read(file)?);
    }
    for entry in &flags.env {
        env.push(
            options::environment(entry)
                .map_err(anyhow::Error::msg)
                .context("--env")?,
        );
    }
    Ok(env)
}
