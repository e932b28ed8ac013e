//! A new container, from what docker's clients ask for.

mod limits;
mod network;
mod policies;
mod security;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use coracle_engine::{
    Request, host, identifier, policy, signal,
    state::{
        MachineMode,
        container::{self, Config, Isolation},
        disk,
        host::Hosts,
        journal,
    },
};
use coracle_platform::clock;
use coracle_protocol::{MAX_LAYERS, Shares, Stdio, TerminalSize};
use images::store::{Image, Store};

use super::Backend;
use crate::{
    create::{self, Body, Command, HostConfig},
    error::{ApiError, whole},
    routes::{containers::in_use, images::failure},
};

/// A label that names the host that a container is to be in.
pub(super) const HOST_LABEL: &str = "coracle.host";

/// Bytes of /dev/shm unless told otherwise, as docker's.
const SHM_SIZE: u64 = 64 << 20;

/// Signal and seconds that a container is stopped with unless told otherwise, as docker's.
const STOP_SIGNAL: u8 = 15;
const STOP_TIMEOUT: u64 = 10;

/// A terminal's size before its client says another.
const SIZE: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

impl Backend {
    /// Makes a container of this name, or of one that is free; gives its ID.
    ///
    /// # Errors
    /// In docker's words when it cannot be.
    pub fn create(&self, name: &str, body: &Body) -> Result<String, ApiError> {
        if !name.is_empty() {
            create::check_name(name)?;
            self.check_free(name)?;
        }
        create::unsupported(body)?;
        if body.image.is_empty() {
            return Err(ApiError::invalid("no image specified"));
        }
        let store = Store::open(self.store());
        let store = store.map_err(|error| ApiError::internal(whole(&error)))?;
        let failed = |error| failure(&body.image, &error);
        let image = store.resolve(&body.image).map_err(failed)?;
        // Until the container itself keeps the layers from being removed.
        let _layers = store.hold(&image).map_err(failed)?;
        let config = self.config(name, body, &image)?;
        policy::check(&config).map_err(invalid)?;
        let made = self.records.create(config);
        let made = made.map_err(|error| match self.check_free(name) {
            // Somebody was as quick.
            Err(taken) if !name.is_empty() => taken,
            _ => error.into(),
        })?;
        journal::note(&self.directories().data, &made.config, "create", &[]);
        Ok(made.config.id)
    }

    fn check_free(&self, name: &str) -> Result<(), ApiError> {
        match self.find(name) {
            Ok(other) if other.name() == name => Err(in_use(name, other.id())),
            _ => Ok(()),
        }
    }

    fn config(&self, name: &str, body: &Body, image: &Image) -> Result<Config, ApiError> {
        let wanted = &body.host_config;
        let isolation = match wanted.isolation.as_str() {
            "namespace" => Isolation::Namespace,
            _ => Isolation::Vm,
        };
        let host = self.host(body)?;
        if isolation == Isolation::Namespace {
            security::without_machine(body)?;
        }
        if image.layers.len() > MAX_LAYERS {
            return Err(ApiError::invalid(format!(
                "the image has {} layers; the maximum is {MAX_LAYERS}",
                image.layers.len()
            )));
        }
        let (mode, shared) = network::resolve(body, host.as_deref(), &self.records)?;
        let (disk, memory) = storage(wanted, host.is_some())?;
        let id = identifier()?;
        let mut request = Request {
            disk: disk.is_some(),
            upper_memory: memory,
            user_namespace: match wanted.userns_mode.as_str() {
                "" => isolation == Isolation::Namespace,
                mode => mode == "private",
            },
            ..request(body)?
        };
        network::find_gateway(&mut request.hosts, &mode)?;
        if let Some(other) = shared {
            request.hostname = Some(other.config.spec.hostname);
        }
        let trees = vec![None; image.layers.len()];
        let spec = request.spec(&id, &image.config, &trees, Stdio::default());
        let mut spec = spec.map_err(invalid)?;
        if isolation == Isolation::Namespace {
            spec.masked_paths.extend(host::namespace::masked_paths());
        }
        let layers = image.layers.iter();
        Ok(Config {
            version: container::VERSION,
            id,
            name: name.into(),
            created: clock::wall(),
            image: body.image.clone(),
            image_id: image.id.to_string(),
            layers: layers
                .map(|layer| (layer.path.clone(), layer.size))
                .collect(),
            labels: labels(body, image),
            interactive: body.open_stdin,
            input_once: body.stdin_once,
            remove: wanted.auto_remove,
            log: policies::log(wanted)?,
            restart: policies::restart(wanted)?,
            stop_signal: stop_signal(body, image)?,
            stop_timeout: match body.stop_timeout.or(image.config.stop_timeout) {
                None => STOP_TIMEOUT,
                // As docker: less than nothing is for ever.
                Some(seconds) => u64::try_from(seconds).unwrap_or(u64::MAX),
            },
            timeout: None,
            memory: limits::memory(wanted)?,
            cpu: limits::cpu(wanted)?,
            disk,
            kernel: None,
            machine: MachineMode::Auto,
            host,
            isolation,
            network: mode,
            aliases: network::aliases(body),
            health: policies::health(body, image)?,
            spec,
        })
    }

    /// The ID of the host that a label names.
    fn host(&self, body: &Body) -> Result<Option<String>, ApiError> {
        let Some(name) = body.labels.get(HOST_LABEL) else {
            return Ok(None);
        };
        match Hosts::new(self.directories()).find(name) {
            Ok(host) => Ok(Some(host.config.id)),
            // Not 404, by which docker's command would pull the image.
            Err(error) => Err(invalid(error)),
        }
    }
}

fn invalid(error: anyhow::Error) -> ApiError {
    ApiError::invalid(format!("{error:#}"))
}

/// The image's labels, then the client's.
fn labels(body: &Body, image: &Image) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = image.config.labels.clone().into_iter().collect();
    labels.extend(body.labels.clone());
    labels
}

fn stop_signal(body: &Body, image: &Image) -> Result<u8, ApiError> {
    let given = body.stop_signal.as_ref().filter(|name| !name.is_empty());
    let of_image = image
        .config
        .stop_signal
        .as_ref()
        .filter(|name| !name.is_empty());
    match given.or(of_image) {
        None => Ok(STOP_SIGNAL),
        Some(name) => {
            signal::parse(name).ok_or_else(|| ApiError::invalid(format!("invalid signal: {name}")))
        }
    }
}

/// Entry point and command as the engine takes them: what follows an entry point's first word is its
/// command's beginning.
fn command_line(body: &Body) -> (Option<String>, Vec<String>) {
    let command = body.cmd.clone().map(Command::words).unwrap_or_default();
    let entrypoint = body.entrypoint.clone().map(Command::words);
    match entrypoint.as_deref() {
        None | Some([]) => (None, command),
        Some([first, rest @ ..]) => {
            let rest = rest.iter().cloned();
            (Some(first.clone()), rest.chain(command).collect())
        }
    }
}

fn request(body: &Body) -> Result<Request, ApiError> {
    let wanted = &body.host_config;
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (entrypoint, command) = command_line(body);
    for entry in &body.env {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return Err(ApiError::invalid(format!(
                "invalid environment variable: {entry}"
            )));
        }
    }
    let terminal = match *wanted.console_size {
        [rows, columns] if rows > 0 && columns > 0 => TerminalSize { rows, columns },
        _ => SIZE,
    };
    Ok(Request {
        command,
        entrypoint,
        env: body.env.clone(),
        workdir: some(&body.working_dir),
        user: some(&body.user),
        groups: wanted.group_add.clone(),
        hostname: some(&body.hostname),
        terminal: body.tty.then_some(terminal),
        disk: false,
        upper_memory: None,
        read_only: wanted.readonly_rootfs,
        tmpfs: limits::tmpfs(wanted)?,
        capabilities: security::capabilities(wanted)?,
        rlimits: limits::rlimits(wanted)?,
        sysctls: limits::sysctls(wanted)?,
        hosts: network::extra_hosts(wanted)?,
        pids: wanted
            .pids_limit
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|limit| *limit > 0),
        cpu: limits::cpu(wanted)?,
        memory: limits::memory(wanted)?,
        // As docker, 0 is the default; to tmpfs it would be no limit.
        shm_size: u64::try_from(wanted.shm_size)
            .ok()
            .filter(|bytes| *bytes > 0)
            .or(Some(SHM_SIZE)),
        init: wanted.init.unwrap_or(false),
        user_namespace: false,
        shares: Shares {
            processes: wanted.pid_mode == "host",
            ipc: wanted.ipc_mode == "host",
            control_groups: wanted.cgroupns_mode == "host",
        },
        privileged: wanted.privileged,
        no_new_privileges: security::no_new_privileges(wanted)?,
        seccomp_unconfined: security::seccomp_unconfined(wanted)?,
    })
}

/// Bytes of the disk for what the container writes, if it has one, and of memory, if that is limited.
fn storage(wanted: &HostConfig, in_host: bool) -> Result<(Option<u64>, Option<u64>), ApiError> {
    let (mut size, mut memory) = (None, None);
    for (name, value) in &wanted.storage_opt {
        let bytes = limits::bytes(value)
            .ok_or_else(|| ApiError::invalid(format!("invalid size: '{value}'")))?;
        match name.as_str() {
            "size" => size = Some(disk::size(bytes).map_err(invalid)?),
            "memory" if bytes > 0 => memory = Some(bytes),
            _ => {
                return Err(ApiError::invalid(format!(
                    "unknown storage option {name:?}: only size and memory are supported"
                )));
            }
        }
    }
    if size.is_some() && (memory.is_some() || in_host) {
        return Err(ApiError::invalid(
            "--storage-opt size is for a container with a host of its own, and not beside memory",
        ));
    }
    Ok((size, memory))
}
