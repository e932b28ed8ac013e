//! Pulls from registries.

use std::path::PathBuf;

use images::{
    image::Platform,
    reference::Reference,
    source::registry::{Credential, Registry},
    store::{Loaded, Store},
};

use super::Images;
use crate::{
    Result,
    progress::{Layers, Progress, Report},
};

/// An image to be pulled.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Its name; without a tag and a digest, that of the tag `latest`.
    pub name: Reference,
    /// Its platform; this machine's unless it is given.
    pub platform: Option<Platform>,
    /// Whether certificates are checked; the user's settings say so otherwise.
    pub tls_verify: Option<bool>,
    /// A file of credentials, in docker's form, that comes before the user's.
    pub credentials: Option<PathBuf>,
    /// A credential for the name's registry that comes before all files; it is never written down.
    pub credential: Option<Credential>,
}

impl PullRequest {
    /// The pull of an image for this machine.
    pub fn new(name: Reference) -> Self {
        Self {
            name,
            platform: None,
            tls_verify: None,
            credentials: None,
            credential: None,
        }
    }
}

impl Images {
    /// Pulls an image.
    ///
    /// # Errors
    /// When the registry has none of this name, or cannot be reached, or what it sends is not accepted; when it is
    /// not wanted any more ([`Progress::is_wanted`]).
    pub fn pull(&self, request: &PullRequest, progress: &dyn Progress) -> Result<Loaded> {
        let name = request.name.clone().with_default_tag();
        let mut settings = self.engine.registries.settings(request.tls_verify)?;
        let own = request.credentials.clone();
        settings.credentials.splice(0..0, own);
        let own = request.credential.clone();
        settings.given = own.map(|credential| (name.domain().to_owned(), credential));
        let registry = Registry::new(&name, settings)?;
        pull(&self.store(request.platform.as_ref())?, &registry, progress)
    }

    /// The tags of a repository.
    ///
    /// # Errors
    /// As [`Images::pull`].
    pub fn tags(&self, name: &Reference, tls_verify: Option<bool>) -> Result<Vec<String>> {
        let settings = self.engine.registries.settings(tls_verify)?;
        Ok(Registry::new(name, settings)?.tags()?)
    }
}

fn pull(store: &Store, registry: &Registry, progress: &dyn Progress) -> Result<Loaded> {
    let name = registry.reference();
    progress.report(Report::Pulling(name));
    let before = store.resolve(&name.familiar()).ok().map(|image| image.id);
    let loaded = store.pull(registry, &Layers(progress));
    progress.report(Report::LayersEnd);
    let loaded = loaded?;
    progress.report(Report::Pulled {
        name,
        digest: loaded.digest.as_ref(),
        newer: before.as_ref() != Some(&loaded.id),
    });
    Ok(loaded)
}
