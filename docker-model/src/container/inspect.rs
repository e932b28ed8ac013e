//! `GET /containers/{id}/json`, which `docker inspect` shows as it is.

use serde::Serialize;

use super::{Config, Container, HostConfig, MountPoint, NetworkSettings, Status};
use crate::time::{rfc3339, rfc3339_or_never};

/// Docker's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339.
    pub created: String,
    /// First word of the command line.
    pub path: String,
    /// The others.
    pub args: Vec<String>,
    /// What became of it.
    pub state: State,
    /// The image's ID.
    pub image: String,
    /// Always empty here: the file is in the guest.
    pub resolv_conf_path: String,
    /// Always empty here.
    pub hostname_path: String,
    /// Always empty here.
    pub hosts_path: String,
    /// Its log.
    pub log_path: String,
    /// With a slash.
    pub name: String,
    /// How often its policy started it again.
    pub restart_count: u32,
    /// Where its layers are.
    pub driver: &'static str,
    /// Operating system.
    pub platform: &'static str,
    /// Of SELinux.
    pub mount_label: String,
    /// Of SELinux.
    pub process_label: String,
    /// Of AppArmor.
    pub app_armor_profile: String,
    /// Commands beside its own that run in it; `null` for none.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    /// What was asked for of the machine.
    pub host_config: HostConfig,
    /// Where its layers are.
    pub graph_driver: GraphDriver,
    /// Bytes that it wrote, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    /// That and its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    /// What is mounted in it.
    pub mounts: Vec<MountPoint>,
    /// What was asked for.
    pub config: Config,
    /// Where it can be reached.
    pub network_settings: NetworkSettings,
    /// What only Coracle knows.
    pub coracle: Coracle,
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// Docker's word.
    pub status: &'static str,
    /// It runs, is paused or restarts.
    pub running: bool,
    /// It is paused.
    pub paused: bool,
    /// It is about to be started again.
    pub restarting: bool,
    /// Memory lacked.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// It could not be removed.
    pub dead: bool,
    /// Number of its first process; 0 when it does not run.
    pub pid: u32,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// Why it could not be started.
    pub error: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub finished_at: String,
    /// Only with a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// What a health check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: &'static str,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last runs, oldest first.
    pub log: Vec<HealthResult>,
}

/// A run of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthResult {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 when it is well.
    pub exit_code: i32,
    /// What the command wrote.
    pub output: String,
}

/// Where layers are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// Texts by name; none here.
    pub data: Option<std::collections::BTreeMap<String, String>>,
    /// Driver.
    pub name: &'static str,
}

/// What keeps layers, in docker's `Driver`.
pub const DRIVER: &str = "erofs";

impl Default for GraphDriver {
    fn default() -> Self {
        Self {
            data: None,
            name: DRIVER,
        }
    }
}

/// What only Coracle knows of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Coracle {
    /// The named host that it belongs to; its ID where it was removed.
    pub host: Option<String>,
    /// What stands around the monitor; nothing before the first start.
    pub jail: Vec<String>,
    /// The process that looks after it; 0 for none.
    pub keeper_pid: u32,
}

/// Docker's answer to `inspect`.
#[must_use]
pub fn inspect(container: &Container) -> Inspect {
    let (path, args) = match container.args.split_first() {
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    Inspect {
        id: container.id.clone(),
        created: rfc3339(container.created),
        path,
        args,
        state: state(container),
        image: container.image_id.clone(),
        resolv_conf_path: String::new(),
        hostname_path: String::new(),
        hosts_path: String::new(),
        log_path: container.log_path.clone(),
        name: format!("/{}", container.name),
        restart_count: container.life.restarts,
        driver: DRIVER,
        platform: "linux",
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: String::new(),
        exec_ids: (!container.exec_ids.is_empty()).then(|| container.exec_ids.clone()),
        host_config: container.host_config.clone(),
        graph_driver: GraphDriver::default(),
        size_rw: container.size.and_then(|size| size.written),
        size_root_fs: container.size.map(|size| size.root),
        mounts: container.mounts.clone(),
        config: container.config.clone(),
        network_settings: NetworkSettings::of(container),
        coracle: container.coracle.clone(),
    }
}

fn state(container: &Container) -> State {
    let life = &container.life;
    let live = life.status.is_live();
    State {
        status: life.status.word(),
        running: live,
        paused: life.status == Status::Paused,
        restarting: life.status == Status::Restarting,
        oom_killed: life.oom_killed,
        dead: life.status == Status::Dead,
        pid: life.pid,
        exit_code: life.exit_code,
        error: life.error.clone(),
        started_at: rfc3339_or_never(life.started),
        finished_at: rfc3339_or_never(life.finished),
        health: life.health.clone(),
    }
}
