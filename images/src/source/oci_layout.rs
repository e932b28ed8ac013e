//! OCI image layout, in a directory or in a tar archive (image specification, "Image Layout").

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;

use super::files::{Files, blob_name};
use super::{Configuration, Document, MAX_IMAGES, Source, SourceError, SourceImage, SourceLayer};
use crate::image::manifest::{CONTAINERD_NAME, REF_NAME};
use crate::image::{
    Descriptor, DocumentKind, ImageConfig, ImageError, Index, MAX_INDEX_DEPTH, Manifest, Platform,
};
use crate::reference::Reference;

/// File that marks a layout.
pub(super) const MARKER: &str = "oci-layout";
/// File that names the images of a layout.
pub(super) const INDEX: &str = "index.json";
/// The only version of the format.
const LAYOUT_VERSION: &str = "1.0.0";

/// An image layout.
#[derive(Debug)]
pub(super) struct OciLayout {
    files: Files,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutMarker {
    image_layout_version: String,
}

impl OciLayout {
    pub(super) fn new(mut files: Files) -> Result<Self, SourceError> {
        files.set_origin(format!("OCI layout {}", files.origin()));
        let bytes = files.read_document("layout marker", MARKER)?;
        let marker: LayoutMarker = serde_json::from_slice(&bytes).map_err(|source| {
            let (kind, digest) = ("layout marker", MARKER.to_owned());
            let source = ImageError::Parse {
                kind,
                digest,
                source,
            };
            SourceError::Image {
                origin: files.origin().to_owned(),
                source: Box::new(source),
            }
        })?;
        if marker.image_layout_version != LAYOUT_VERSION {
            let origin = files.origin().to_owned();
            return Err(SourceError::LayoutVersion {
                origin,
                version: marker.image_layout_version,
            });
        }
        Ok(Self { files })
    }

    fn refused(&self, source: ImageError) -> SourceError {
        SourceError::Image {
            origin: self.files.origin().to_owned(),
            source: Box::new(source),
        }
    }

    /// Follows indexes down to the manifest for a platform.
    fn manifest_of(
        &self,
        descriptor: &Descriptor,
        platform: &Platform,
    ) -> Result<Document, SourceError> {
        let mut descriptor = descriptor.clone();
        for _ in 0..=MAX_INDEX_DEPTH {
            let kind = descriptor
                .document_kind()
                .map_err(|error| self.refused(error))?;
            if kind == DocumentKind::Manifest {
                return self.files.read_blob("manifest", &descriptor);
            }
            let document = self.files.read_blob("index", &descriptor)?;
            let name = document.digest.to_string();
            descriptor = Index::parse(&name, &document.bytes)
                .and_then(|index| platform.select(&name, &index.manifests).cloned())
                .map_err(|error| self.refused(error))?;
        }
        Err(self.refused(ImageError::TooDeep {
            digest: descriptor.digest,
        }))
    }

    fn image(
        &self,
        descriptor: &Descriptor,
        names: Vec<Reference>,
        platform: &Platform,
    ) -> Result<SourceImage, SourceError> {
        let document = self.manifest_of(descriptor, platform)?;
        let manifest = Manifest::parse(&document.digest, &document.bytes)
            .map_err(|error| self.refused(error))?;
        let config = self.files.read_blob("configuration", &manifest.config)?;
        let name = config.digest.to_string();
        let parsed =
            ImageConfig::parse(&name, &config.bytes).map_err(|error| self.refused(error))?;
        platform
            .check(&parsed)
            .map_err(|error| self.refused(error))?;
        let layers = super::pair_layers(&manifest, &parsed, &name, blob_name)
            .map_err(|error| self.refused(error))?;
        for layer in &layers {
            self.files.check_size(&layer.name, layer.size)?;
        }
        let config = Configuration {
            document: config,
            parsed,
        };
        let (manifest, config) = (Some(document), Some(config));
        Ok(SourceImage {
            names,
            repository_digest: None,
            manifest,
            config,
            layers,
            created: None,
        })
    }
}

impl Source for OciLayout {
    fn origin(&self) -> &str {
        self.files.origin()
    }

    fn images(&self, platform: &Platform) -> Result<Vec<SourceImage>, SourceError> {
        let bytes = self.files.read_document("index", INDEX)?;
        let index = Index::parse(INDEX, &bytes).map_err(|error| self.refused(error))?;
        let mut images: Vec<SourceImage> = Vec::new();
        for (descriptor, name) in chosen(&index, platform).map_err(|error| self.refused(error))? {
            let names = match name {
                Some(name) => vec![self.parse_name(&name)?],
                None => Vec::new(),
            };
            // One image under several names is one image.
            let image = self.image(descriptor, names, platform)?;
            let same = |known: &&mut SourceImage| known.manifest == image.manifest;
            match images.iter_mut().find(same) {
                Some(known) => known.names.extend(image.names),
                None => images.push(image),
            }
        }
        let origin = || self.files.origin().to_owned();
        if images.is_empty() {
            return Err(SourceError::Empty { origin: origin() });
        }
        if images.len() > MAX_IMAGES {
            return Err(SourceError::TooManyImages {
                origin: origin(),
                count: images.len(),
            });
        }
        Ok(images)
    }

    fn open_layer(&self, layer: &SourceLayer) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        Ok(Box::new(self.files.open(&layer.name)?))
    }
}

impl OciLayout {
    fn parse_name(&self, name: &str) -> Result<Reference, SourceError> {
        name.parse()
            .map(Reference::with_default_tag)
            .map_err(|source| {
                let origin = self.files.origin().to_owned();
                SourceError::Name {
                    origin,
                    name: name.to_owned(),
                    source,
                }
            })
    }
}

/// The descriptors of a layout's index to load. Those of one name that tell platforms are variants
/// of one image; all others are images of their own.
fn chosen<'a>(
    index: &'a Index,
    platform: &Platform,
) -> Result<Vec<(&'a Descriptor, Option<String>)>, ImageError> {
    let mut groups: BTreeMap<Option<String>, Vec<Descriptor>> = BTreeMap::new();
    let mut chosen = Vec::new();
    for descriptor in index
        .manifests
        .iter()
        .filter(|descriptor| !descriptor.is_attestation())
    {
        let name = name_of(descriptor);
        if descriptor.platform.is_some() {
            groups.entry(name).or_default().push(descriptor.clone());
        } else {
            chosen.push((descriptor, name));
        }
    }
    for (name, group) in groups {
        let selected = platform.select(INDEX, &group)?;
        let found = index
            .manifests
            .iter()
            .find(|descriptor| *descriptor == selected);
        chosen.extend(found.map(|descriptor| (descriptor, name)));
    }
    // In the order of the index, so that what is printed is in the order of what was saved.
    chosen.sort_by_key(|(descriptor, _)| {
        index
            .manifests
            .iter()
            .position(|known| std::ptr::eq(known, *descriptor))
    });
    Ok(chosen)
}

/// The name that a descriptor's annotations give. A mere tag is none: of which repository?
fn name_of(descriptor: &Descriptor) -> Option<String> {
    let whole = descriptor.annotation(CONTAINERD_NAME);
    let named = || {
        descriptor
            .annotation(REF_NAME)
            .filter(|name| name.contains(['/', ':']))
    };
    whole.or_else(named).map(str::to_owned)
}
