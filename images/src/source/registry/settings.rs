//! How registries are reached: the user's and the machine's settings.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::limits;
use super::{Credential, RegistryError};

/// Settings of all users, and below the user's configuration directory their own.
const FILE: &str = "coracle/registries.json";

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Registries that may have an unknown certificate, or none and plain HTTP.
    pub insecure: BTreeSet<String>,
    /// Registries to ask first, by the registry that they mirror: `mirror.example`, or with a
    /// scheme `http://mirror.example:5000`.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Whether certificates are checked whatever [`Self::insecure`] says: `--tls-verify`.
    pub tls_verify: Option<bool>,
    /// Directories with one directory of certificates for each registry.
    pub certificates: Vec<PathBuf>,
    /// Credentials for the registry of this domain, which come before those of files.
    pub given: Option<(String, Credential)>,
    /// Files of credentials, the first that has some for a registry is used.
    pub credentials: Vec<PathBuf>,
    /// Time-outs, where they differ from the usual.
    pub timeouts: Timeouts,
}

/// How long a registry may take, in seconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Timeouts {
    connect: Option<u64>,
    first_byte: Option<u64>,
    stall: Option<u64>,
}

impl Timeouts {
    pub(super) fn connect(&self) -> Duration {
        self.connect.map_or(limits::CONNECT, Duration::from_secs)
    }

    pub(super) fn first_byte(&self) -> Duration {
        self.first_byte
            .map_or(limits::FIRST_BYTE, Duration::from_secs)
    }

    pub(super) fn stall(&self) -> Duration {
        self.stall.map_or(limits::STALL, Duration::from_secs)
    }
}

/// A file of settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
struct Contents {
    insecure: BTreeSet<String>,
    mirrors: BTreeMap<String, Vec<String>>,
    timeouts: Option<Timeouts>,
}

impl Settings {
    /// What the environment and the files that it names say.
    ///
    /// # Errors
    /// [`RegistryError::File`] and [`RegistryError::Malformed`] of a file of settings.
    pub fn from_environment(tls_verify: Option<bool>) -> Result<Self, RegistryError> {
        let configuration = directory("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let mut settings = Self {
            tls_verify,
            certificates: certificates(configuration.as_deref()),
            given: None,
            credentials: credentials(configuration.as_deref()),
            ..Self::default()
        };
        let machine = Some(PathBuf::from("/etc"));
        for directory in machine.into_iter().chain(configuration) {
            settings.read(&directory.join(FILE))?;
        }
        Ok(settings)
    }

    /// Adds what a file says; one that is not there says nothing.
    fn read(&mut self, path: &Path) -> Result<(), RegistryError> {
        let Some(bytes) = read_file(path)? else {
            return Ok(());
        };
        let contents: Contents =
            serde_json::from_slice(&bytes).map_err(|source| RegistryError::Malformed {
                path: path.to_owned(),
                source,
            })?;
        self.insecure.extend(contents.insecure);
        self.mirrors.extend(contents.mirrors);
        self.timeouts = contents.timeouts.unwrap_or(self.timeouts);
        Ok(())
    }

    /// Whether certificates of this host are not checked.
    pub(super) fn is_insecure(&self, authority: &str) -> bool {
        match self.tls_verify {
            Some(verify) => !verify,
            None => self.lists_insecure(authority),
        }
    }

    /// Whether the user's list names this very host, and no flag takes that back.
    pub(super) fn lists_insecure(&self, authority: &str) -> bool {
        self.tls_verify != Some(true)
            && (self.insecure.contains(authority) || self.insecure.contains(host(authority)))
    }
}

/// Host name of a `host:port`, without the brackets of an IPv6 address.
pub(super) fn host(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

/// Whether a host is this machine itself, where nobody listens between.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = host(authority);
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The whole of a small file; `None` when it is not there.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    let failed = |source| RegistryError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limits::MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limits::MAX_FILE {
        return Err(RegistryError::Setting {
            path: path.to_owned(),
            reason: format!("it has more than {} bytes", limits::MAX_FILE),
        });
    }
    Ok(Some(bytes))
}

fn directory(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn below_home(path: &str) -> Option<PathBuf> {
    directory("HOME").map(|home| home.join(path))
}

/// Podman's and docker's places, the user's first.
fn certificates(configuration: Option<&Path>) -> Vec<PathBuf> {
    configuration
        .map(|directory| directory.join("containers/certs.d"))
        .into_iter()
        .chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from))
        .collect()
}

/// The file that docker writes, which `login` uses, too.
fn docker_credentials() -> Option<PathBuf> {
    let directory = env::var_os("DOCKER_CONFIG")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| below_home(".docker"))?;
    Some(directory.join("config.json"))
}

/// The file that `login` and `logout` change.
#[must_use]
pub fn own_credentials() -> Option<PathBuf> {
    env::var_os("REGISTRY_AUTH_FILE")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(docker_credentials)
}

fn credentials(configuration: Option<&Path>) -> Vec<PathBuf> {
    if let Some(only) = env::var_os("REGISTRY_AUTH_FILE").filter(|value| !value.is_empty()) {
        return vec![only.into()];
    }
    let podman = directory("XDG_RUNTIME_DIR").map(|path| path.join("containers/auth.json"));
    let kept = configuration.map(|path| path.join("containers/auth.json"));
    docker_credentials()
        .into_iter()
        .chain(podman)
        .chain(kept)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for authority in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5",
        ] {
            assert!(is_loopback(authority), "{authority}");
        }
        for authority in [
            "localhost.example",
            "128.0.0.1",
            "[::2]:5",
            "127.0.0.1.example:5",
        ] {
            assert!(!is_loopback(authority), "{authority}");
        }
    }

    #[test]
    fn insecure_list_names_hosts_with_or_without_port() {
        let settings = Settings {
            insecure: ["a.b".to_owned(), "c.d:5".to_owned()].into(),
            ..Settings::default()
        };
        assert!(settings.is_insecure("a.b") && settings.is_insecure("a.b:1"));
        assert!(settings.is_insecure("c.d:5") && !settings.is_insecure("c.d"));
    }

    #[test]
    fn flag_overrides_the_insecure_list() {
        let settings = |tls_verify| Settings {
            insecure: ["a.b".to_owned()].into(),
            tls_verify,
            ..Settings::default()
        };
        assert!(!settings(Some(true)).is_insecure("a.b"));
        assert!(settings(Some(false)).is_insecure("other"));
    }
}
