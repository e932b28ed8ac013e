//! `coracle inspect`.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use clap::ValueEnum;
use images::store::{Store, StoreError};
use serde_json::{Value, json};

use super::format::Format;
use coracle_engine::state::{
    Directories, NotFound,
    container::{Config, Container, Containers, LogPolicy, Restart, State, Status},
    host::Hosts,
    network::{GATEWAY, Mode, PREFIX},
};
use coracle_platform::clock;
use coracle_terminal::output;

/// Return low-level information on containers and images, as JSON
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Names or IDs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Only look up objects of this type
    #[arg(long, value_name = "KIND")]
    r#type: Option<Kind>,
    /// Format output as json, or by a Go template such as '{{.State.Status}}'
    #[arg(short, long)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
}

/// Prints a list of those that there are; 1 when one is missing.
pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let directories = Directories::from_environment()?;
    let store = Store::open(&directories.data)?;
    let containers = Containers::new(&directories);
    let hosts = Hosts::new(&directories);
    print(&arguments.names, arguments.format.as_ref(), |name| {
        one(name, arguments.r#type, &store, &containers, &hosts)
    })
}

/// Prints a list of what is known of those that there are; 1 when one is missing, which is told.
pub(super) fn print(
    names: &[String],
    format: Option<&Format>,
    mut describe: impl FnMut(&str) -> Result<Value>,
) -> Result<u8> {
    let mut found = Vec::new();
    let code = super::each(names, |name| {
        found.push(describe(name)?);
        Ok(())
    })?;
    match format {
        Some(format) => format.print_texts(&found)?,
        None => output::json_pretty(&found)?,
    }
    Ok(code)
}

fn one(
    name: &str,
    kind: Option<Kind>,
    store: &Store,
    containers: &Containers,
    hosts: &Hosts,
) -> Result<Value> {
    if kind != Some(Kind::Image) {
        match containers.find(name) {
            Ok(container) => return describe(&container, hosts),
            Err(error) if kind == Some(Kind::Container) || !error.is::<NotFound>() => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    match store.inspect(name) {
        Err(StoreError::NotFound { .. } | StoreError::Name { .. })
            if kind.is_none() && hosts.find(name).is_ok() =>
        {
            bail!(
                "no such container or image: {name}; it is a host: 'coracle host inspect {name}' shows it"
            )
        }
        found => Ok(found?),
    }
}

/// Docker's word for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container under docker's names.
fn describe(container: &Container, hosts: &Hosts) -> Result<Value> {
    let state = container.state()?;
    let config = &container.config;
    let process = &config.spec.process;
    let time = |wall: u64| match wall {
        0 => NEVER.into(),
        wall => clock::rfc3339(wall),
    };
    let (policy, most) = match config.restart {
        Restart::No => ("no", 0),
        Restart::OnFailure(most) => ("on-failure", most),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
    };
    let log = match config.log {
        LogPolicy::None => json!({"Type": "none", "Config": {}}),
        LogPolicy::Local(size) => {
            json!({"Type": "local", "Config": {"max-size": size.to_string(), "max-file": "2"}})
        }
    };
    let health = state
        .health
        .map(|health| json!({"Status": health.word(), "FailingStreak": state.failing}));
    // Its identifier where it was removed.
    let name = |id: &String| hosts.find(id).map_or(id.clone(), |host| host.config.name);
    let host = config.host.as_ref().map(name);
    let jail = match &config.host {
        Some(id) => hosts.find(id).and_then(|host| Ok(host.state()?.jail)),
        None => Ok(state.jail.clone()),
    };
    let jail = jail.unwrap_or_default();
    let resources = &config.spec.resources;
    let (path, arguments) = process
        .args
        .split_first()
        .map_or(("", &[][..]), |(a, b)| (a, b));
    let mut value = json!({
        "Id": config.id,
        "Created": clock::rfc3339(config.created),
        "Path": path,
        "Args": arguments,
        "State": {
            "Status": state.status.word(),
            "Running": state.status.is_live(),
            "Paused": state.status == Status::Paused,
            "Restarting": state.status == Status::Restarting,
            "OOMKilled": state.oom,
            "Dead": false,
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": time(state.started),
            "FinishedAt": time(state.finished),
        },
        "Image": config.image_id,
        "Name": format!("/{}", config.name),
        "RestartCount": state.restarts,
        "Driver": "erofs",
        "Platform": "linux",
        "LogPath": container.directory().join("log"),
        "HostConfig": {
            "AutoRemove": config.remove,
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": most},
            "LogConfig": log,
            "NetworkMode": config.network.word(),
            "Memory": config.memory.unwrap_or(0),
            "NanoCpus": config.cpu.unwrap_or(0) * 1_000_000,
            "PidsLimit": resources.pids,
            "ReadonlyRootfs": config.spec.root.read_only,
            "ShmSize": config.spec.shm_size,
            "StorageOpt": config.disk.map(|size| json!({"size": size.to_string()})),
            "Isolation": "vm",
        },
        "Mounts": [],
        "Config": {
            "Hostname": config.spec.hostname,
            "User": process.user,
            "AttachStdin": config.interactive,
            "Tty": process.terminal.is_some(),
            "OpenStdin": config.interactive,
            "StdinOnce": config.input_once,
            "Env": process.env,
            "Cmd": process.args,
            "Image": config.image,
            "WorkingDir": process.cwd,
            "Entrypoint": Value::Null,
            "Labels": config.labels,
            "StopSignal": config.stop_signal.to_string(),
            "StopTimeout": config.stop_timeout,
        },
        "NetworkSettings": network(config, &state),
        "Coracle": {
            "Host": host,
            "KeeperPid": if state.status.is_live() { state.keeper } else { 0 },
            // What stands around the monitor; nothing before the first start.
            "Jail": jail.split(", ").filter(|wall| !wall.is_empty()).collect::<Vec<_>>(),
        },
    });
    if let (Some(health), Some(Value::Object(state))) = (health, value.get_mut("State")) {
        state.insert("Health".into(), health);
    }
    Ok(value)
}

/// Where a container can be reached, as docker tells it: nowhere, unless it is up and on a bridge.
fn network(config: &Config, state: &State) -> Value {
    let address = state.address.filter(|_| state.status.is_live());
    let text = |address: Option<[u8; 4]>| {
        address.map_or_else(String::new, |address| Ipv4Addr::from(address).to_string())
    };
    let gateway = text(address.map(|_| GATEWAY));
    let hardware = address.map_or_else(String::new, |address| {
        coracle_protocol::hardware_of(address)
            .map(|byte| format!("{byte:02x}"))
            .join(":")
    });
    let prefix = if address.is_some() { PREFIX } else { 0 };
    let mut endpoint = json!({
        "Gateway": gateway,
        "IPAddress": text(address),
        "IPPrefixLen": prefix,
        "MacAddress": hardware,
    });
    let mut value = endpoint.clone();
    if let Value::Object(fields) = &mut endpoint {
        fields.insert("Aliases".into(), json!(config.aliases));
        let names = match config.network {
            Mode::Bridge => config.names(),
            _ => Vec::new(),
        };
        fields.insert("DNSNames".into(), json!(names));
    }
    if let Value::Object(fields) = &mut value {
        let networks = match config.network.network() {
            Some(name) => json!({ name: endpoint }),
            None => json!({}),
        };
        fields.insert("Networks".into(), networks);
        fields.insert("Ports".into(), json!({}));
    }
    value
}
