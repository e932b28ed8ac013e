//! Archives of `docker save` (docker's "Image Specification v1.2"): `manifest.json` lists
//! configurations and layers. The old form keeps a layer as `<id>/layer.tar`, often a symbolic link
//! to another one; the new form keeps everything below `blobs/`.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::files::Files;
use super::{Configuration, Document, MAX_IMAGES, Source, SourceError, SourceImage, SourceLayer};
use crate::digest::Digest;
use crate::image::{ImageConfig, ImageError, Platform};
use crate::reference::{Reference, is_lower_hexadecimal};

/// File that lists the images.
pub(super) const MANIFEST: &str = "manifest.json";
/// File of archives from before docker 1.10, which had no [`MANIFEST`].
pub(super) const ANCIENT_MARKER: &str = "repositories";
/// Hexadecimal digits of a SHA-256, as they stand in names of configurations and blobs.
const SHA256_DIGITS: usize = 64;

/// An archive of `docker save`.
#[derive(Debug)]
pub(super) struct DockerArchive {
    files: Files,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    /// What newer versions say of the layers' files, by diff ID.
    #[serde(default)]
    layer_sources: Option<BTreeMap<String, LayerSource>>,
}

#[derive(Deserialize)]
struct LayerSource {
    #[serde(default)]
    size: Option<u64>,
}

impl DockerArchive {
    pub(super) fn new(mut files: Files) -> Self {
        files.set_origin(format!("docker archive {}", files.origin()));
        Self { files }
    }

    fn refused(&self, source: ImageError) -> SourceError {
        SourceError::Image {
            origin: self.origin().to_owned(),
            source: Box::new(source),
        }
    }

    fn configuration(&self, name: &str) -> Result<Configuration, SourceError> {
        let bytes = self.files.read_document("configuration", name)?;
        let digest = Digest::of(&bytes);
        if let Some(announced) = digest_in_name(name)
            && announced != digest
        {
            return Err(SourceError::Digest {
                origin: self.origin().to_owned(),
                name: format!("configuration {name}"),
                announced: announced.to_string(),
                actual: digest.to_string(),
            });
        }
        let parsed =
            ImageConfig::parse(&digest.to_string(), &bytes).map_err(|error| self.refused(error))?;
        Ok(Configuration {
            document: Document { digest, bytes },
            parsed,
        })
    }

    fn image(&self, entry: &Entry, platform: &Platform) -> Result<SourceImage, SourceError> {
        let config = self.configuration(&entry.config)?;
        platform
            .check(&config.parsed)
            .map_err(|error| self.refused(error))?;
        let names = entry.layers.as_deref().unwrap_or_default();
        let diff_ids = &config.parsed.rootfs.diff_ids;
        if names.len() != diff_ids.len() {
            return Err(self.refused(ImageError::LayerCount {
                layers: names.len(),
                diff_ids: diff_ids.len(),
                digest: config.document.digest.to_string(),
            }));
        }
        let mut layers = Vec::with_capacity(names.len());
        let sources = entry.layer_sources.as_ref();
        for (name, diff_id) in names.iter().zip(diff_ids) {
            let said = sources.and_then(|sources| sources.get(&diff_id.to_string()));
            self.files
                .check_size(name, said.and_then(|said| said.size))?;
            layers.push(SourceLayer {
                name: name.clone(),
                // Where the layer is not compressed, its diff ID says the same and is checked.
                digest: digest_in_name(name)
                    .filter(|digest| name.starts_with("blobs/") && digest != diff_id),
                size: Some(self.files.open(name)?.len()),
                kind: None,
                diff_id: Some(diff_id.clone()),
            });
        }
        let tags = entry.repo_tags.as_deref().unwrap_or_default();
        let names = tags
            .iter()
            .map(|tag| self.parse_name(tag))
            .collect::<Result<_, _>>()?;
        Ok(SourceImage {
            names,
            repository_digest: None,
            manifest: None,
            config: Some(config),
            layers,
            created: None,
        })
    }

    fn parse_name(&self, name: &str) -> Result<Reference, SourceError> {
        name.parse()
            .map(Reference::with_default_tag)
            .map_err(|source| {
                let origin = self.origin().to_owned();
                SourceError::Name {
                    origin,
                    name: name.to_owned(),
                    source,
                }
            })
    }
}

impl Source for DockerArchive {
    fn origin(&self) -> &str {
        self.files.origin()
    }

    fn images(&self, platform: &Platform) -> Result<Vec<SourceImage>, SourceError> {
        let origin = || self.origin().to_owned();
        let bytes = self.files.read_document("manifest", MANIFEST)?;
        let entries: Vec<Entry> =
            serde_json::from_slice(&bytes).map_err(|source| SourceError::DockerManifest {
                origin: origin(),
                source,
            })?;
        if entries.is_empty() {
            return Err(SourceError::Empty { origin: origin() });
        }
        if entries.len() > MAX_IMAGES {
            return Err(SourceError::TooManyImages {
                origin: origin(),
                count: entries.len(),
            });
        }
        let mut images: Vec<SourceImage> = Vec::new();
        for entry in &entries {
            let image = self.image(entry, platform)?;
            let id = image
                .config
                .as_ref()
                .map(|config| config.document.digest.clone());
            let same = |known: &&mut SourceImage| {
                known.config.as_ref().map(|config| &config.document.digest) == id.as_ref()
            };
            match images.iter_mut().find(same) {
                Some(known) => known.names.extend(image.names),
                None => images.push(image),
            }
        }
        Ok(images)
    }

    fn open_layer(&self, layer: &SourceLayer) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        Ok(Box::new(self.files.open(&layer.name)?))
    }
}

/// The digest in `<hex>.json`, `<hex>.tar` and `blobs/sha256/<hex>`.
fn digest_in_name(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next()?;
    let digits = last.split('.').next()?;
    if digits.len() != SHA256_DIGITS || !is_lower_hexadecimal(digits) {
        return None;
    }
    format!("sha256:{digits}").parse().ok()
}
