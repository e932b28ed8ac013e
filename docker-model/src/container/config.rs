//! `Config`: what of a container does not depend on the machine that it runs on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::null::{self, Empty, Set, is_default, words};

/// The portable half of a container, and an image's defaults for it. Reads create bodies, too: unknown keys are ignored,
/// `null` and what is missing is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Host name; the ID's first 12 digits unless asked for.
    #[serde(deserialize_with = "is_default")]
    pub hostname: String,
    /// NIS domain name.
    #[serde(deserialize_with = "is_default")]
    pub domainname: String,
    /// `user[:group]`; empty for root.
    #[serde(deserialize_with = "is_default")]
    pub user: String,
    /// The client that creates it attaches to standard input.
    #[serde(deserialize_with = "is_default")]
    pub attach_stdin: bool,
    /// The same of standard output.
    #[serde(deserialize_with = "is_default")]
    pub attach_stdout: bool,
    /// The same of standard error.
    #[serde(deserialize_with = "is_default")]
    pub attach_stderr: bool,
    /// Ports that it listens on: `80/tcp`. Left out when there is none.
    #[serde(skip_serializing_if = "null::is_empty")]
    pub exposed_ports: Option<Set>,
    /// It has a terminal.
    #[serde(deserialize_with = "is_default")]
    pub tty: bool,
    /// Standard input is kept open.
    #[serde(deserialize_with = "is_default")]
    pub open_stdin: bool,
    /// Standard input ends with the first client that is attached to it.
    #[serde(deserialize_with = "is_default")]
    pub stdin_once: bool,
    /// `NAME=VALUE`.
    pub env: Option<Vec<String>>,
    /// Words after the entry point.
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// How to find out whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The image as it was written.
    #[serde(deserialize_with = "is_default")]
    pub image: String,
    /// Directories that hold data of their own.
    pub volumes: Option<Set>,
    /// Directory in which the command starts; empty for `/`.
    #[serde(deserialize_with = "is_default")]
    pub working_dir: String,
    /// First words of the command line.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// It has no network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_disabled: Option<bool>,
    /// Hardware address that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Instructions for images built upon it.
    pub on_build: Option<Vec<String>>,
    /// Labels; `null` in an image that has none.
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal that stops it: `SIGTERM` or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL; -1 for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Shell of the shell form of commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// How to find out whether a container works; times in nanoseconds, 0 for docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, `CMD` and words, or `CMD-SHELL` and a line; empty takes the image's.
    #[serde(deserialize_with = "is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(deserialize_with = "is_default", skip_serializing_if = "null::is_zero")]
    pub interval: i64,
    /// Time for one check.
    #[serde(deserialize_with = "is_default", skip_serializing_if = "null::is_zero")]
    pub timeout: i64,
    /// Time after the start in which failures do not count.
    #[serde(deserialize_with = "is_default", skip_serializing_if = "null::is_zero")]
    pub start_period: i64,
    /// Time between checks in that period.
    #[serde(deserialize_with = "is_default", skip_serializing_if = "null::is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(deserialize_with = "is_default", skip_serializing_if = "null::is_zero")]
    pub retries: i64,
}

impl Config {
    /// Fills in what a container takes from its image, by dockerd's rules.
    pub fn take_from(&mut self, image: &Self) {
        if self.user.is_empty() {
            self.user.clone_from(&image.user);
        }
        join(
            &mut self.exposed_ports,
            image.exposed_ports.as_ref(),
            |_| Empty {},
        );
        join(&mut self.volumes, image.volumes.as_ref(), |_| Empty {});
        join(&mut self.labels, image.labels.as_ref(), Clone::clone);
        self.labels.get_or_insert_default();
        if self.volumes.as_ref().is_some_and(BTreeMap::is_empty) {
            self.volumes = None;
        }
        self.take_env(image.env.as_deref().unwrap_or_default());
        // An entry point of one's own takes the image's command away.
        if self.entrypoint.as_ref().is_none_or(Vec::is_empty) {
            if self.cmd.as_ref().is_none_or(Vec::is_empty) {
                self.cmd.clone_from(&image.cmd);
            }
            if self.entrypoint.is_none() {
                self.entrypoint.clone_from(&image.entrypoint);
            }
        }
        // One that is empty was only to get rid of the image's.
        let is_reset = |words: &Vec<String>| words.iter().all(String::is_empty) && words.len() < 2;
        if self.entrypoint.as_ref().is_some_and(is_reset) {
            self.entrypoint = None;
        }
        if self.working_dir.is_empty() {
            self.working_dir.clone_from(&image.working_dir);
        }
        if self.on_build.is_none() {
            self.on_build.clone_from(&image.on_build);
        }
        let fill = |own: &mut Option<String>, other: &Option<String>| {
            if own.as_ref().is_none_or(String::is_empty) {
                own.clone_from(other);
            }
        };
        fill(&mut self.stop_signal, &image.stop_signal);
        if self.stop_timeout.is_none() {
            self.stop_timeout = image.stop_timeout;
        }
        if self.shell.as_ref().is_none_or(Vec::is_empty) {
            self.shell.clone_from(&image.shell);
        }
        self.take_health(image.healthcheck.as_ref());
    }

    /// The image's variables stand behind those of the user's, who wins.
    fn take_env(&mut self, image: &[String]) {
        let name = |entry: &str| {
            entry
                .split_once('=')
                .map_or(entry, |(name, _)| name)
                .to_owned()
        };
        let own = self.env.get_or_insert_default();
        let known: Vec<String> = own.iter().map(|entry| name(entry)).collect();
        let others = image.iter().filter(|entry| !known.contains(&name(entry)));
        own.extend(others.cloned());
    }

    fn take_health(&mut self, image: Option<&Healthcheck>) {
        let Some(image) = image else { return };
        let own = self.healthcheck.get_or_insert_default();
        if own.test.is_empty() {
            own.test.clone_from(&image.test);
        }
        for (own, other) in [
            (&mut own.interval, image.interval),
            (&mut own.timeout, image.timeout),
            (&mut own.start_period, image.start_period),
            (&mut own.start_interval, image.start_interval),
            (&mut own.retries, image.retries),
        ] {
            if *own == 0 {
                *own = other;
            }
        }
    }
}

impl From<&images::image::ContainerConfig> for Config {
    /// An image's: what it does not say is `null`, as in its own document.
    fn from(image: &images::image::ContainerConfig) -> Self {
        let set = |set: &BTreeMap<String, images::image::config::Empty>| -> Option<Set> {
            let all = set.keys().map(|name| (name.clone(), Empty {}));
            (!set.is_empty()).then(|| all.collect())
        };
        Self {
            user: image.user.clone(),
            exposed_ports: set(&image.exposed_ports),
            env: (!image.env.is_empty()).then(|| image.env.clone()),
            cmd: image.cmd.clone(),
            healthcheck: image.healthcheck.as_ref().map(|check| Healthcheck {
                test: check.test.clone(),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            }),
            volumes: set(&image.volumes),
            working_dir: image.working_dir.clone(),
            entrypoint: image.entrypoint.clone(),
            on_build: image.on_build.clone(),
            labels: (!image.labels.is_empty()).then(|| image.labels.clone()),
            stop_signal: image.stop_signal.clone(),
            stop_timeout: image.stop_timeout,
            shell: image.shell.clone(),
            ..Self::default()
        }
    }
}

/// Adds what only the image has.
fn join<V, W>(
    own: &mut Option<BTreeMap<String, V>>,
    image: Option<&BTreeMap<String, W>>,
    value: impl Fn(&W) -> V,
) {
    for (name, other) in image.into_iter().flatten() {
        let own = own.get_or_insert_default();
        own.entry(name.clone()).or_insert_with(|| value(other));
    }
}
