//! Flags become a request, and that a container.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;

use coracle_engine::{
    Engine,
    containers::{
        Container, CreateRequest, Healthcheck, HostConfig, LogConfig, RemoveOptions,
        values::FOREVER,
    },
    progress::Progress,
};

use super::{Flags, values::Namespace};
use crate::cli::{env_file, options};

/// What a command does with the container that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum How {
    /// It stays attached to it.
    Attached,
    /// It leaves it alone.
    Detached,
}

impl Flags {
    /// What they ask for.
    ///
    /// # Errors
    /// When a file that they name cannot be read, or this environment has something that is no text.
    pub(in crate::cli) fn request(&self, how: How) -> Result<CreateRequest> {
        let Some((image, command)) = self.image_and_command.split_first() else {
            bail!("no image specified");
        };
        let attached = how == How::Attached;
        // The monitor has another working directory where it runs in a software host.
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
        };
        let platform = self.image.platform.as_ref();
        let mut request = CreateRequest {
            name: self.name.clone().unwrap_or_default(),
            image: image.clone(),
            pull: self.pull.into(),
            platform: platform.map(ToString::to_string),
            tls_verify: self.image.tls_verify,
            entrypoint: self.entrypoint.clone().map(|program| vec![program]),
            cmd: Some(command.to_vec()).filter(|command| !command.is_empty()),
            env: self.environment()?,
            user: self.user.clone().unwrap_or_default(),
            working_dir: self.workdir.clone().unwrap_or_default(),
            hostname: self.hostname.clone().unwrap_or_default(),
            labels: self.labels(),
            tty: self.tty,
            open_stdin: self.interactive,
            stdin_once: self.interactive && attached,
            attach_stdin: self.interactive && attached,
            attach_stdout: attached,
            attach_stderr: attached,
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout.map(|seconds| match seconds.0 {
                FOREVER => -1,
                seconds => i64::try_from(seconds).unwrap_or(-1),
            }),
            healthcheck: self.health(),
            host_config: self.host_config(),
            host: self.host.clone(),
            isolation: self.isolation,
            kernel: self.kernel.as_ref().map(absolute).transpose()?,
            machine: self.machine,
            verify: self.verify,
            timeout: self.timeout.0,
            ..CreateRequest::default()
        };
        request.add_aliases(self.network_alias.iter().cloned());
        Ok(request)
    }

    fn host_config(&self) -> HostConfig {
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let word = |mode: Namespace| mode.word().to_owned();
        let mut config = HostConfig {
            binds: list(&self.volume),
            network_mode: match self.network.as_deref() {
                // Whoever names it wants it, where it is not usual either.
                Some("default") => "bridge".into(),
                given => given.unwrap_or_default().into(),
            },
            extra_hosts: list(&self.add_host),
            restart_policy: self.restart.clone(),
            auto_remove: self.rm,
            log_config: LogConfig {
                kind: self.log_driver.word().into(),
                config: self.log_opt.iter().cloned().collect(),
            },
            console_size: console_size(self.tty),
            cap_add: list(&self.cap_add),
            cap_drop: list(&self.cap_drop),
            security_opt: list(&self.security_opt),
            group_add: list(&self.group_add),
            privileged: self.privileged,
            pid_mode: word(self.pid),
            ipc_mode: word(self.ipc),
            cgroupns_mode: word(self.cgroupns),
            userns_mode: match self.userns {
                Some(Namespace::Private) => "private".into(),
                Some(Namespace::Host) => "host".into(),
                None => String::new(),
            },
            readonly_rootfs: self.read_only,
            init: self.init.then_some(true),
            tmpfs: self.tmpfs.iter().cloned().collect(),
            sysctls: self.sysctl.iter().cloned().collect(),
            storage_opt: self.storage_opt.iter().cloned().collect(),
            ulimits: (!self.ulimit.is_empty()).then(|| self.ulimit.clone()),
            shm_size: bytes(self.shm_size.0),
            memory: bytes(self.memory.and_then(|memory| memory.0).unwrap_or(0)),
            nano_cpus: self
                .cpus
                .map_or(0, |cpus| bytes(cpus.thousandths.get() * 1_000_000)),
            pids_limit: self.pids_limit,
            ..HostConfig::default()
        };
        for (port, binding) in self.publish.iter().map(|text| options::publish(text)) {
            config.port_bindings.entry(port).or_default().push(binding);
        }
        config
    }

    fn labels(&self) -> std::collections::BTreeMap<String, String> {
        let pairs = self.label.iter();
        let pairs = pairs.map(|label| label.split_once('=').unwrap_or((label, "")));
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// What is asked of a health check; nothing where all is the image's.
    fn health(&self) -> Option<Healthcheck> {
        let nanoseconds = |span: Option<u64>| i64::try_from(span.unwrap_or(0)).unwrap_or(i64::MAX);
        let check = Healthcheck {
            test: match (&self.health_cmd, self.no_healthcheck) {
                (_, true) => vec!["NONE".into()],
                (Some(command), false) => vec!["CMD-SHELL".into(), command.clone()],
                (None, false) => Vec::new(),
            },
            interval: nanoseconds(self.health_interval),
            timeout: nanoseconds(self.health_timeout),
            start_period: nanoseconds(self.health_start_period),
            start_interval: 0,
            retries: self.health_retries.unwrap_or(0).into(),
        };
        (check != Healthcheck::default()).then_some(check)
    }

    /// Variables of the files, then those of the command line.
    fn environment(&self) -> Result<Vec<String>> {
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(env_file::read(file)?);
        }
        env.extend(environment(&self.env)?);
        Ok(env)
    }
}

/// Variables that flags `--env` give, or pass on from this environment.
///
/// # Errors
/// When one has no name, or its value here is no text.
pub(in crate::cli) fn environment(flags: &[String]) -> Result<Vec<String>> {
    let read = |entry: &String| {
        options::environment(entry)
            .map_err(anyhow::Error::msg)
            .context("--env")
    };
    flags.iter().map(read).collect()
}

/// Rows and columns of this terminal, for a container that has one.
pub(in crate::cli) fn console_size(tty: bool) -> [u16; 2] {
    if !tty {
        return [0; 2];
    }
    let size = coracle_terminal::raw::size();
    [size.rows, size.columns]
}

/// Makes a container, and writes its ID into a file that must not exist.
///
/// # Errors
/// When it cannot be made, or the file cannot.
pub(in crate::cli) fn create(
    engine: &Engine,
    request: &CreateRequest,
    cidfile: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Container> {
    let Some(path) = cidfile else {
        return Ok(engine.containers().create(request, progress)?);
    };
    let cannot = || format!("cannot create {}", path.display());
    // Made when the container is there, so that nothing is left of a pull that was interrupted.
    if path.symlink_metadata().is_ok() {
        return Err(io::Error::from(Errno::EXIST)).with_context(cannot);
    }
    let container = engine.containers().create(request, progress)?;
    let written = File::create_new(path)
        .with_context(cannot)
        .and_then(|mut file| {
            let written = file.write_all(container.id().as_bytes());
            written.context("cannot write the container ID")
        });
    if written.is_err() {
        // Nobody would know of it.
        container.remove(RemoveOptions::default())?;
    }
    written.map(|()| container)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Mutex};

    use coracle_engine::{Settings, containers::PullPolicy, progress::Report, state::Directories};

    use super::*;

    /// As a pull that is interrupted by a signal, after which nothing is tidied up.
    #[test]
    fn file_of_an_id_is_not_there_before_its_container_and_refuses_the_pull_when_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(Settings::new(Directories {
            data: directory.path().join("data"),
            cache: directory.path().join("cache"),
            runtime: directory.path().join("run"),
        }));
        let engine = engine.unwrap();
        let path = directory.path().join("id");
        let request = CreateRequest {
            // Nobody listens there.
            image: "127.0.0.1:1/none".into(),
            pull: PullPolicy::Missing,
            ..CreateRequest::default()
        };
        let during = Mutex::new(Vec::new());
        let told = |report: Report<'_>| {
            if let Report::Missing(_) | Report::Pulling(_) = report {
                during.lock().unwrap().push(path.exists());
            }
        };
        let refused = || create(&engine, &request, Some(&path), &told).unwrap_err();
        let _ = refused();
        let seen = std::mem::take(&mut *during.lock().unwrap());
        assert!(!seen.is_empty() && seen.iter().all(|exists| !exists));
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        let words = format!("{:#}", refused());
        assert!(
            words.contains("cannot create") && words.contains("exists"),
            "{words}"
        );
        assert!(during.lock().unwrap().is_empty());
    }
}
