//! The image store: a directory that any number of processes use at once.
//!
//! ```text
//! index.json                        names and IDs of all images
//! images/sha256-<id>.json           what running one image needs
//! blobs/sha256/<hex>                configurations and manifests as they came
//! layers/sha256-<hex>/layer.erofs   layers by diff ID, shared by all images: a file system, and
//!                                   behind it the tree of its blocks' hashes; those of `join` by
//!                                   chain ID
//! layers/sha256-<hex>/layer.root    root hash of that tree, and bytes of the file system
//! layers/sha256-<hex>/layer.recipe  how to put the layer's archive together from it (`rebuild`),
//!                    layer.blob     or, where that cannot be, the archive as it came
//! partial/sha256-<hex>              downloads under way or broken off, by the layer's digest
//! tmp/                              what is being made; see `scratch`
//! lock, tmp.lock                    taken for changes, and for making a directory in tmp
//! ```
//!
//! Readers of documents take no lock: each file is replaced as a whole. Whoever uses a layer holds
//! a shared lock on its file, and a layer that someone holds is not swept away (see `hold`). A change holds `lock` and moves finished
//! files into place before it replaces `index.json`; what no entry of that list refers to does not
//! exist, and is swept away by the next load or removal.

mod convert;
mod error;
mod hold;
mod index;
mod inspect;
mod join;
mod load;
mod partial;
mod progress;
mod prune;
mod pull;
mod record;
mod remove;
mod save;
mod scratch;
mod verify;
mod write_back;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use error::StoreError;
pub use hold::Held;
pub use inspect::{HistoryEntry, Inspected, InspectedLayer};
pub use load::Loaded;
pub use progress::{Event, Progress, Silent};
pub use prune::{ImageUsage, Pruned, Usage};
pub use record::{Image, LayerFile, Verity};
pub use remove::Removed;
pub use save::{Archive, Directory, Sink};
pub use verify::Verified;

use index::Index;
use record::{Noted, Record};

use crate::digest::Digest;
use crate::image::Platform;
use crate::reference::{Reference, is_lower_hexadecimal};
use crate::source::{self, Input, Source};

/// Digits of an ID in lists.
const SHORT_ID: usize = 12;

/// Algorithms of digests (image specification, "Registered algorithms").
const ALGORITHMS: [&str; 2] = ["sha256", "sha512"];

/// Name of a layer's file system in its directory.
const LAYER_FILE: &str = "layer.erofs";

/// Extensions of what lies beside a layer's file system.
mod beside {
    pub(super) const ROOT: &str = "root";
    pub(super) const RECIPE: &str = "recipe";
    pub(super) const BLOB: &str = "blob";
    pub(super) const ALL: [&str; 3] = [ROOT, RECIPE, BLOB];
}

/// A directory of images.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    platform: Platform,
}

/// An image in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Digest of its configuration.
    pub id: Digest,
    /// Its names with tags; none for an image whose name went to another one.
    pub names: Vec<Reference>,
    /// Its names with the manifest's digest.
    pub digests: Vec<Reference>,
    /// When it was made, RFC 3339; empty when unknown.
    pub created: String,
    /// Bytes of its layers on the disk, those that it shares included.
    pub size: u64,
}

impl Store {
    /// The store in this directory, which is made with the first load.
    ///
    /// # Errors
    /// [`StoreError::NotADirectory`].
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        match fs::metadata(root) {
            Ok(metadata) if !metadata.is_dir() => Err(StoreError::NotADirectory(root.to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("read", root)(error))
            }
            _ => Ok(Self {
                root: root.to_owned(),
                platform: Platform::of_this_machine(),
            }),
        }
    }

    /// The same store, for guests of another platform than this machine's.
    #[must_use]
    pub fn for_platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Directory of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a source of images. A stream or a compressed archive is unpacked into a temporary
    /// file in the store.
    ///
    /// # Errors
    /// [`StoreError::Source`], [`StoreError::NoSpace`], [`StoreError::Io`].
    pub fn open_source(&self, input: Input<'_>) -> Result<Box<dyn Source>, StoreError> {
        self.make_directories()?;
        source::open(input, &self.tmp()).map_err(|error| self.explain(error.into(), None))
    }

    /// Finds an image by name (`busybox`, `busybox:1.36`, `name@sha256:…`), by ID (`sha256:…`), or
    /// by the first digits of its ID.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`], [`StoreError::Name`], and those of
    /// reading the store.
    pub fn resolve(&self, name: &str) -> Result<Image, StoreError> {
        let index = self.read_index()?;
        let (id, reference) = find(&index, name)?;
        let record = Record::read(&self.record_path(&id))?;
        let first = || index.images.get(&id)?.names.first()?.parse().ok();
        let reference = reference.or_else(first);
        let layers = record
            .layers
            .iter()
            .map(|layer| {
                let used = layer.used();
                LayerFile {
                    path: self.layer_path(&used.diff_id),
                    verity: used.noted().and_then(Noted::verity),
                    size: used.size,
                    diff_id: layer.diff_id.clone(),
                }
            })
            .collect();
        Ok(Image {
            id,
            reference,
            manifest: record.manifest,
            platform: record.platform,
            created: record.created,
            config: record.config,
            layers,
        })
    }

    /// All images, the newest first.
    ///
    /// # Errors
    /// Those of reading the store.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let parse = |names: &[String]| -> Vec<Reference> {
            names.iter().filter_map(|name| name.parse().ok()).collect()
        };
        let mut images: Vec<Listed> = self
            .read_index()?
            .images
            .into_iter()
            .map(|(id, entry)| Listed {
                id,
                names: parse(&entry.names),
                digests: parse(&entry.digests),
                created: entry.created,
                size: entry.size,
            })
            .collect();
        images.sort_by(|a, b| {
            b.created
                .cmp(&a.created)
                .then_with(|| a.names.cmp(&b.names))
        });
        Ok(images)
    }

    /// Gives an image one more name, which another image loses if it had it. Returns the image's
    /// ID.
    ///
    /// # Errors
    /// Those of [`Self::resolve`], [`StoreError::DigestAsTag`], and those of writing the store.
    pub fn tag(&self, image: &str, new: &Reference) -> Result<Digest, StoreError> {
        check_new_name(new)?;
        let new = new.clone().with_default_tag().to_string();
        self.change(|index| {
            let (id, _) = find(index, image)?;
            index.take_name(&new);
            if let Some(entry) = index.images.get_mut(&id) {
                entry.names.push(new);
            }
            Ok(id)
        })
    }

    fn read_index(&self) -> Result<Index, StoreError> {
        Index::read(&self.index_path())
    }

    /// Changes the list of images under the lock.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Index) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _guard = self.lock()?;
        let mut index = self.read_index()?;
        let result = change(&mut index)?;
        self.write_index(&index)?;
        Ok(result)
    }

    fn write_index(&self, index: &Index) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(index).expect("an index has only string keys");
        index::write_file(&self.index_path(), &bytes)
    }

    fn lock(&self) -> Result<File, StoreError> {
        self.make_directories()?;
        open_lock(&self.root.join("lock"))
    }

    fn make_directories(&self) -> Result<(), StoreError> {
        let all = [
            self.images(),
            self.blobs(),
            self.layers(),
            self.partial(),
            self.tmp(),
        ];
        for path in all {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(io_error("create", &path))?;
        }
        Ok(())
    }

    /// Says of an error for want of space how much there is, and how many bytes are needed where
    /// that is known.
    fn explain(&self, error: StoreError, needed: Option<u64>) -> StoreError {
        if !error.is_out_of_space() {
            return error;
        }
        let free = rustix::fs::statvfs(&self.root)
            .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize) >> 20);
        StoreError::NoSpace {
            root: self.root.clone(),
            free,
            needed: needed.map_or_else(String::new, |bytes| {
                format!("; about {} MiB are needed", bytes.div_ceil(1 << 20))
            }),
            source: Box::new(error),
        }
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn record_path(&self, id: &Digest) -> PathBuf {
        self.images().join(format!("{}.json", file_name(id)))
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(file_name(diff_id)).join(LAYER_FILE)
    }
}

/// Refuses a name that no image can be given: one with a digest, and one that could be read as a digest, as
/// `sha256:<64 digits>`.
fn check_new_name(name: &Reference) -> Result<(), StoreError> {
    if name.digest().is_some() {
        return Err(StoreError::DigestAsTag(name.familiar()));
    }
    if ALGORITHMS.contains(&name.familiar_name().as_str()) {
        return Err(StoreError::AlgorithmAsName(name.familiar()));
    }
    Ok(())
}

/// The image that a name or ID means, and the name by which it was found.
fn find(index: &Index, name: &str) -> Result<(Digest, Option<Reference>), StoreError> {
    let parsed = name.parse::<Reference>().map(Reference::with_default_tag);
    if let Ok(reference) = &parsed {
        let whole = match reference.digest() {
            Some(digest) => reference.with_digest(digest.clone()).to_string(),
            None => reference.to_string(),
        };
        if let Some(id) = index.by_name(&whole) {
            return Ok((id.clone(), Some(reference.clone())));
        }
    }
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    if !prefix.is_empty() && is_lower_hexadecimal(prefix) {
        let mut found = index
            .images
            .keys()
            .filter(|id| id.hex().starts_with(prefix));
        if let Some(id) = found.next() {
            let others = found.count();
            if others > 0 {
                let prefix = prefix.to_owned();
                return Err(StoreError::Ambiguous {
                    prefix,
                    count: others + 1,
                });
            }
            return Ok((id.clone(), None));
        }
        return Err(not_found(index, name, parsed.ok()));
    }
    match parsed {
        Ok(reference) => Err(not_found(index, name, Some(reference))),
        Err(source) => Err(StoreError::Name {
            name: name.to_owned(),
            source,
        }),
    }
}

/// Says of a name that is not there which others of the same repository are.
fn not_found(index: &Index, name: &str, reference: Option<Reference>) -> StoreError {
    const SHOWN: usize = 5;
    let of_repository = |own: &Reference| {
        reference
            .as_ref()
            .is_some_and(|asked| asked.name() == own.name())
    };
    let names = index.images.values().flat_map(|entry| &entry.names);
    let similar: Vec<String> = names
        .filter_map(|own| own.parse().ok().filter(of_repository))
        .map(|own: Reference| own.familiar())
        .take(SHOWN)
        .collect();
    let similar = if similar.is_empty() {
        String::new()
    } else {
        format!(", but {}", similar.join(", "))
    };
    StoreError::NotFound {
        name: name.to_owned(),
        similar,
    }
}

/// Opens a lock file and waits until it is ours; it is let go when the file is closed.
fn open_lock(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io_error("create", path))?;
    file.lock().map_err(io_error("lock", path))?;
    Ok(file)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}

/// A digest as the name of a file.
fn file_name(digest: &Digest) -> String {
    digest.to_string().replacen(':', "-", 1)
}

/// The digits of an ID that lists show.
#[must_use]
pub fn short_id(id: &Digest) -> String {
    id.hex().chars().take(SHORT_ID).collect()
}
