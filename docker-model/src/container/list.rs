//! `GET /containers/json`, of which `docker ps` makes its table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Container, Endpoint, Life, MountPoint, Network, PortBinding, Size, Status, network};
use crate::{age, time::SECOND};

/// What a list needs of a container: less than [`Container`], so that it can be kept in one small file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a slash.
    pub name: String,
    /// Nanoseconds since 1970.
    pub created: u64,
    /// The image as it was written.
    pub image: String,
    /// The image's ID.
    pub image_id: String,
    /// The command line that runs.
    pub args: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What became of it.
    pub life: Life,
    /// `bridge`, `host`, `none`, `container:ID` or a network's name.
    pub network_mode: String,
    /// The networks that it is in. In boxes: a map makes room for eleven at once, in each of a list's containers.
    pub networks: BTreeMap<String, Box<Network>>,
    /// Its ports, `null` where they are not published.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// What is mounted in it.
    pub mounts: Vec<MountPoint>,
    /// Bytes that it wrote, where they were asked for.
    pub size: Option<Size>,
}

impl From<&Container> for Summary {
    fn from(container: &Container) -> Self {
        Self {
            id: container.id.clone(),
            name: container.name.clone(),
            created: container.created,
            image: container.config.image.clone(),
            image_id: container.image_id.clone(),
            args: container.args.clone(),
            labels: container.config.labels.clone().unwrap_or_default(),
            life: container.life.clone(),
            network_mode: container.host_config.network_mode.clone(),
            networks: (container.networks.iter())
                .map(|(name, network)| (name.clone(), Box::new(network.clone())))
                .collect(),
            ports: match container.life.status.is_live() {
                true => network::ports(&container.config, &container.published),
                false => BTreeMap::new(),
            },
            mounts: container.mounts.clone(),
            size: container.size,
        }
    }
}

/// A row of docker's list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its names, with a slash.
    pub names: Vec<String>,
    /// The image as it was written.
    pub image: String,
    /// The image's ID.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// The command line that runs.
    pub command: String,
    /// Seconds since 1970.
    pub created: u64,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Bytes that it wrote, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    /// That and its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Docker's word for where it is.
    pub state: &'static str,
    /// The same for people.
    pub status: String,
    /// What was asked for of the machine.
    pub host_config: HostConfig,
    /// Where it can be reached.
    pub network_settings: NetworkSettings,
    /// What is mounted in it.
    pub mounts: Vec<MountPoint>,
}

/// What a list says of what was asked for of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// As in `inspect`.
    pub network_mode: String,
}

/// What a list says of networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// As in `inspect`.
    pub networks: BTreeMap<String, Endpoint>,
}

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Address of this machine; left out where it is not published.
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The container's port.
    #[serde(rename = "PrivatePort")]
    pub private_port: u16,
    /// This machine's port; left out where it is not published.
    #[serde(rename = "PublicPort", skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub kind: String,
}

/// Docker's row of a container; `now` is in nanoseconds since 1970.
#[must_use]
pub fn list(summary: &Summary, now: u64) -> Listed {
    let live = summary.life.status.is_live();
    let networks = summary.networks.iter();
    Listed {
        id: summary.id.clone(),
        names: vec![format!("/{}", summary.name)],
        image: summary.image.clone(),
        image_id: summary.image_id.clone(),
        command: command_line(&summary.args),
        created: summary.created / SECOND,
        ports: ports(&summary.ports),
        size_rw: summary.size.and_then(|size| size.written),
        size_root_fs: summary.size.map(|size| size.root),
        labels: summary.labels.clone(),
        state: summary.life.status.word(),
        status: status(&summary.life, now),
        host_config: HostConfig {
            network_mode: summary.network_mode.clone(),
        },
        network_settings: NetworkSettings {
            networks: networks
                .map(|(name, network)| (name.clone(), Endpoint::of(network, &summary.id, live)))
                .collect(),
        },
        mounts: summary.mounts.clone(),
    }
}

/// A command line as docker's lists show it: arguments with a space are between apostrophes, and nothing is escaped.
#[must_use]
pub fn command_line(args: &[String]) -> String {
    let Some((path, args)) = args.split_first() else {
        return String::new();
    };
    let mut line = path.clone();
    for argument in args {
        line.push(' ');
        match argument.contains(' ') {
            true => line.extend(["'", argument, "'"]),
            false => line.push_str(argument),
        }
    }
    line
}

/// A container's status in docker's words for people.
#[must_use]
pub fn status(life: &Life, now: u64) -> String {
    match life.status {
        Status::Created => "Created".into(),
        Status::Running => {
            let health = match life.health.as_ref().map(|health| health.status) {
                None => String::new(),
                Some("starting") => " (health: starting)".into(),
                Some(word) => format!(" ({word})"),
            };
            format!("Up {}{health}", age::since(life.started, now))
        }
        Status::Paused => format!("Up {} (Paused)", age::since(life.started, now)),
        Status::Restarting => {
            format!(
                "Restarting ({}) {}",
                life.exit_code,
                age::ago(life.finished, now)
            )
        }
        Status::Removing => "Removal In Progress".into(),
        Status::Dead => "Dead".into(),
        Status::Exited => format!(
            "Exited ({}) {}",
            life.exit_code,
            age::ago(life.finished, now)
        ),
    }
}

/// A container's ports in docker's words for people: `53/udp, 80-81/tcp, 0.0.0.0:8080->80/tcp`. Ports that follow one
/// another are one range, where they are published under their own numbers or not at all; others come last.
#[must_use]
pub fn ports_text(all: &BTreeMap<String, Option<Vec<PortBinding>>>) -> String {
    let mut rows = ports(all);
    let key = |port: &Port| {
        (
            port.private_port,
            port.ip.clone(),
            port.public_port,
            port.kind.clone(),
        )
    };
    rows.sort_by_key(key);
    let (mut done, mut ranges, mut moved) = (Vec::new(), Vec::<Range>::new(), Vec::new());
    for port in rows {
        let number = port.private_port;
        if port.public_port.is_some_and(|public| public != number) {
            let address = address(&port.ip, &port.public_port.unwrap_or(0).to_string());
            moved.push(format!("{address}->{number}/{}", port.kind));
            continue;
        }
        let same = ranges
            .iter_mut()
            .find(|range| range.ip == port.ip && range.kind == port.kind);
        match same {
            Some(range) if range.last.checked_add(1) == Some(number) => range.last = number,
            Some(range) => {
                done.push(range.text());
                (range.first, range.last) = (number, number);
            }
            None => ranges.push(Range {
                ip: port.ip,
                kind: port.kind,
                first: number,
                last: number,
            }),
        }
    }
    done.extend(ranges.iter().map(Range::text));
    done.extend(moved);
    done.join(", ")
}

/// Ports of one kind that follow one another, with the address that they are published at.
struct Range {
    ip: String,
    kind: String,
    first: u16,
    last: u16,
}

impl Range {
    fn text(&self) -> String {
        let Self {
            ip,
            kind,
            first,
            last,
        } = self;
        let numbers = match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        match ip.is_empty() {
            true => format!("{numbers}/{kind}"),
            false => format!("{}->{numbers}/{kind}", address(ip, &numbers)),
        }
    }
}

/// An address and what stands behind it; one of IPv6 is in brackets.
fn address(ip: &str, numbers: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]:{numbers}"),
        false => format!("{ip}:{numbers}"),
    }
}

/// One for each address that a port is published at, and for each that is only exposed.
fn ports(all: &BTreeMap<String, Option<Vec<PortBinding>>>) -> Vec<Port> {
    let mut rows = Vec::new();
    for (port, bindings) in all {
        let (number, kind) = port.split_once('/').unwrap_or((port, "tcp"));
        let Ok(private_port) = number.parse() else {
            continue;
        };
        let row = |ip: &str, public_port| Port {
            ip: ip.into(),
            private_port,
            public_port,
            kind: kind.into(),
        };
        match bindings.as_deref().unwrap_or_default() {
            [] => rows.push(row("", None)),
            bindings => rows.extend(
                bindings
                    .iter()
                    .map(|binding| row(&binding.host_ip, binding.host_port.parse().ok())),
            ),
        }
    }
    rows
}
