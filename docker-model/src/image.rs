//! Images: [`inspect`], [`list`] and [`history`] make docker's answers from what is [known](Image) of one.

use std::collections::BTreeMap;

use images::{
    digest::Digest,
    reference::Reference,
    store::{Inspected, InspectedLayer},
};
use serde::Serialize;

use crate::{
    container::{Config, GraphDriver},
    time::{self, SECOND},
};

/// What is known of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// `sha256:…`
    pub id: String,
    /// Its names with tags, in the familiar form.
    pub tags: Vec<String>,
    /// Its names with digests, in the familiar form.
    pub digests: Vec<String>,
    /// The image that it was built on, where it was built here.
    pub parent: String,
    /// Comment.
    pub comment: String,
    /// RFC 3339; empty when unknown.
    pub created: String,
    /// Version of the docker that built it.
    pub docker_version: String,
    /// Who made it.
    pub author: String,
    /// How its containers are run.
    pub config: Config,
    /// In Go's names.
    pub architecture: String,
    /// Of the architecture.
    pub variant: String,
    /// In Go's names.
    pub os: String,
    /// Bytes.
    pub size: u64,
    /// Diff IDs, lowest first.
    pub layers: Vec<String>,
    /// When it came, RFC 3339; empty when unknown.
    pub tagged: String,
    /// What only Coracle knows.
    pub coracle: Coracle,
}

impl From<&Inspected> for Image {
    fn from(image: &Inspected) -> Self {
        let familiar = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
        let document = &image.config;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let diff_ids = document.rootfs.diff_ids.iter();
        Self {
            id: image.id.to_string(),
            tags: familiar(&image.names),
            digests: familiar(&image.digests),
            parent: String::new(),
            comment: text(&document.comment),
            created: image.created.clone(),
            docker_version: text(&document.docker_version),
            author: text(&document.author),
            config: Config::from(&document.config),
            architecture: image.platform.architecture.clone(),
            variant: text(&image.platform.variant),
            os: image.platform.os.clone(),
            size: image.size,
            layers: diff_ids.map(ToString::to_string).collect(),
            tagged: image.stored.map_or_else(String::new, time::rfc3339_of),
            coracle: Coracle {
                manifest: image.manifest.as_ref().map(ToString::to_string),
                layers: image.layers.iter().map(Layer::from).collect(),
            },
        }
    }
}

impl From<&InspectedLayer> for Layer {
    fn from(layer: &InspectedLayer) -> Self {
        let text = |digest: &Option<Digest>| digest.as_ref().map(ToString::to_string);
        Self {
            digest: text(&layer.blob),
            diff_id: layer.diff_id.to_string(),
            chain_id: text(&layer.chain_id),
            root_hash: text(&layer.root_hash),
            hash_offset: layer.hash_offset,
            path: layer.path.display().to_string(),
            size: layer.size,
        }
    }
}

/// What only Coracle knows of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Coracle {
    /// Digest of its manifest.
    pub manifest: Option<String>,
    /// Its layers, lowest first: from the manifest to what is mounted, each link by its digest.
    pub layers: Vec<Layer>,
}

/// A layer of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Layer {
    /// Of the blob in the manifest.
    pub digest: Option<String>,
    /// Of what it unpacks to.
    pub diff_id: String,
    /// Where it was joined with those below it: of all of them.
    pub chain_id: Option<String>,
    /// That its file is checked against.
    pub root_hash: Option<String>,
    /// Where the hashes begin in the file, in bytes; unknown of what an earlier version stored.
    pub hash_offset: Option<u64>,
    /// Its file.
    pub path: String,
    /// Bytes of its file.
    pub size: u64,
}

/// Docker's answer of an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// `sha256:…`
    pub id: String,
    /// Its names with tags.
    pub repo_tags: Vec<String>,
    /// Its names with digests.
    pub repo_digests: Vec<String>,
    /// The image that it was built on.
    pub parent: String,
    /// Comment.
    pub comment: String,
    /// RFC 3339.
    pub created: String,
    /// Version of the docker that built it.
    pub docker_version: String,
    /// Who made it.
    pub author: String,
    /// How its containers are run.
    pub config: Config,
    /// In Go's names.
    pub architecture: String,
    /// Of the architecture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// In Go's names.
    pub os: String,
    /// Bytes.
    pub size: u64,
    /// Where its layers are.
    pub graph_driver: GraphDriver,
    /// What its layers unpack to.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// What is known of it here only.
    pub metadata: Metadata,
    /// What only Coracle knows.
    pub coracle: Coracle,
}

/// What layers unpack to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Diff IDs, lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What is known of an image here only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    /// RFC 3339.
    pub last_tag_time: String,
}

/// Docker's answer to `inspect` of an image.
#[must_use]
pub fn inspect(image: &Image) -> Inspect {
    let or_never = |text: &str| match text {
        "" => time::NEVER.into(),
        text => text.into(),
    };
    Inspect {
        id: image.id.clone(),
        repo_tags: image.tags.clone(),
        repo_digests: image.digests.clone(),
        parent: image.parent.clone(),
        comment: image.comment.clone(),
        created: or_never(&image.created),
        docker_version: image.docker_version.clone(),
        author: image.author.clone(),
        config: image.config.clone(),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
        os: image.os.clone(),
        size: image.size,
        graph_driver: GraphDriver::default(),
        root_fs: RootFs {
            kind: "layers",
            layers: image.layers.clone(),
        },
        metadata: Metadata {
            last_tag_time: or_never(&image.tagged),
        },
        coracle: image.coracle.clone(),
    }
}

/// What a list needs of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// `sha256:…`
    pub id: String,
    /// Its names with tags, in the familiar form.
    pub tags: Vec<String>,
    /// Its names with digests, in the familiar form.
    pub digests: Vec<String>,
    /// RFC 3339; empty when unknown.
    pub created: String,
    /// Bytes.
    pub size: u64,
    /// Labels; nothing where the image has none, or they were not looked up.
    pub labels: Option<BTreeMap<String, String>>,
    /// Bytes that other images have, too, where they were counted.
    pub shared: Option<u64>,
    /// Containers of it, where they were counted.
    pub containers: Option<u64>,
}

impl From<&images::store::Listed> for Summary {
    fn from(image: &images::store::Listed) -> Self {
        let familiar = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
        Self {
            id: image.id.to_string(),
            tags: familiar(&image.names),
            digests: familiar(&image.digests),
            created: image.created.clone(),
            size: image.size,
            labels: None,
            shared: None,
            containers: None,
        }
    }
}

/// A row of docker's list of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// Containers of it; -1 where they were not counted.
    pub containers: i64,
    /// Seconds since 1970.
    pub created: i64,
    /// `sha256:…`
    pub id: String,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The image that it was built on.
    pub parent_id: String,
    /// Its names with digests.
    pub repo_digests: Vec<String>,
    /// Its names with tags.
    pub repo_tags: Vec<String>,
    /// Bytes that other images have, too; -1 where they were not counted.
    pub shared_size: i64,
    /// Bytes.
    pub size: u64,
}

/// Docker's row of an image.
#[must_use]
pub fn list(image: &Summary) -> Listed {
    let counted =
        |count: Option<u64>| count.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
    Listed {
        containers: counted(image.containers),
        created: seconds(&image.created),
        id: image.id.clone(),
        labels: image.labels.clone(),
        parent_id: String::new(),
        repo_digests: image.digests.clone(),
        repo_tags: image.tags.clone(),
        shared_size: counted(image.shared),
        size: image.size,
    }
}

/// Seconds of Go's zero time, which docker writes where an image does not say when it was made.
const ZERO_TIME: i64 = -62_135_596_800;

fn seconds(created: &str) -> i64 {
    let known = time::nanoseconds(created).map(|time| time / SECOND);
    known
        .and_then(|time| i64::try_from(time).ok())
        .unwrap_or(ZERO_TIME)
}

/// A step in the making of an image, as docker lists it, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Step {
    /// Comment.
    pub comment: String,
    /// Seconds since 1970.
    pub created: i64,
    /// By which command.
    pub created_by: String,
    /// The image's ID, or `<missing>`.
    pub id: String,
    /// Bytes of the layer that it made, 0 for none.
    pub size: u64,
    /// Names of the image.
    pub tags: Option<Vec<String>>,
}

/// Word of docker for the ID of a step that is no image.
pub const MISSING: &str = "<missing>";

/// Docker's row of a step: `id` and `tags` are the image's for the newest step, and nothing for the others.
#[must_use]
pub fn history(
    id: Option<&str>,
    tags: &[String],
    created: &str,
    created_by: &str,
    comment: &str,
    size: u64,
) -> Step {
    Step {
        comment: comment.into(),
        created: seconds(created),
        created_by: created_by.into(),
        id: id.unwrap_or(MISSING).into(),
        size,
        tags: (id.is_some() && !tags.is_empty()).then(|| tags.to_vec()),
    }
}

#[cfg(test)]
mod tests;
