//! Images: in the user's store, and in registries.

mod obtain;
mod pull;
mod remove;
mod used;

use std::{fmt, sync::Arc};

use images::{
    digest::Digest,
    image::Platform,
    reference::Reference,
    source::{
        Input,
        registry::{self, RegistryError},
    },
    store::{
        HistoryEntry, Image, Inspected, Listed, Loaded, Sink, Store, StoreError, Usage, Verified,
    },
};

use crate::{
    Engine, Result,
    progress::{Layers, Progress, Report},
};

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

    /// The settings as they are now.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn settings(&self, tls_verify: Option<bool>) -> Result<registry::Settings> {
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

    /// The image of a name, an ID, or the beginning of an ID.
    ///
    /// # Errors
    /// When there is none, or when several IDs begin so.
    pub fn find(&self, name: &str) -> Result<Image> {
        Ok(self.store(None)?.resolve(name)?)
    }

    /// The ID of the image of a name; nothing where there is none, or it can be no name.
    ///
    /// # Errors
    /// When several IDs begin so, or the store cannot be read.
    pub fn id(&self, name: &str) -> Result<Option<String>> {
        match self.store(None)?.resolve(name) {
            Ok(image) => Ok(Some(image.id.to_string())),
            Err(StoreError::NotFound { .. } | StoreError::Name { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All images, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        Ok(self.store(None)?.list()?)
    }

    /// All that is known of an image.
    ///
    /// # Errors
    /// As [`Images::find`].
    pub fn inspect(&self, name: &str) -> Result<Inspected> {
        Ok(self.store(None)?.inspect(name)?)
    }

    /// How an image came about, the newest step first.
    ///
    /// # Errors
    /// As [`Images::find`].
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        Ok(self.store(None)?.history(name)?)
    }

    /// Gives an image one more name, which another image loses if it had it; returns the image's ID.
    ///
    /// # Errors
    /// As [`Images::find`], and when the name cannot be one.
    pub fn tag(&self, image: &str, name: &Reference) -> Result<Digest> {
        Ok(self.store(None)?.tag(image, name)?)
    }

    /// Takes all images of an archive, a layout or a file system into the store, each under `name` where one is given.
    /// Either all of them are there afterwards, or none is.
    ///
    /// # Errors
    /// When it is none of these, or not acceptable.
    pub fn load(
        &self,
        input: Input<'_>,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let store = self.store(None)?;
        let source = store.open_source(input)?;
        let loaded = store.load(&*source, name, &Layers(progress));
        progress.report(Report::LayersEnd);
        Ok(loaded?)
    }

    /// Writes images, each under the name by which it is asked for; `with_docker` adds docker's `manifest.json`.
    ///
    /// # Errors
    /// As [`Images::find`], and when it cannot be written.
    pub fn save(&self, names: &[String], with_docker: bool, sink: &mut dyn Sink) -> Result<()> {
        Ok(self.store(None)?.save(names, with_docker, sink)?)
    }

    /// Reads an image, and compares every byte with its digests; what is damaged is taken out of the store.
    ///
    /// # Errors
    /// As [`Images::find`].
    pub fn verify(&self, name: &str) -> Result<Verified> {
        Ok(self.store(None)?.verify(name)?)
    }

    /// What takes space.
    ///
    /// # Errors
    /// When the store or the containers cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let used = used::ids(&self.engine.containers().records.list()?);
        Ok(self.store(None)?.usage(&used)?)
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

#[cfg(test)]
mod tests;
