//! The record of a container: what was asked for, and what came of that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::PathBuf,
};

use anyhow::{Result, anyhow};
use contracts::guest::is_name;
use images::image::ContainerConfig;
use serde::{Deserialize, Serialize};

use super::{super::network, CreateRequest, short, spec::Spec};
use crate::state::MachineMode;
use crate::state::journal::{Noted, Subject};

/// What a container is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// [`VERSION`](super::VERSION).
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, which is no other container's.
    pub name: String,
    /// Nanoseconds since 1970.
    pub created: u64,
    /// The image as it was named.
    pub image: String,
    /// The image's identifier.
    pub image_id: String,
    /// Files and sizes of its layers.
    pub layers: Vec<(PathBuf, u64)>,
    /// Labels of its image and its own.
    pub labels: BTreeMap<String, String>,
    /// Standard input is kept open.
    pub interactive: bool,
    /// Standard input ends with the first client that is attached to it.
    pub input_once: bool,
    /// It is removed when it ends.
    pub remove: bool,
    /// Its output is logged.
    pub log: LogPolicy,
    /// When it is started again.
    pub restart: Restart,
    /// Signal that asks it to stop.
    pub stop_signal: u8,
    /// Seconds that it may then take.
    pub stop_timeout: u64,
    /// Seconds that it may run.
    pub timeout: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Processors, in thousandths.
    pub cpu: Option<u64>,
    /// Most bytes of what it writes, where that goes to a disk: the size of its own, or its part of its named host's
    /// (which records of earlier releases leave to the host). Without, it is in its guest's memory.
    #[serde(default)]
    pub disk: Option<u64>,
    /// A kernel of the user's.
    pub kernel: Option<PathBuf>,
    /// When a software host is used.
    pub machine: MachineMode,
    /// Identifier of the named host that it belongs to; without one it has a host of its own.
    #[serde(default)]
    pub host: Option<String>,
    /// What holds it.
    #[serde(default)]
    pub isolation: Isolation,
    /// How it reaches others.
    #[serde(default)]
    pub network: network::Mode,
    /// Names that neighbours know it by beside its own.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Command that tells whether it is well.
    pub health: Option<Health>,
    /// What it is to its guest: its image's configuration merged with what was asked for.
    pub spec: Spec,
    /// What it was made of; records of releases that did not keep it have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Box<Asked>>,
}

/// What a container was made of: the same request and an image that says the same make the same container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// What was asked for, merged with nothing.
    pub request: CreateRequest,
    /// What its image said.
    #[serde(default)]
    pub image: ContainerConfig,
}

impl Config {
    /// Size of the disk that is its own, if it has one.
    #[must_use]
    pub fn own_disk(&self) -> Option<u64> {
        self.disk.filter(|_| self.host.is_none())
    }

    /// Keeps the layers in the image store for as long as the files are open.
    ///
    /// # Errors
    /// When one is not there.
    pub fn hold_layers(&self) -> Result<Vec<File>> {
        let hold = |(path, _): &(PathBuf, u64)| {
            let file = File::open(path)?;
            file.lock_shared()?;
            Ok(file)
        };
        let held = self.layers.iter().map(|layer| {
            hold(layer).map_err(|error: io::Error| {
                anyhow!(
                    "layer {} of image {} is missing ({error}); load or pull the image again",
                    layer.0.display(),
                    self.image
                )
            })
        });
        held.collect()
    }

    /// Ports that it or its image exposes, each once: `80/tcp`.
    pub fn exposed_ports(&self) -> Vec<String> {
        let Some(asked) = &self.asked else {
            return Vec::new();
        };
        let own = asked.request.exposed_ports.iter();
        let all: BTreeSet<&String> = own.chain(asked.image.exposed_ports.keys()).collect();
        all.into_iter().cloned().collect()
    }

    /// Docker's words for who wants something of a container that restarts.
    pub fn is_restarting(&self) -> String {
        format!(
            "container {} is restarting, wait until the container is running",
            self.name
        )
    }

    /// The names that neighbours know the container by, its host name first: each once, and only what
    /// can be one.
    pub fn names(&self) -> Vec<String> {
        let own = [&*self.spec.hostname, &*self.name, short(&self.id)];
        let all = own
            .into_iter()
            .chain(self.aliases.iter().map(|alias| &**alias));
        let mut names: Vec<String> = Vec::new();
        for name in all.filter(|name| is_name(name)) {
            if !names.iter().any(|known| known == name) {
                names.push(name.into());
            }
        }
        names
    }
}

impl Noted for Config {
    fn subject(&self) -> Subject<'_> {
        Subject {
            kind: "container",
            id: &self.id,
            name: &self.name,
            image: Some(&self.image),
            labels: &self.labels,
        }
    }
}

/// What keeps a container apart from this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A microVM
    #[default]
    Vm,
    /// Namespaces and control groups on this machine's kernel, as root; never unless asked for
    Namespace,
}

/// What happens to output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogPolicy {
    /// Nothing is kept.
    None,
    /// Two files of up to this many bytes.
    Local(u64),
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Never.
    No,
    /// After an exit code other than 0, at most so often; 0 is any number.
    OnFailure(u32),
    /// Always, and when the system starts.
    Always,
    /// Always, and when the system starts unless it was stopped by a person.
    UnlessStopped,
}

/// A command that is run in the container now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Nanoseconds between two runs.
    pub interval: u64,
    /// Nanoseconds that one run may take.
    pub timeout: u64,
    /// Nanoseconds after the start in which failures do not count.
    pub start_period: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}
