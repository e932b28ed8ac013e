//! The making of a container: what is asked for, and its image, become a record.

use std::collections::BTreeMap;

use contracts::guest::MAX_LAYERS;
use coracle_platform::clock;
use images::store::{Image, LayerFile};

use super::{
    Container, Containers, CreateRequest, network, policies, refuse,
    values::{self, SecurityOption},
};
use crate::{
    Error, ErrorKind, Kind, Result,
    error::ErrorKind::Invalid,
    host, identifier,
    images::obtain,
    policy,
    progress::{Progress, Report},
    spec::Options,
    state::{
        container::{
            self, Asked, Config, Isolation, Restart,
            spec::{Shares, TerminalSize, Verity},
        },
        host::Hosts,
        journal,
        network::Mode,
    },
};

/// Bytes of /dev/shm unless told otherwise, as docker's.
const SHM_SIZE: u64 = 64 << 20;

/// Seconds that a container may take to stop unless told otherwise, as docker's.
const STOP_TIMEOUT: u64 = 10;

/// A billionth of a processor is what docker counts, and a thousandth what is counted here.
const NANO_CPUS: u64 = 1_000_000;

/// Microseconds of a period unless told otherwise: docker's and the kernel's.
const CPU_PERIOD: u64 = 100_000;

impl Containers {
    /// Makes a container, and tells of its steps; the image is pulled first where that is asked for. Its layers stay
    /// in the store for as long as it does.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an image, a host or another container that is not there; [`ErrorKind::Conflict`] for
    /// a name that is in use; [`ErrorKind::Invalid`] for what cannot be, or not yet, or not together.
    pub fn create(&self, request: &CreateRequest, progress: &dyn Progress) -> Result<Container> {
        refuse::unsupported(request)?;
        refuse::without_machine(request)?;
        let (host, disk) = match &request.host {
            Some(host) => {
                let host = Hosts::new(&self.engine.directories).find(host)?;
                let disk = policies::part_of_disk(request, &host.config)?;
                if disk.is_some() {
                    let warning = policies::warn_of_part(request, &host.config, &host.state()?)?;
                    if let Some(words) = warning {
                        progress.report(Report::Warning(&words));
                    }
                }
                (Some(host.config.id), disk)
            }
            None => (None, policies::storage(request)?.disk),
        };
        let aliases = network::aliases(request)?;
        let network = network::resolve(request, &aliases, host.as_deref(), &self.records)?;
        for words in refuse::warnings(request) {
            progress.report(Report::Warning(words));
        }
        progress.report(Report::Step("flags understood"));
        let obtained = obtain(&self.engine.images(), request, progress)?;
        progress.report(Report::Step("image found"));
        let config = Config {
            host,
            disk,
            aliases,
            ..config(request, &obtained.image, network)?
        };
        policy::check(&config).kind(Invalid)?;
        let record = self.records.create(config)?;
        journal::note(&self.engine.directories.data, &record.config, "create", &[]);
        // From here on the container itself keeps the layers from being removed.
        drop(obtained);
        Ok(self.with(record))
    }
}

/// What each layer of an image is checked against, if it is.
fn trees(request: &CreateRequest, image: &Image) -> Result<Vec<Option<Verity>>> {
    let tree = |layer: &LayerFile| {
        if !request.verify {
            return Ok(None);
        }
        let tree = layer.verity.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                format!(
                    "cannot verify layer {}: it was stored by an earlier release without a hash tree; remove \
                     the images that use it ('coracle rmi'), and pull again",
                    layer.diff_id
                ),
            )
        })?;
        Ok(Some(Verity {
            blocks: tree.blocks,
            root: tree.root.sha256(),
        }))
    };
    image.layers.iter().map(tree).collect()
}

/// The record of a container of an image, in a host of its own.
fn config(
    request: &CreateRequest,
    image: &Image,
    (network, shared): (Mode, Option<container::Container>),
) -> Result<Config> {
    let host = &request.host_config;
    let restart = values::restart(&host.restart_policy).map_err(Error::invalid)?;
    if host.auto_remove && restart != Restart::No {
        return Err(Error::invalid("conflicting options: --restart and --rm"));
    }
    let id = identifier()?;
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| (layer.path.clone(), layer.size))
        .collect();
    if layers.len() > MAX_LAYERS {
        return Err(Error::invalid(format!(
            "the image has {} layers; the maximum is {MAX_LAYERS}",
            layers.len()
        )));
    }
    let mut options = options(request)?;
    network::find_gateway(&mut options.hosts, &network)?;
    if let Some(other) = shared {
        options.hostname = Some(other.config.spec.hostname);
    }
    let trees = trees(request, image)?;
    let mut spec = options.spec(&id, &image.config, &trees).kind(Invalid)?;
    if request.isolation == Isolation::Namespace {
        spec.masked_paths.extend(host::namespace::masked_paths());
    }
    let stop_timeout = match request.stop_timeout {
        None => STOP_TIMEOUT,
        Some(seconds) => u64::try_from(seconds)
            .unwrap_or(values::FOREVER)
            .min(values::FOREVER),
    };
    Ok(Config {
        version: container::VERSION,
        id,
        name: request.name.clone(),
        created: clock::wall(),
        image: request.image.clone(),
        image_id: image.id.to_string(),
        layers,
        labels: labels(request, image),
        interactive: request.open_stdin,
        input_once: request.stdin_once,
        remove: host.auto_remove,
        log: policies::log(request)?,
        restart,
        stop_signal: stop_signal(request, image)?,
        stop_timeout,
        timeout: Some(request.timeout).filter(|seconds| *seconds > 0),
        memory: options.memory,
        cpu: options.cpu,
        disk: None,
        kernel: request.kernel.clone(),
        machine: request.machine,
        host: None,
        isolation: request.isolation,
        network,
        aliases: Vec::new(),
        health: policies::health(
            request.healthcheck.as_ref(),
            image.config.healthcheck.as_ref(),
        )?,
        spec,
        asked: Some(Box::new(Asked {
            request: request.clone(),
            image: image.config.clone(),
        })),
    })
}

/// The image's labels, then those that were asked for.
fn labels(request: &CreateRequest, image: &Image) -> BTreeMap<String, String> {
    let mut labels = image.config.labels.clone();
    labels.extend(request.labels.clone());
    labels
}

fn stop_signal(request: &CreateRequest, image: &Image) -> Result<u8> {
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    match (
        given(&request.stop_signal),
        given(&image.config.stop_signal),
    ) {
        (Some(name), _) => values::signal(&name).map_err(Error::invalid),
        (None, Some(name)) => crate::signal::parse(&name)
            .ok_or_else(|| Error::invalid(format!("the image's stop signal {name:?} is unknown"))),
        (None, None) => Ok(15),
    }
}

/// What is asked for as the guest takes it, each value checked.
fn options(request: &CreateRequest) -> Result<Options> {
    let host = &request.host_config;
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let security: Vec<SecurityOption> = each(&list(&host.security_opt), |text| text.parse())?;
    let storage = policies::storage(request)?;
    for variable in &request.env {
        values::variable(variable).map_err(|why| Error::invalid(why).context("--env"))?;
    }
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(Options {
        command: request.cmd.clone().unwrap_or_default(),
        entrypoint: request.entrypoint.clone(),
        env: request.env.clone(),
        workdir: given(&request.working_dir),
        user: given(&request.user),
        groups: list(&host.group_add),
        hostname: given(&request.hostname),
        terminal: request.tty.then(|| terminal(host.console_size)),
        disk: storage.disk.is_some() && request.host.is_none(),
        upper_memory: storage.memory,
        read_only: host.readonly_rootfs,
        tmpfs: tmpfs(request)?,
        capabilities: crate::capability::adjusted(
            &each(&list(&host.cap_add), |name| values::capabilities(name))?,
            &each(&list(&host.cap_drop), |name| values::capabilities(name))?,
        ),
        rlimits: each(host.ulimits.as_deref().unwrap_or_default(), values::rlimit)?,
        sysctls: host
            .sysctls
            .iter()
            .map(|(name, value)| Ok((values::sysctl_name(name)?, value.clone())))
            .collect::<Result<_, String>>()
            .map_err(Error::invalid)?,
        hosts: each(&list(&host.extra_hosts), |line| values::extra_host(line))?,
        pids: host
            .pids_limit
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|limit| *limit > 0),
        cpu: cpu(request)?,
        memory: values::memory(amount("memory limit", host.memory)?).map_err(Error::invalid)?,
        // As docker, 0 is the default; to tmpfs it would be no limit.
        shm_size: Some(amount("size of /dev/shm", host.shm_size)?)
            .filter(|bytes| *bytes > 0)
            .or(Some(SHM_SIZE)),
        init: host.init.unwrap_or_default(),
        user_namespace: match host.userns_mode.as_str() {
            "" => request.isolation == Isolation::Namespace,
            mode => mode == "private",
        },
        shares: Shares {
            processes: host.pid_mode == "host",
            ipc: host.ipc_mode == "host",
            control_groups: host.cgroupns_mode == "host",
        },
        privileged: host.privileged,
        no_new_privileges: security.contains(&SecurityOption::NoNewPrivileges),
        seccomp_unconfined: security.contains(&SecurityOption::SeccompUnconfined),
    })
}

/// Reads each of some values.
fn each<T, U>(list: &[T], read: impl Fn(&T) -> Result<U, String>) -> Result<Vec<U>> {
    let all: Result<Vec<U>, String> = list.iter().map(read).collect();
    all.map_err(Error::invalid)
}

/// A number that is none below zero.
fn amount(what: &str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::invalid(format!("the {what} cannot be negative")))
}

/// The terminal's size at the beginning; the usual one where nobody says.
fn terminal([rows, columns]: [u16; 2]) -> TerminalSize {
    match (rows, columns) {
        (0, _) | (_, 0) => TerminalSize {
            rows: 24,
            columns: 80,
        },
        (rows, columns) => TerminalSize { rows, columns },
    }
}

/// Temporary file systems of both of docker's forms.
fn tmpfs(request: &CreateRequest) -> Result<Vec<(String, Vec<String>)>> {
    let host = &request.host_config;
    let mut all = Vec::new();
    for (target, options) in &host.tmpfs {
        all.push(values::tmpfs(target, options).map_err(Error::invalid)?);
    }
    for mount in &host.mounts {
        let (target, mut options) = values::tmpfs(&mount.target, "").map_err(Error::invalid)?;
        let given = mount.options.get("TmpfsOptions");
        let number = |name: &str| given?.get(name)?.as_u64().filter(|number| *number > 0);
        options.extend(number("SizeBytes").map(|bytes| format!("size={bytes}")));
        options.extend(number("Mode").map(|mode| format!("mode={mode:o}")));
        options.extend(mount.read_only.then(|| "ro".into()));
        all.push((target, options));
    }
    Ok(all)
}

/// Thousandths of a processor.
fn cpu(request: &CreateRequest) -> Result<Option<u64>> {
    let host = &request.host_config;
    let nano = amount("number of CPUs", host.nano_cpus)?;
    let period = match amount("CPU period", host.cpu_period)? {
        0 => CPU_PERIOD,
        period => period,
    };
    // -1 is no limit.
    let quota = u64::try_from(host.cpu_quota).unwrap_or(0);
    match (nano, quota) {
        (0, 0) => Ok(None),
        (0, quota) => Ok(Some((quota.saturating_mul(1000) / period).max(1))),
        (nano, 0) if host.cpu_period == 0 => Ok(Some((nano / NANO_CPUS).max(1))),
        _ => Err(Error::invalid(
            "conflicting options: NanoCpus, and a CPU period or quota",
        )),
    }
}

#[cfg(test)]
mod tests;
