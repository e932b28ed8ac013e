//! Image configuration (image specification, "OCI Image Configuration", with docker's additions).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{ImageError, MAX_HISTORY, MAX_LAYERS, Platform, check_count, manifest::parse};
use crate::digest::Digest;

/// The document that says how to run an image and what its layers unpack to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Architecture in Go's names.
    #[serde(default)]
    pub architecture: String,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system in Go's names.
    #[serde(default)]
    pub os: String,
    /// How to run it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// What its layers unpack to.
    pub rootfs: RootFs,
    /// How it came about, oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<History>,
    /// What docker's classic builder notes: version of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The layers' contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers_type")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

fn layers_type() -> String {
    "layers".to_owned()
}

/// One step in the making of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// How a container of an image is run. Empty where the image says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// `user[:group]`, names or numbers; empty for root.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// Ports that it listens on: `5432/tcp`.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// First words of the command line.
    #[serde(deserialize_with = "null_or_words")]
    pub entrypoint: Option<Vec<String>>,
    /// Words after the entry point, replaced by what the user gives.
    #[serde(deserialize_with = "null_or_words")]
    pub cmd: Option<Vec<String>>,
    /// Directories that hold data of their own.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// Directory in which the command starts; empty for `/`.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops it: `SIGTERM` or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How to find out whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Shell of the shell form of commands, used by builders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Instructions for images built upon it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
}

/// The empty object that stands for "in the set".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// How to find out whether a container works. Times in nanoseconds, 0 for docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, `CMD` and words, or `CMD-SHELL` and a line.
    #[serde(deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: i64,
    /// Time for one check.
    pub timeout: i64,
    /// Time after the start in which failures do not count.
    pub start_period: i64,
    /// Time between checks in that period.
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}

impl ImageConfig {
    /// Parses and checks a configuration; `name` says in errors which.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        const KIND: &str = "configuration";
        let config: Self = parse(KIND, name, bytes)?;
        check_count(
            KIND,
            &name,
            "diff IDs",
            config.rootfs.diff_ids.len(),
            MAX_LAYERS,
        )?;
        check_count(
            KIND,
            &name,
            "history entries",
            config.history.len(),
            MAX_HISTORY,
        )?;
        let refuse = |field, value: &str, reason| {
            let digest = name.to_owned();
            Err(ImageError::ConfigField {
                digest,
                field,
                value: value.to_owned(),
                reason,
            })
        };
        if config.rootfs.kind != "layers" {
            return refuse(
                "rootfs.type",
                &config.rootfs.kind,
                "only \"layers\" is known",
            );
        }
        // Docker adds the slash to a relative working directory; what is run there must agree.
        let directory = &config.config.working_dir;
        if directory.contains('\0') {
            return refuse("WorkingDir", directory, "it contains a zero byte");
        }
        if let Some(entry) = config.config.env.iter().find(|entry| entry.contains('\0')) {
            return refuse("Env", entry, "it contains a zero byte");
        }
        Ok(config)
    }

    /// What it runs on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }

    /// A configuration for a root file system that came without one.
    #[must_use]
    pub fn synthetic(platform: &Platform, diff_id: Digest, origin: &str, created: &str) -> Self {
        Self {
            created: Some(created.to_owned()),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            config: ContainerConfig {
                env: vec![DEFAULT_PATH.to_owned()],
                cmd: Some(vec!["/bin/sh".to_owned()]),
                ..ContainerConfig::default()
            },
            rootfs: RootFs {
                kind: layers_type(),
                diff_ids: vec![diff_id],
            },
            history: vec![History {
                created: Some(created.to_owned()),
                created_by: Some(origin.to_owned()),
                ..History::default()
            }],
            ..Self::default()
        }
    }
}

/// Search path of a container whose image names none; docker's.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Go writes an empty list, map or struct as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A command line, where an empty one says as much as none. Very old docker images have a string
/// in place of a list.
fn null_or_words<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    let words = match Option::<Words>::deserialize(deserializer)? {
        Some(Words::Many(words)) => words,
        Some(Words::One(word)) => vec![word],
        None => return Ok(None),
    };
    Ok(if words.is_empty() { None } else { Some(words) })
}
