//! Saving: images as an archive or a directory that docker, podman and skopeo read back.
//!
//! What `docker save` writes since version 25 is both: an OCI image layout, and `manifest.json` for
//! readers of the older form. Layers are plain tar archives, whose digests are their diff IDs, so
//! that an image keeps its configuration and its ID; its manifest is a new one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::hold::Held;
use super::index::Index;
use super::record::Record;
use super::{Store, StoreError, beside, find, io_error};
use crate::digest::Digest;
use crate::image::manifest::{CONTAINERD_NAME, REF_NAME};
use crate::layer::Compression;
use crate::rebuild::Rebuilt;
use crate::reference::Reference;
use crate::source::spool::compression_of;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Takes the files of a saved image.
pub trait Sink {
    /// A directory, always before what is in it.
    ///
    /// # Errors
    /// Those of writing.
    fn directory(&mut self, name: &str) -> io::Result<()>;

    /// A file of so many bytes.
    ///
    /// # Errors
    /// Those of writing, and of the reader.
    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()>;
}

/// A layer that is going to be saved.
struct Blob {
    digest: Digest,
    size: u64,
    media_type: String,
    from: From,
}

enum From {
    /// The archive, from this recipe and this image.
    Recipe(File, File),
    /// What came.
    Blob(File),
}

/// What is needed of one image.
struct Saved {
    names: Vec<Reference>,
    config: (Digest, Vec<u8>),
    layers: Vec<Blob>,
    manifest: Vec<u8>,
    /// Keeps the layers until they are written.
    _held: Vec<Held>,
}

impl Store {
    /// Writes images, each under the name by which it was asked for, or by the name of a repository alone all that this
    /// has; `with_docker` adds `manifest.json`.
    ///
    /// # Errors
    /// Those of [`Self::resolve`]; [`StoreError::NotSavable`] for a layer whose archive cannot be
    /// put together again; [`StoreError::Save`] of writing.
    pub fn save(
        &self,
        names: &[String],
        with_docker: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), StoreError> {
        let images: Vec<Saved> = self
            .asked_for(names)?
            .into_iter()
            .map(|(id, names)| self.prepare(id, names))
            .collect::<Result<_, _>>()?;
        let failed = |source| StoreError::Save { source };
        let text = |sink: &mut dyn Sink, name: &str, value: &Value| {
            let bytes = value.to_string().into_bytes();
            sink.file(name, bytes.len() as u64, &mut bytes.as_slice())
                .map_err(failed)
        };
        sink.directory("blobs").map_err(failed)?;
        sink.directory("blobs/sha256").map_err(failed)?;
        let mut written = BTreeSet::new();
        let mut entries = Vec::new();
        let mut docker = Vec::new();
        for mut image in images {
            let manifest = Digest::of(&image.manifest);
            entries.extend(index_entries(&image, &manifest));
            docker.push(docker_entry(&image));
            for layer in &mut image.layers {
                if written.insert(layer.digest.clone()) {
                    layer.write(sink)?;
                }
            }
            for (digest, bytes) in [
                (&image.config.0, &image.config.1),
                (&manifest, &image.manifest),
            ] {
                if written.insert(digest.clone()) {
                    let size = bytes.len() as u64;
                    sink.file(&blob_name(digest), size, &mut bytes.as_slice())
                        .map_err(failed)?;
                }
            }
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        text(sink, "index.json", &index)?;
        if with_docker {
            text(sink, "manifest.json", &Value::from(docker))?;
        }
        text(
            sink,
            "oci-layout",
            &json!({ "imageLayoutVersion": "1.0.0" }),
        )
    }

    /// The images that names mean, each once, and the names that they get.
    fn asked_for(&self, names: &[String]) -> Result<Vec<(Digest, Vec<Reference>)>, StoreError> {
        let index = self.read_index()?;
        let mut images: Vec<(Digest, Vec<Reference>)> = Vec::new();
        let mut add = |id: Digest, names: Vec<Reference>| {
            let known = images.iter().position(|(known, _)| *known == id);
            let number = known.unwrap_or(images.len());
            if known.is_none() {
                images.push((id, Vec::new()));
            }
            for name in names {
                let own = &mut images[number].1;
                if !own.contains(&name) {
                    own.push(name);
                }
            }
        };
        for name in names {
            let all = of_repository(&index, name);
            if all.is_empty() {
                let (id, reference) = find(&index, name)?;
                let tagged = reference.filter(|name| name.digest().is_none());
                add(id, tagged.into_iter().collect());
            }
            for (id, name) in all {
                add(id, vec![name]);
            }
        }
        Ok(images)
    }

    fn prepare(&self, id: Digest, names: Vec<Reference>) -> Result<Saved, StoreError> {
        let record = Record::read(&self.record_path(&id))?;
        let held = record
            .layers
            .iter()
            .map(|layer| {
                self.hold_layer(&layer.diff_id)?
                    .ok_or_else(|| StoreError::Missing(self.layer_path(&layer.diff_id)))
            })
            .collect::<Result<_, _>>()?;
        let path = self.blob_path(&id);
        let config = fs::read(&path).map_err(io_error("read", &path))?;
        let layers: Vec<Blob> = record
            .layers
            .iter()
            .map(|layer| self.layer_blob(&layer.diff_id))
            .collect::<Result<_, _>>()?;
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| {
                json!({
                    "mediaType": layer.media_type,
                    "digest": layer.digest.to_string(),
                    "size": layer.size,
                })
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": id.to_string(), "size": config.len() },
            "layers": descriptors,
        });
        Ok(Saved {
            names,
            config: (id, config),
            layers,
            manifest: manifest.to_string().into_bytes(),
            _held: held,
        })
    }

    fn layer_blob(&self, diff_id: &Digest) -> Result<Blob, StoreError> {
        let path = self.layer_path(diff_id);
        let open = |path: &Path| match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", path)(error)),
        };
        let recipe_path = path.with_extension(beside::RECIPE);
        if let Some(recipe) = open(&recipe_path)? {
            let image = open(&path)?.ok_or_else(|| StoreError::Missing(path.clone()))?;
            let copy = recipe.try_clone().map_err(io_error("read", &recipe_path))?;
            let size = Rebuilt::length(copy).map_err(io_error("read", &recipe_path))?;
            return Ok(Blob {
                digest: diff_id.clone(),
                size,
                media_type: LAYER.to_owned(),
                from: From::Recipe(recipe, image),
            });
        }
        let blob_path = path.with_extension(beside::BLOB);
        let Some(blob) = open(&blob_path)? else {
            return Err(StoreError::NotSavable(diff_id.clone()));
        };
        as_it_came(blob).map_err(io_error("read", &blob_path))
    }
}

/// All tags of a repository, where a text is the name of one without tag and digest.
fn of_repository(index: &Index, name: &str) -> Vec<(Digest, Reference)> {
    let Ok(asked) = name.parse::<Reference>() else {
        return Vec::new();
    };
    if asked.tag().is_some() || asked.digest().is_some() {
        return Vec::new();
    }
    let tags = index.images.iter().flat_map(|(id, entry)| {
        let names = entry.names.iter();
        names.filter_map(move |name| Some((id.clone(), name.parse::<Reference>().ok()?)))
    });
    let mut tags: Vec<(Digest, Reference)> = tags
        .filter(|(_, name)| name.name() == asked.name())
        .collect();
    tags.sort_by(|one, other| one.1.cmp(&other.1));
    tags
}

/// A layer whose blob is there.
fn as_it_came(blob: File) -> io::Result<Blob> {
    let mut hasher = Hashing::new(&blob);
    let mut start = [0; 4];
    hasher.read_exact(&mut start)?;
    let size = start.len() as u64 + io::copy(&mut hasher, &mut io::sink())?;
    let digest = hasher.digest();
    let suffix = match compression_of(&start) {
        // What is packed otherwise was unpacked before it was kept.
        Compression::None | Compression::Bzip2 | Compression::Xz => "",
        Compression::Gzip => "+gzip",
        Compression::Zstd => "+zstd",
    };
    io::Seek::rewind(&mut &blob)?;
    Ok(Blob {
        digest,
        size,
        media_type: format!("{LAYER}{suffix}"),
        from: From::Blob(blob),
    })
}

impl Blob {
    /// Writes it, and compares what was written with its digest.
    fn write(&mut self, sink: &mut dyn Sink) -> Result<(), StoreError> {
        let failed = |source| StoreError::Save { source };
        let name = blob_name(&self.digest);
        let actual = match &mut self.from {
            From::Recipe(recipe, image) => {
                io::Seek::rewind(recipe).map_err(failed)?;
                let recipe = recipe.try_clone().map_err(failed)?;
                let rebuilt = Rebuilt::new(recipe, image).map_err(failed)?;
                let mut content = Hashing::new(rebuilt);
                sink.file(&name, self.size, &mut content).map_err(failed)?;
                content.digest()
            }
            From::Blob(blob) => {
                let mut content = Hashing::new(blob);
                sink.file(&name, self.size, &mut content).map_err(failed)?;
                content.digest()
            }
        };
        if actual == self.digest {
            return Ok(());
        }
        Err(StoreError::SavedDamaged {
            expected: self.digest.clone(),
            actual,
        })
    }
}

/// Hashes what passes through it.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        let hasher = Sha256::new();
        Self { inner, hasher }
    }

    fn digest(self) -> Digest {
        Digest::from_sha256(self.hasher.finalize().into())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// One entry for each name, or one without.
fn index_entries(image: &Saved, manifest: &Digest) -> Vec<Value> {
    let entry = |annotations: Option<Value>| {
        let mut entry = json!({
            "mediaType": MANIFEST,
            "digest": manifest.to_string(),
            "size": image.manifest.len(),
        });
        if let (Some(annotations), Some(object)) = (annotations, entry.as_object_mut()) {
            object.insert("annotations".to_owned(), annotations);
        }
        entry
    };
    if image.names.is_empty() {
        return vec![entry(None)];
    }
    let named = |name: &Reference| {
        entry(Some(json!({
            CONTAINERD_NAME: name.to_string(),
            REF_NAME: name.tag().unwrap_or_default(),
        })))
    };
    image.names.iter().map(named).collect()
}

fn docker_entry(image: &Saved) -> Value {
    let tags: Vec<String> = image.names.iter().map(Reference::familiar).collect();
    let layers: Vec<String> = image
        .layers
        .iter()
        .map(|layer| blob_name(&layer.digest))
        .collect();
    json!({ "Config": blob_name(&image.config.0), "RepoTags": tags, "Layers": layers })
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A tar archive.
pub struct Archive<W: io::Write>(tar::Builder<W>);

impl<W: io::Write> Archive<W> {
    /// One that is written to `output`.
    pub fn new(output: W) -> Self {
        Self(tar::Builder::new(output))
    }

    /// Writes the end.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(self) -> io::Result<W> {
        self.0.into_inner()
    }

    fn header(size: u64, mode: u32, kind: tar::EntryType) -> tar::Header {
        // The same image is always the same archive: no times, no owners.
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(mode);
        header.set_entry_type(kind);
        header
    }
}

impl<W: io::Write> Sink for Archive<W> {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        let mut header = Self::header(0, 0o755, tar::EntryType::Directory);
        self.0
            .append_data(&mut header, format!("{name}/"), io::empty())
    }

    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut header = Self::header(size, 0o644, tar::EntryType::Regular);
        self.0.append_data(&mut header, name, content)
    }
}

/// A directory.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new one.
    ///
    /// # Errors
    /// When it cannot be made, or something is there already.
    pub fn create(path: &Path) -> io::Result<Self> {
        fs::create_dir(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Sink for Directory {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        fs::create_dir(self.0.join(name))
    }

    fn file(&mut self, name: &str, _size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut file = File::create_new(self.0.join(name))?;
        io::copy(content, &mut file).map(drop)
    }
}
