//! Small images made in memory, and a look at the whole store.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use images::digest::Digest;
use images::image::Platform;
use images::source::{Input, Source};
use images::store::{Loaded, Silent, Store, StoreError};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A store in a directory of its own, for guests of linux/amd64 wherever the test runs.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = open(&directory.path().join("store"));
        Self { directory, store }
    }

    /// A store that has one image already, so that a failed load has something to spoil.
    pub(crate) fn with_image() -> Self {
        let place = Self::new();
        let image = Image::new("kept", &[("kept", "kept")]);
        place.load_bytes(&image.oci_tar()).expect("a good image");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        path
    }

    pub(crate) fn load_bytes(&self, bytes: &[u8]) -> Result<Vec<Loaded>, StoreError> {
        self.load_path(&self.write("input", bytes))
    }

    pub(crate) fn load_path(&self, path: &Path) -> Result<Vec<Loaded>, StoreError> {
        self.load_as(path, None)
    }

    pub(crate) fn load_as(
        &self,
        path: &Path,
        name: Option<&str>,
    ) -> Result<Vec<Loaded>, StoreError> {
        let source: Box<dyn Source> = self.store.open_source(Input::Path(path))?;
        let name = name.map(|name| name.parse().expect("a name"));
        self.store.load(&*source, name.as_ref(), &Silent)
    }

    /// The errors' messages of a load that must fail and leave the store as it was.
    pub(crate) fn refused(&self, bytes: &[u8]) -> String {
        let path = self.write("input", bytes);
        self.refused_path(&path)
    }

    pub(crate) fn refused_path(&self, path: &Path) -> String {
        let before = tree(self.store.root());
        let error = self.load_path(path).expect_err("a refusal");
        assert_eq!(tree(self.store.root()), before, "{}", messages(&error));
        messages(&error)
    }
}

pub(crate) fn open(root: &Path) -> Store {
    let platform = Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: None,
    };
    Store::open(root).expect("a store").for_platform(platform)
}

/// An error and its causes.
pub(crate) fn messages(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Every file below a directory with its content, every directory with nothing.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                found.insert(path.clone(), None);
                open.push(path);
            } else {
                found.insert(path.clone(), Some(fs::read(&path).expect("a file")));
            }
        }
    }
    found
}

/// A tar archive of files with parent directories.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut archive, name, content);
    }
    archive.into_inner().expect("an archive in memory")
}

/// Appends a file whose name may be one that the library refuses to write.
pub(crate) fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive
        .append(&header, content)
        .expect("an archive in memory");
}

/// Appends a link.
pub(crate) fn append_link(
    archive: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    at: &str,
    to: &str,
) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o777);
    archive
        .append_link(&mut header, at, to)
        .expect("an archive in memory");
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// An image whose parts a test may spoil before it is written.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) config: Value,
    pub(crate) manifest: Value,
    pub(crate) index: Value,
    /// Uncompressed layers.
    pub(crate) layers: Vec<Vec<u8>>,
    /// Blobs by digest; [`Self::seal`] adds the documents.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// An image with a layer for each file.
    pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let layers = files
            .iter()
            .map(|(path, text)| tar_of(&[(path, text.as_bytes())]))
            .collect();
        Self::of_layers(name, layers)
    }

    pub(crate) fn of_layers(name: &str, layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| Digest::of(layer).to_string())
            .collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": { "Cmd": ["sh"], "Env": ["A=1"], "Labels": { "name": name } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": diff_ids.iter().map(|id| json!({"created_by": id})).collect::<Vec<_>>(),
        });
        let mut blobs = BTreeMap::new();
        let mut descriptors = Vec::new();
        for layer in &layers {
            let compressed = gzip(layer);
            descriptors.push(descriptor(&format!("{TAR}+gzip"), &compressed));
            blobs.insert(Digest::of(&compressed).to_string(), compressed);
        }
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors });
        let index = json!({ "schemaVersion": 2 });
        Self {
            name: name.to_owned(),
            config,
            manifest,
            index,
            layers,
            blobs,
        }
    }

    /// ID of the image: digest of its configuration.
    pub(crate) fn id(&self) -> String {
        Digest::of(self.config.to_string().as_bytes()).to_string()
    }

    pub(crate) fn add_blob(&mut self, bytes: &[u8]) {
        self.blobs
            .insert(Digest::of(bytes).to_string(), bytes.to_vec());
    }

    /// Makes the documents agree with each other, where a test has not set them itself.
    pub(crate) fn seal(&mut self) -> &mut Self {
        let config = self.config.to_string().into_bytes();
        if self.manifest["config"].is_null() {
            self.manifest["config"] = descriptor(CONFIG, &config);
        }
        self.add_blob(&config);
        let manifest = self.manifest.to_string().into_bytes();
        if self.index["manifests"].is_null() {
            let mut descriptor = descriptor(MANIFEST, &manifest);
            descriptor["annotations"] = json!({ "io.containerd.image.name": self.name });
            self.index["manifests"] = json!([descriptor]);
        }
        self.add_blob(&manifest);
        self
    }

    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), self.index.to_string().into_bytes()),
        ];
        for (digest, bytes) in &self.blobs {
            files.push((format!("blobs/{}", digest.replace(':', "/")), bytes.clone()));
        }
        files
    }

    pub(crate) fn oci_tar(&self) -> Vec<u8> {
        let mut image = self.clone();
        image.seal();
        let files = image.files();
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        tar_of(&files)
    }

    pub(crate) fn write_oci_directory(&self, directory: &Path) {
        let mut image = self.clone();
        image.seal();
        for (name, bytes) in image.files() {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, bytes).expect("a file");
        }
    }

    /// As docker before 25 wrote it; every second layer is a link to the first's place.
    pub(crate) fn docker_tar(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let config = self.config.to_string();
        let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
        append(&mut archive, &config_name, config.as_bytes());
        let mut names = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = format!("{number}/layer.tar");
            let place = format!("store{number}/layer.tar");
            append(&mut archive, &place, layer);
            append_link(
                &mut archive,
                tar::EntryType::Symlink,
                &name,
                &format!("../{place}"),
            );
            names.push(name);
        }
        let manifest = json!([{ "Config": config_name, "RepoTags": [self.name], "Layers": names }]);
        append(
            &mut archive,
            "manifest.json",
            manifest.to_string().as_bytes(),
        );
        archive.into_inner().expect("an archive in memory")
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes).to_string();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}
