//! The engine's records as what docker's JSON is made of.
//!
//! A record keeps what the guest is told; docker shows what was asked for. Where a record does not tell them apart, what
//! came of the request stands for it, and what dockerd fills in by itself is left out.

mod asked;

use std::collections::BTreeMap;

use contracts::guest::hardware_of;
use coracle_engine::{
    capability,
    containers::values::RLIMITS,
    state::{
        container::{
            self as record, LogPolicy, Restart, Wellness,
            spec::{Mount, Rlimit, SeccompProfile, Upper},
        },
        host::Host,
        network::{GATEWAY, Mode, PREFIX},
    },
};

use crate::container::{
    Address, Config, Container, Coracle, Filter, Health, HealthResult, Healthcheck, HostConfig,
    Life, LogConfig, Network, RestartPolicy, Seen, Size, Status, Summary, Ulimit, id_of,
};
use crate::time::rfc3339;

/// Seconds and signal that docker stops with unless told otherwise, and then does not show.
const STOP_TIMEOUT: u64 = 10;
const STOP_SIGNAL: u8 = 15;

/// What is known of a container, from its records. Its size and what runs beside it are to be added by who asks for them.
#[must_use]
pub fn container(
    config: &record::Config,
    state: &record::State,
    around: &record::Surroundings,
) -> Container {
    let live = state.status.is_live();
    let jail = around.jail.split(", ").filter(|wall| !wall.is_empty());
    let mut life = life(state);
    if let Some(health) = &mut life.health {
        health.log = around.probes.iter().map(health_result).collect();
    }
    Container {
        id: config.id.clone(),
        name: config.name.clone(),
        created: config.created,
        image_id: config.image_id.clone(),
        args: config.spec.process.args.clone(),
        config: match &config.asked {
            Some(asked) => asked::portable(config, asked),
            None => portable(config),
        },
        host_config: host_config(config),
        life,
        networks: networks(config, state),
        published: BTreeMap::new(),
        mounts: match &config.asked {
            Some(asked) => asked::mounts(&asked.request.host_config),
            None => Vec::new(),
        },
        log_path: around.log.display().to_string(),
        exec_ids: Vec::new(),
        size: None,
        coracle: Coracle {
            host: around.host.clone(),
            jail: jail.map(Into::into).collect(),
            keeper_pid: if live { state.keeper } else { 0 },
        },
    }
}

/// What a list shows of a container, from the one small record that lists read.
#[must_use]
pub fn summary(summary: record::Summary) -> Summary {
    let live = summary.state.status.is_live();
    let life = life(&summary.state);
    let address = address(summary.state.address);
    let shown = summary.state.shown;
    let mut networks = BTreeMap::new();
    if !shown.network.is_empty() {
        let own = Network {
            id: id_of(&shown.network).into(),
            address,
            ..Network::default()
        };
        networks.insert(shown.network.clone(), Box::new(own));
    }
    Summary {
        id: shown.id,
        name: summary.name,
        created: shown.created,
        image: shown.image,
        image_id: shown.image_id,
        args: shown.command,
        labels: shown.labels,
        life,
        network_mode: shown.network,
        networks,
        ports: match live {
            true => shown.exposed.into_iter().map(|port| (port, None)).collect(),
            false => BTreeMap::new(),
        },
        mounts: Vec::new(),
        size: None,
    }
}

/// Bytes of a container.
#[must_use]
pub fn size(size: coracle_engine::containers::Size) -> Size {
    Size {
        written: size.written,
        root: size.image + size.written.unwrap_or(0),
    }
}

/// A container in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is known of it.
    pub summary: Summary,
    /// The named host that it belongs to; empty for one of its own.
    pub host: String,
}

/// The containers of a list for which the filters hold: those that run, unless `all` or a filter wants the others, too;
/// the first `limit` of any. Each is made when it is asked for: a list of many takes the memory of one.
pub fn rows<'a>(
    list: Vec<record::Summary>,
    hosts: &'a [Host],
    filter: &'a Filter,
    all: bool,
    limit: Option<usize>,
) -> impl Iterator<Item = Row> + 'a {
    let all = all || limit.is_some() || filter.wants_all();
    let shown = move |known: &record::Summary| all || known.state.status.is_live();
    let rows = list.into_iter().filter(shown);
    let rows = rows.filter_map(move |known| row(known, hosts, filter));
    rows.take(limit.unwrap_or(usize::MAX))
}

fn row(mut known: record::Summary, hosts: &[Host], filter: &Filter) -> Option<Row> {
    let host_id = known.state.shown.host.take().unwrap_or_default();
    let host = hosts.iter().find(|host| host.config.id == host_id);
    let host = host.map_or("", |host| &host.config.name);
    let summary = summary(known);
    let seen = Seen {
        host,
        host_id: &host_id,
    };
    filter.matches(&summary, seen).then(|| Row {
        host: host.to_owned(),
        summary,
    })
}

/// What became of a container.
#[must_use]
pub fn life(state: &record::State) -> Life {
    Life {
        status: match state.status {
            record::Status::Created => Status::Created,
            record::Status::Running => Status::Running,
            record::Status::Paused => Status::Paused,
            record::Status::Restarting => Status::Restarting,
            record::Status::Exited => Status::Exited,
        },
        pid: state.pid,
        exit_code: state.exit_code,
        error: state.error.clone(),
        oom_killed: state.oom,
        started: state.started,
        finished: state.finished,
        restarts: state.restarts,
        health: state.health.map(|wellness| Health {
            status: match wellness {
                Wellness::Starting => "starting",
                Wellness::Healthy => "healthy",
                Wellness::Unhealthy => "unhealthy",
            },
            failing_streak: state.failing,
            // For who inspects it.
            log: Vec::new(),
        }),
    }
}

fn health_result(probe: &record::ProbeResult) -> HealthResult {
    HealthResult {
        start: rfc3339(probe.start),
        end: rfc3339(probe.end),
        exit_code: probe.exit_code,
        output: probe.output.clone(),
    }
}

fn portable(config: &record::Config) -> Config {
    let process = &config.spec.process;
    let signal = config.stop_signal;
    Config {
        hostname: config.spec.hostname.clone(),
        user: process.user.clone(),
        attach_stdin: config.interactive,
        tty: process.terminal.is_some(),
        open_stdin: config.interactive,
        // Without -i there is nothing that could end.
        stdin_once: config.interactive && config.input_once,
        env: Some(process.env.clone()),
        cmd: Some(process.args.clone()),
        healthcheck: config.health.as_ref().map(healthcheck),
        image: config.image.clone(),
        working_dir: process.cwd.clone(),
        labels: Some(config.labels.clone()),
        stop_signal: (signal != STOP_SIGNAL).then(|| signal.to_string()),
        stop_timeout: (config.stop_timeout != STOP_TIMEOUT).then(|| signed(config.stop_timeout)),
        ..Config::default()
    }
}

fn healthcheck(health: &record::Health) -> Healthcheck {
    let command = health.command.iter().cloned();
    Healthcheck {
        test: ["CMD".into()].into_iter().chain(command).collect(),
        interval: signed(health.interval),
        timeout: signed(health.timeout),
        start_period: signed(health.start_period),
        start_interval: 0,
        retries: health.retries.into(),
    }
}

fn host_config(config: &record::Config) -> HostConfig {
    let mut host_config = match &config.asked {
        Some(asked) => asked::host_config(config, &asked.request.host_config),
        None => host_config_of_spec(config),
    };
    host_config.complete();
    host_config
}

/// Docker has no word for a container without a microVM of its own kind; it would say nothing.
fn isolation(config: &record::Config) -> String {
    match config.isolation {
        record::Isolation::Vm => String::new(),
        record::Isolation::Namespace => "namespace".into(),
    }
}

/// The machine's half by what came of what was asked for.
fn host_config_of_spec(config: &record::Config) -> HostConfig {
    let spec = &config.spec;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let host_or = |is_host: bool, other: &str| if is_host { "host" } else { other }.to_owned();
    let hosts = spec.extra_hosts.iter();
    let (cap_add, cap_drop) = capabilities(config);
    HostConfig {
        log_config: log_config(config.log),
        network_mode: config.network.word(),
        restart_policy: restart_policy(config.restart),
        auto_remove: config.remove,
        cap_add: some(cap_add),
        cap_drop: some(cap_drop),
        cgroupns_mode: host_or(spec.shares.control_groups, "private"),
        extra_hosts: some(
            hosts
                .map(|(address, name)| format!("{name}:{address}"))
                .collect(),
        ),
        group_add: some(spec.process.groups.clone()),
        ipc_mode: host_or(spec.shares.ipc, "private"),
        pid_mode: host_or(spec.shares.processes, ""),
        privileged: spec.privileged,
        readonly_rootfs: spec.root.read_only,
        security_opt: some(security_options(config)),
        storage_opt: storage(config),
        tmpfs: Some(spec.mounts.iter().filter_map(tmpfs).collect()),
        shm_size: signed(spec.shm_size),
        sysctls: Some(spec.sysctls.iter().cloned().collect()),
        isolation: isolation(config),
        memory: config.memory.map_or(0, signed),
        nano_cpus: config.cpu.map_or(0, signed) * 1_000_000,
        pids_limit: spec.resources.pids.map(signed),
        ulimits: (!spec.process.rlimits.is_empty())
            .then(|| spec.process.rlimits.iter().filter_map(ulimit).collect()),
        masked_paths: Some(spec.masked_paths.clone()),
        readonly_paths: Some(spec.readonly_paths.clone()),
        init: spec.process.init.then_some(true),
        ..HostConfig::default()
    }
}

/// Capabilities beyond docker's, and those of docker's that the container has not.
fn capabilities(config: &record::Config) -> (Vec<String>, Vec<String>) {
    if config.spec.privileged {
        return (Vec::new(), Vec::new());
    }
    let (own, default) = (
        config.spec.process.capabilities,
        capability::adjusted(&[], &[]),
    );
    let names = |bits| {
        let names = capability::names(bits).into_iter();
        names.map(|name| format!("CAP_{name}")).collect()
    };
    (names(own & !default), names(default & !own))
}

fn security_options(config: &record::Config) -> Vec<String> {
    let process = &config.spec.process;
    let mut options = Vec::new();
    if process.no_new_privileges {
        options.push("no-new-privileges".into());
    }
    if process.seccomp == SeccompProfile::Unconfined {
        options.push("seccomp=unconfined".into());
    }
    options
}

fn log_config(log: LogPolicy) -> LogConfig {
    match log {
        LogPolicy::None => LogConfig {
            kind: "none".into(),
            config: BTreeMap::new(),
        },
        LogPolicy::Local(size) => LogConfig {
            kind: "local".into(),
            config: [
                ("max-file".into(), "2".into()),
                ("max-size".into(), size.to_string()),
            ]
            .into(),
        },
    }
}

fn restart_policy(restart: Restart) -> RestartPolicy {
    let (name, most) = match restart {
        Restart::No => ("no", 0),
        Restart::OnFailure(most) => ("on-failure", most),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
    };
    RestartPolicy {
        name: name.into(),
        maximum_retry_count: most.into(),
    }
}

/// Where what it writes goes, if that was asked for.
fn storage(config: &record::Config) -> Option<BTreeMap<String, String>> {
    let size = config
        .disk
        .map(|size| ("size".to_owned(), size.to_string()));
    let memory = match config.spec.root.upper {
        Upper::Tmpfs(Some(memory)) => Some(("memory".to_owned(), memory.to_string())),
        _ => None,
    };
    let options: BTreeMap<_, _> = size.into_iter().chain(memory).collect();
    (!options.is_empty()).then_some(options)
}

fn tmpfs(mount: &Mount) -> Option<(String, String)> {
    (mount.kind == "tmpfs").then(|| (mount.target.clone(), mount.options.join(",")))
}

fn ulimit(limit: &Rlimit) -> Option<Ulimit> {
    let value = |value: u64| if value == u64::MAX { -1 } else { signed(value) };
    Some(Ulimit {
        name: usize::try_from(limit.resource)
            .ok()
            .and_then(|number| RLIMITS.get(number))?
            .to_string(),
        hard: value(limit.hard),
        soft: value(limit.soft),
    })
}

/// The network that it is in; that of another container is not its own.
fn networks(config: &record::Config, state: &record::State) -> BTreeMap<String, Network> {
    let Some(name) = config.network.network() else {
        return BTreeMap::new();
    };
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let network = Network {
        id: id_of(name).into(),
        aliases: some(config.aliases.clone()),
        dns_names: match config.network {
            Mode::Bridge => some(config.names()),
            _ => None,
        },
        address: address(state.address),
        ..Network::default()
    };
    [(name.to_owned(), network)].into()
}

fn address(address: Option<[u8; 4]>) -> Option<Address> {
    address.map(|address| Address {
        address,
        prefix: PREFIX,
        gateway: GATEWAY,
        hardware: hardware_of(address),
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
