//! A registry (distribution specification 1.1, "Pull"), reached by HTTP.
//!
//! What it says is hostile until its digest is checked, and bounded before that: see `limits`.
//! The name in a reference says which registry; [`Settings`] say what may go without TLS, which
//! mirrors come first and where certificates and credentials are.

mod ask;
mod auth;
mod blob;
mod certificates;
mod challenge;
mod client;
mod credentials;
mod endpoint;
mod error;
mod failure;
mod limits;
mod mirrors;
mod proxy;
mod settings;

use std::io::Read;
use std::thread;

use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

pub(crate) use blob::Shared;
pub use credentials::{Credential, forget, keep, key};
pub use error::RegistryError;
pub use settings::{Settings, Timeouts, own_credentials};

use super::{Configuration, Document, Source, SourceError, SourceImage, SourceLayer};
use crate::digest::Digest;
use crate::image::{
    Descriptor, DocumentKind, ImageConfig, ImageError, Index, MAX_DOCUMENT, MAX_INDEX_DEPTH,
    Manifest, MediaType, Platform, check_document_size,
};
use crate::reference::Reference;
use ask::get;
use auth::percent_encode;
use blob::Blob;
use client::{Ask, Client};
use endpoint::Endpoint;
use failure::{into_cause, is_worth_another_attempt};
use limits::{FIRST_PAUSE, MAX_MESSAGE, MAX_TAGS, MAX_TAGS_PAGE};
use mirrors::Endpoints;

/// What a manifest may be, the newest form first.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// Beginning of the media types of manifests of version 1, without digests of layers.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// One image of a registry.
#[derive(Debug)]
pub struct Registry {
    client: Client,
    reference: Reference,
    endpoints: Endpoints,
    origin: String,
}

impl Registry {
    /// The image of this name. Nothing is asked for yet.
    ///
    /// # Errors
    /// [`RegistryError::Setting`] for a mirror that is no host.
    pub fn new(reference: &Reference, settings: Settings) -> Result<Self, RegistryError> {
        let reference = reference.clone().with_default_tag();
        let (domain, repository) = (reference.domain(), reference.path());
        let mut endpoints = Vec::new();
        for mirror in settings.mirrors.get(domain).into_iter().flatten() {
            endpoints.push(Endpoint::of_mirror(&settings, mirror, repository)?);
        }
        endpoints.push(Endpoint::of_domain(&settings, domain, repository));
        Ok(Self {
            client: Client::new(settings),
            origin: reference.familiar(),
            reference,
            endpoints: Endpoints::new(endpoints),
        })
    }

    /// The name.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// All tags of the repository.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn tags(&self) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        /// Tags of one page.
        const PAGE: usize = 1000;
        let endpoint = self.endpoints.own();
        let what = format!("tags of {}", self.reference.familiar_name());
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags
                .last()
                .map_or_else(String::new, |tag| format!("&last={}", percent_encode(tag)));
            let path = format!("/v2/{}/tags/list?n={PAGE}{last}", self.reference.path());
            let ask = Ask {
                what: &what,
                path: &path,
                accept: "application/json",
                start: 0,
                small: true,
            };
            let wrong = |reason: String| RegistryError::Answer {
                host: endpoint.authority.clone(),
                what: what.clone(),
                reason,
            };
            let mut response = get(&self.client, endpoint, ask)?;
            let more = response.headers().contains_key("link");
            let bytes = response
                .body_mut()
                .with_config()
                .limit(MAX_TAGS_PAGE)
                .read_to_vec();
            let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
            let page: Page =
                serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
            let new = page.tags.unwrap_or_default();
            let ends = new.is_empty() || !more;
            tags.extend(new);
            if tags.len() > MAX_TAGS {
                return Err(wrong(format!("there are more than {MAX_TAGS}")));
            }
            if ends {
                return Ok(tags);
            }
        }
    }

    /// A manifest, index or configuration, without having looked whether it is what it should be.
    fn fetch(
        &self,
        endpoint: &Endpoint,
        what: &str,
        path: &str,
        accept: &str,
    ) -> Result<Fetched, RegistryError> {
        let ask = Ask {
            what,
            path,
            accept,
            start: 0,
            small: true,
        };
        for number in 1.. {
            let response = get(&self.client, endpoint, ask)?;
            let media_type = header(&response, "content-type");
            let announced = header(&response, "docker-content-digest").parse().ok();
            match read_document(response) {
                Ok(bytes) => {
                    return Ok(Fetched {
                        bytes,
                        media_type,
                        announced,
                    });
                }
                Err(ureq::Error::BodyExceedsLimit(limit)) => {
                    return Err(RegistryError::TooLarge {
                        host: endpoint.authority.clone(),
                        what: what.to_owned(),
                        limit,
                    });
                }
                Err(error) if number >= endpoint.attempts || !is_worth_another_attempt(&error) => {
                    return Err(RegistryError::Transport {
                        action: format!("read {what} from"),
                        host: endpoint.authority.clone(),
                        hint: "",
                        source: Box::new(error),
                    });
                }
                Err(_) => thread::sleep(FIRST_PAUSE * number),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The document that a tag or digest names, and whether it is a manifest or an index.
    fn first_document(&self, endpoint: &Endpoint) -> Result<(Document, DocumentKind), SourceError> {
        let digest = self.reference.digest();
        let name = match (digest, self.reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or(crate::reference::DEFAULT_TAG).to_owned(),
        };
        let what = format!("manifest {name} of {}", self.reference.path());
        let path = format!("/v2/{}/manifests/{name}", self.reference.path());
        let fetched = self.fetch(endpoint, &what, &path, MANIFESTS)?;
        let (bytes, media_type) = (fetched.bytes, fetched.media_type);
        let actual = Digest::of(&bytes);
        // A tag says nothing of the bytes, but the server may.
        let announced = digest.or(fetched.announced.as_ref());
        if let Some(announced) = announced.filter(|digest| **digest != actual) {
            return Err(self.wrong_digest(&what, announced, &actual));
        }
        let kind = self.kind(&bytes, &media_type, &actual)?;
        Ok((
            Document {
                digest: actual,
                bytes,
            },
            kind,
        ))
    }

    /// What a document is: the registry says so, or where it does not, the document itself.
    fn kind(
        &self,
        bytes: &[u8],
        media_type: &str,
        digest: &Digest,
    ) -> Result<DocumentKind, SourceError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Own {
            media_type: Option<String>,
        }
        let own = || {
            serde_json::from_slice::<Own>(bytes)
                .ok()
                .and_then(|own| own.media_type)
        };
        let known = |text: &str| match MediaType::parse(text) {
            Some(MediaType::Document(kind)) => Some(kind),
            _ => None,
        };
        if let Some(kind) = known(media_type).or_else(|| known(&own()?)) {
            return Ok(kind);
        }
        Err(self.refused(if media_type.starts_with(SCHEMA_1) {
            ImageError::SchemaVersion {
                kind: "manifest",
                digest: digest.to_string(),
                version: 1,
            }
        } else {
            ImageError::MediaType {
                role: "manifest",
                digest: digest.clone(),
                media_type: printable(media_type, MAX_MESSAGE),
            }
        }))
    }

    /// The verified document that a descriptor points to.
    fn document(
        &self,
        endpoint: &Endpoint,
        kind: &'static str,
        descriptor: &Descriptor,
    ) -> Result<Document, SourceError> {
        check_document_size(kind, &descriptor.digest, descriptor.size)
            .map_err(|error| self.refused(error))?;
        let digest = &descriptor.digest;
        let folder = if kind == "configuration" {
            "blobs"
        } else {
            "manifests"
        };
        let path = format!("/v2/{}/{folder}/{digest}", self.reference.path());
        let what = format!("{kind} {digest}");
        let fetched = self.fetch(endpoint, &what, &path, &descriptor.media_type)?;
        let bytes = fetched.bytes;
        if bytes.len() as u64 != descriptor.size {
            return Err(SourceError::Size {
                origin: self.origin.clone(),
                name: what,
                announced: descriptor.size,
                actual: bytes.len() as u64,
            });
        }
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(self.wrong_digest(&what, digest, &actual));
        }
        Ok(Document {
            digest: actual,
            bytes,
        })
    }

    /// Follows indexes down to the manifest for a platform; also gives the digest of the first.
    fn manifest(
        &self,
        endpoint: &Endpoint,
        platform: &Platform,
    ) -> Result<(Document, Digest), SourceError> {
        let (mut document, mut kind) = self.first_document(endpoint)?;
        let first = document.digest.clone();
        for _ in 0..=MAX_INDEX_DEPTH {
            if kind == DocumentKind::Manifest {
                return Ok((document, first));
            }
            let name = document.digest.to_string();
            let descriptor = Index::parse(&name, &document.bytes)
                .and_then(|index| platform.select(&name, &index.manifests).cloned())
                .map_err(|error| self.refused(error))?;
            kind = descriptor
                .document_kind()
                .map_err(|error| self.refused(error))?;
            let role = if kind == DocumentKind::Manifest {
                "manifest"
            } else {
                "index"
            };
            document = self.document(endpoint, role, &descriptor)?;
        }
        Err(self.refused(ImageError::TooDeep {
            digest: document.digest,
        }))
    }

    fn image(&self, endpoint: &Endpoint, platform: &Platform) -> Result<SourceImage, SourceError> {
        let (document, first) = self.manifest(endpoint, platform)?;
        let manifest = Manifest::parse(&document.digest, &document.bytes)
            .map_err(|error| self.refused(error))?;
        let config = self.document(endpoint, "configuration", &manifest.config)?;
        let name = config.digest.to_string();
        let parsed =
            ImageConfig::parse(&name, &config.bytes).map_err(|error| self.refused(error))?;
        platform
            .check(&parsed)
            .map_err(|error| self.refused(error))?;
        let layers = super::pair_layers(&manifest, &parsed, &name, ToString::to_string)
            .map_err(|error| self.refused(error))?;
        let names = match self.reference.digest() {
            None => vec![self.reference.clone()],
            // As docker: what is asked for by digest gets no tag, which may mean another image now.
            Some(_) => Vec::new(),
        };
        Ok(SourceImage {
            names,
            repository_digest: Some(self.reference.with_digest(first)),
            manifest: Some(document),
            config: Some(Configuration {
                document: config,
                parsed,
            }),
            layers,
            created: None,
        })
    }

    fn refused(&self, source: ImageError) -> SourceError {
        SourceError::Image {
            origin: self.origin.clone(),
            source: Box::new(source),
        }
    }

    fn wrong_digest(&self, what: &str, announced: &Digest, actual: &Digest) -> SourceError {
        SourceError::Digest {
            origin: self.origin.clone(),
            name: what.to_owned(),
            announced: announced.to_string(),
            actual: actual.to_string(),
        }
    }
}

impl Source for Registry {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn images(&self, platform: &Platform) -> Result<Vec<SourceImage>, SourceError> {
        let mut result = Err(SourceError::Empty {
            origin: self.origin.clone(),
        });
        for number in self.endpoints.trusted() {
            let Some(endpoint) = self.endpoints.get(number) else {
                continue;
            };
            self.endpoints.choose(number);
            result = self.image(endpoint, platform).map(|image| vec![image]);
            if result.is_ok() {
                break;
            }
        }
        // The registry itself is the last, and what it says is what counts.
        result
    }

    fn open_layer(&self, layer: &SourceLayer) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        self.open_layer_from(layer, 0)
    }

    fn open_layer_from(
        &self,
        layer: &SourceLayer,
        start: u64,
    ) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        let (Some(digest), Some(size)) = (&layer.digest, layer.size) else {
            return Err(SourceError::Empty {
                origin: self.origin.clone(),
            });
        };
        Ok(Box::new(Blob::open(self, digest, size, start)?))
    }

    fn distrust(&self, layer: &SourceLayer) -> bool {
        let digest = layer.digest.as_ref();
        digest.is_some_and(|digest| self.endpoints.distrust(digest))
    }

    fn distrust_all(&self) -> bool {
        self.endpoints.distrust_all()
    }
}

/// Checks a name and a password, or whatever is known of the registry, by asking it for nothing.
///
/// # Errors
/// [`RegistryError::Denied`] when they are wrong, and what keeps the registry from being asked.
pub fn check_login(
    domain: &str,
    settings: Settings,
    credential: Option<Credential>,
) -> Result<(), RegistryError> {
    let mut endpoint = Endpoint::of_domain(&settings, domain, "");
    endpoint.given = credential;
    let ask = Ask {
        what: "its interface",
        path: "/v2/",
        accept: "application/json",
        start: 0,
        small: true,
    };
    get(&Client::new(settings), &endpoint, ask).map(drop)
}

/// A document as it came.
struct Fetched {
    bytes: Vec<u8>,
    media_type: String,
    /// The digest that the server says it has.
    announced: Option<Digest>,
}

fn header(response: &Response<Body>, name: &str) -> String {
    let value = response.headers().get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn read_document(mut response: Response<Body>) -> Result<Vec<u8>, ureq::Error> {
    // One byte more, so that a document of just the limit is none too many.
    let body = response.body_mut().with_config().limit(MAX_DOCUMENT + 1);
    let mut bytes = Vec::new();
    match body.reader().read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 <= MAX_DOCUMENT => Ok(bytes),
        Ok(_) => Err(ureq::Error::BodyExceedsLimit(MAX_DOCUMENT)),
        Err(error) => Err(match into_cause(error).downcast::<ureq::Error>() {
            Ok(error) => *error,
            Err(error) => match error.downcast::<std::io::Error>() {
                Ok(error) => ureq::Error::Io(*error),
                Err(error) => ureq::Error::Other(error),
            },
        }),
    }
}

/// The first line of a text with nothing in it that a terminal would obey.
pub(super) fn printable(text: &str, most: usize) -> String {
    let clean = text.trim().chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    clean.take(most).collect()
}
