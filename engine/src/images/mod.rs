//! Images: in the user's store, and in registries.

mod obtain;
mod pull;

use std::{fmt, sync::Arc};

use images::{
    image::Platform,
    source::registry::{self, RegistryError},
    store::Store,
};

use crate::{Engine, Result};

pub(crate) use obtain::obtain;
pub use pull::PullRequest;

/// Where the settings and credentials of registries come from; it is asked when a registry is.
#[derive(Clone)]
pub struct Registries(Arc<Ask>);

type Ask = dyn Fn(Option<bool>) -> Result<registry::Settings, RegistryError> + Send + Sync;

impl Registries {
    /// Asks this function. Its argument is whether certificates are checked, where a caller said so.
    pub fn new(
        ask: impl Fn(Option<bool>) -> Result<registry::Settings, RegistryError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }

    fn settings(&self, tls_verify: Option<bool>) -> Result<registry::Settings> {
        Ok((self.0)(tls_verify)?)
    }
}

/// No credentials, no mirrors, and certificates that are checked.
impl Default for Registries {
    fn default() -> Self {
        Self::new(|tls_verify| {
            Ok(registry::Settings {
                tls_verify,
                ..registry::Settings::default()
            })
        })
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Registries")
    }
}

/// The images of one user.
#[derive(Debug, Clone)]
pub struct Images {
    engine: Engine,
}

impl Images {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.clone(),
        }
    }

    /// The store, for images of a platform; this machine's unless it is given.
    fn store(&self, platform: Option<&Platform>) -> Result<Store> {
        let store = Store::open(&self.engine.directories.data)?;
        Ok(match platform {
            Some(platform) => store.for_platform(platform.clone()),
            None => store,
        })
    }
}
