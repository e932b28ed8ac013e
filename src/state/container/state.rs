//! What became of a container.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Config, VERSION};

/// Where a container is in its life, in docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
}

impl Status {
    /// A keeper looks after it.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Docker's word.
    pub(crate) fn word(self) -> &'static str {
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
pub(crate) enum Wellness {
    Starting,
    Healthy,
    Unhealthy,
}

impl Wellness {
    /// Docker's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// [`VERSION`].
    pub(crate) version: u32,
    pub(crate) status: Status,
    /// The process that looks after it, and the socket by which it is reached.
    pub(crate) keeper: u32,
    pub(crate) socket: PathBuf,
    /// Version of what that process understands (`keeper::wire`).
    #[serde(default)]
    pub(crate) wire: u16,
    /// Number of its first process in the guest.
    pub(crate) pid: u32,
    /// Its address on the bridge of its host, while it is up.
    #[serde(default)]
    pub(crate) address: Option<[u8; 4]>,
    /// Nanoseconds since 1970; 0 for never.
    pub(crate) started: u64,
    pub(crate) finished: u64,
    pub(crate) exit_code: i32,
    pub(crate) oom: bool,
    /// Why it could not be started, or why its end is not known.
    pub(crate) error: String,
    /// How often it was started again by its policy.
    pub(crate) restarts: u32,
    /// A person stopped it.
    pub(crate) stopped: bool,
    pub(crate) health: Option<Wellness>,
    /// Failures of its health command in a row.
    pub(crate) failing: u32,
    /// What stands around its monitor, in words; empty where it has none of its own.
    #[serde(default)]
    pub(crate) jail: String,
    pub(crate) shown: Shown,
}

/// What lists show of a container's [`Config`], so that they read one small file of each. It never
/// changes, as what it is taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) host: Option<String>,
    pub(crate) command: Vec<String>,
    pub(crate) network: String,
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
        }
    }
}

impl State {
    /// That of a container that was never started.
    pub(crate) fn new(shown: Shown) -> Self {
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
