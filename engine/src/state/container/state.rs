//! What became of a container.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Config, VERSION};

/// Where a container is in its life, in docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was never started.
    Created,
    /// Its first process runs, or is about to.
    Running,
    /// Its processes are stopped.
    Paused,
    /// It ended, and is started again soon.
    Restarting,
    /// It ended.
    Exited,
}

impl Status {
    /// A keeper looks after it.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }
}

/// Whether it is well, in docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wellness {
    /// It was not found well yet, and failures do not count.
    Starting,
    /// The last run was good.
    Healthy,
    /// As many runs in a row failed as it may.
    Unhealthy,
}

impl Wellness {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// Where it is in its life.
    pub status: Status,
    /// The process that looks after it, and the socket by which it is reached.
    pub keeper: u32,
    /// The socket of its keeper.
    pub socket: PathBuf,
    /// Version of what that process understands ([`contracts::keeper`]).
    #[serde(default)]
    pub wire: u16,
    /// Number of its first process in the guest.
    pub pid: u32,
    /// Its address on the bridge of its host, while it is up.
    #[serde(default)]
    pub address: Option<[u8; 4]>,
    /// Nanoseconds since 1970; 0 for never.
    pub started: u64,
    /// When it ended last, in nanoseconds since 1970; 0 for never.
    pub finished: u64,
    /// The exit code, as docker gives it.
    pub exit_code: i32,
    /// The kernel killed one of its processes for its memory limit.
    pub oom: bool,
    /// Why it could not be started, or why its end is not known.
    pub error: String,
    /// How often it was started again by its policy.
    pub restarts: u32,
    /// A person stopped it.
    pub stopped: bool,
    /// What its health command said.
    pub health: Option<Wellness>,
    /// Failures of its health command in a row.
    pub failing: u32,
    /// What stands around its monitor, in words; empty where it has none of its own.
    #[serde(default)]
    pub jail: String,
    /// What a list shows of its record.
    pub shown: Shown,
}

/// What lists show of a container's [`Config`], so that they read one small file of each. It never
/// changes, as what it is taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made, in nanoseconds since 1970.
    pub created: u64,
    /// The image as it was named.
    pub image: String,
    /// The image's ID.
    pub image_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// ID of its named host.
    pub host: Option<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Docker's name of its network.
    pub network: String,
    /// Ports that it or its image exposes: `80/tcp`. Records of earlier releases do not have them here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
}

impl From<&Config> for Shown {
    fn from(config: &Config) -> Self {
        Self {
            id: config.id.clone(),
            created: config.created,
            image: config.image.clone(),
            image_id: config.image_id.clone(),
            labels: config.labels.clone(),
            host: config.host.clone(),
            command: config.spec.process.args.clone(),
            network: config.network.network().unwrap_or_default().into(),
            exposed: config.exposed_ports(),
        }
    }
}

impl State {
    /// That of a container that was never started.
    pub fn new(shown: Shown) -> Self {
        Self {
            version: VERSION,
            status: Status::Created,
            keeper: 0,
            socket: PathBuf::new(),
            wire: 0,
            pid: 0,
            address: None,
            started: 0,
            finished: 0,
            exit_code: 0,
            oom: false,
            error: String::new(),
            restarts: 0,
            stopped: false,
            health: None,
            failing: 0,
            jail: String::new(),
            shown,
        }
    }
}
