//! One server that has the images of a registry: the registry itself, or a mirror of it.

use std::sync::{Mutex, OnceLock};

use super::credentials::Credential;
use super::limits::{MAX_ATTEMPTS, MIRROR_ATTEMPTS};
use super::settings::is_loopback;
use super::{RegistryError, Settings};
use crate::reference::DEFAULT_DOMAIN;

/// Where docker.io's registry is.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// A server, and what was found out about it.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Host name and port.
    pub(super) authority: String,
    /// Name under which its credentials are kept.
    pub(super) domain: String,
    /// The repository that is asked for, empty for the registry as such.
    pub(super) repository: String,
    /// Whether certificates are checked.
    pub(super) verify: bool,
    /// Whether plain HTTP will do when the server has no TLS.
    pub(super) plain_allowed: bool,
    /// How often it is asked for one thing that fails for a reason that may pass.
    pub(super) attempts: u32,
    /// Credentials to use instead of those in files.
    pub(super) given: Option<Credential>,
    /// Whether it has TLS, once that is known.
    pub(super) https: OnceLock<bool>,
    /// The header that opened it last.
    pub(super) authorization: Mutex<Option<String>>,
}

impl Endpoint {
    /// The registry of a domain.
    pub(super) fn of_domain(settings: &Settings, domain: &str, repository: &str) -> Self {
        let authority = if domain == DEFAULT_DOMAIN {
            DOCKER_HOST
        } else {
            domain
        };
        let insecure = settings.is_insecure(authority);
        Self {
            authority: authority.to_owned(),
            domain: domain.to_owned(),
            repository: repository.to_owned(),
            verify: !insecure,
            plain_allowed: insecure || is_loopback(authority),
            attempts: MAX_ATTEMPTS,
            given: None,
            https: OnceLock::new(),
            authorization: Mutex::default(),
        }
    }

    /// A mirror, as the settings name it.
    pub(super) fn of_mirror(
        settings: &Settings,
        mirror: &str,
        repository: &str,
    ) -> Result<Self, RegistryError> {
        let (https, authority) = match mirror.split_once("://") {
            None => (None, mirror),
            Some(("https", authority)) => (Some(true), authority),
            Some(("http", authority)) => (Some(false), authority),
            Some(_) => (None, ""),
        };
        let authority = authority.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '@', '?', '#']) {
            return Err(RegistryError::Setting {
                path: "registries.json".into(),
                reason: format!(
                    "mirror {mirror:?} is not HOST[:PORT], with or without https:// or http://"
                ),
            });
        }
        let mut endpoint = Self::of_domain(settings, authority, repository);
        endpoint.attempts = MIRROR_ATTEMPTS;
        if let Some(https) = https {
            // Plain HTTP that is written out is an explicit setting.
            endpoint.https.get_or_init(|| https);
        }
        Ok(endpoint)
    }

    /// Whether it is a mirror: something else can be asked instead.
    pub(super) fn is_mirror(&self) -> bool {
        self.attempts == MIRROR_ATTEMPTS
    }

    /// What reading the repository is called for token servers.
    pub(super) fn scope(&self) -> Option<String> {
        if self.repository.is_empty() {
            return None;
        }
        Some(format!("repository:{}:pull", self.repository))
    }

    /// The argument of `coracle login` for it.
    pub(super) fn login(&self) -> String {
        if self.domain == DEFAULT_DOMAIN {
            String::new()
        } else {
            self.domain.clone()
        }
    }
}
