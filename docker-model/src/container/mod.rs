//! Containers: [`inspect()`] and [`list()`] make docker's answers from what is [known](Container) of one.

mod config;
mod filter;
mod host_config;
mod inspect;
mod list;
mod network;

pub use config::{Config, Healthcheck};
pub use filter::{FILTERS, Filter, Named, Seen};
pub use host_config::{
    Device, HostConfig, LogConfig, Mount, PortBinding, RestartPolicy, SHM_SIZE, Ulimit,
};
pub use inspect::{Coracle, DRIVER, GraphDriver, Health, HealthResult, Inspect, State, inspect};
pub use list::{Listed, Port, Summary, command_line, list, ports_text, status};
pub use network::{Address, Endpoint, IpamConfig, Network, NetworkSettings, id_of, ports};

use std::collections::BTreeMap;

use serde::Serialize;

/// What is known of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a slash.
    pub name: String,
    /// Nanoseconds since 1970.
    pub created: u64,
    /// The image's ID, `sha256:…`; the name that it was made with is in its configuration.
    pub image_id: String,
    /// The command line that runs.
    pub args: Vec<String>,
    /// What was asked for, together with the image's.
    pub config: Config,
    /// What was asked for of the machine.
    pub host_config: HostConfig,
    /// What became of it.
    pub life: Life,
    /// The networks that it is in.
    pub networks: BTreeMap<String, Network>,
    /// Where its ports can be reached while it is up: `80/tcp`. Exposed ports that are not published are added.
    pub published: BTreeMap<String, Vec<PortBinding>>,
    /// What is mounted in it.
    pub mounts: Vec<MountPoint>,
    /// Its log.
    pub log_path: String,
    /// Commands beside its own that run in it.
    pub exec_ids: Vec<String>,
    /// Bytes that it wrote, where they were asked for.
    pub size: Option<Size>,
    /// What only Coracle knows.
    pub coracle: Coracle,
}

/// What became of a container. Times in nanoseconds since 1970, 0 for never.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Life {
    /// Where it is.
    pub status: Status,
    /// Number of its first process.
    pub pid: u32,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// Why it could not be started.
    pub error: String,
    /// Memory lacked.
    pub oom_killed: bool,
    /// When it was started last.
    pub started: u64,
    /// When it ended last.
    pub finished: u64,
    /// How often its policy started it again.
    pub restarts: u32,
    /// What its health check says; nothing without one.
    pub health: Option<Health>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// It was never started.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It is stopped for a while.
    Paused,
    /// It is about to be started again.
    Restarting,
    /// It is being removed.
    Removing,
    /// It ended.
    Exited,
    /// It could not be removed.
    Dead,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Restarting,
        Self::Removing,
        Self::Exited,
        Self::Dead,
    ];

    /// Docker's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// The status of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Docker's `Running`, which one that is paused or restarts is as well.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// Bytes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// What it wrote, where that is known.
    pub written: Option<u64>,
    /// That and its image.
    pub root: u64,
}

/// What is mounted in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// A volume's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Driver of the volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Options as they were asked for.
    pub mode: String,
    /// It can be written.
    #[serde(rename = "RW")]
    pub writable: bool,
    /// Mount propagation.
    pub propagation: String,
}

#[cfg(test)]
mod tests;
