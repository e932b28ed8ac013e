//! Giving space back, and saying where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use super::index::Index;
use super::record::{Record, RecordedLayer};
use super::remove::familiar;
use super::{Store, StoreError, beside, scratch};
use crate::digest::Digest;
use crate::reference::Reference;

/// What pruning took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names that are gone, as docker prints them.
    pub untagged: Vec<String>,
    /// Images and, after them, layers that are gone.
    pub deleted: Vec<Digest>,
    /// Bytes that are free again.
    pub bytes: u64,
}

/// What the store takes on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images, the newest first.
    pub images: Vec<ImageUsage>,
    /// Bytes of all layers of images, each once.
    pub layers: u64,
    /// Bytes of layers that only images use which no container runs.
    pub reclaimable: u64,
    /// Number and bytes of layers that no image has.
    pub unused: (usize, u64),
    /// Number and bytes of downloads that were broken off or are under way.
    pub partial: (usize, u64),
}

/// What an image takes on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// Digest of its configuration.
    pub id: Digest,
    /// Its names with tags.
    pub names: Vec<Reference>,
    /// When it was made, RFC 3339; empty when unknown.
    pub created: String,
    /// Bytes of its layers that another image has, too.
    pub shared: u64,
    /// Bytes of its layers that no other image has.
    pub unique: u64,
    /// Whether a container is of it.
    pub active: bool,
}

impl Store {
    /// Removes images without a name, or with `all` every image, but none of `used`, which containers are of; and with
    /// them all layers that nobody needs and all downloads that nobody goes on with. Another image that shares its
    /// layers with one that is used goes all the same, and the layers stay.
    ///
    /// # Errors
    /// Those of reading and writing the store.
    pub fn prune(&self, all: bool, used: &BTreeSet<Digest>) -> Result<Pruned, StoreError> {
        let _guard = self.lock()?;
        let mut index = self.read_index()?;
        let mut pruned = Pruned::default();
        let ids: Vec<Digest> = index.images.keys().cloned().collect();
        for id in ids {
            let Some(entry) = index.images.get(&id) else {
                continue;
            };
            if (!all && !entry.names.is_empty()) || used.contains(&id) {
                continue;
            }
            pruned
                .untagged
                .extend(entry.names.iter().map(|name| familiar(name)));
            index.images.remove(&id);
            pruned.deleted.push(id);
        }
        let before = self.layer_sizes()?;
        let gone = self.write_and_sweep(&index)?;
        pruned.bytes = gone.iter().filter_map(|layer| before.get(layer)).sum();
        pruned.bytes += self.remove_partials(true)?;
        pruned.deleted.extend(gone);
        scratch::remove_leftovers(&self.tmp(), &self.root.join("tmp.lock"))?;
        Ok(pruned)
    }

    /// What takes space, where containers are of the images `used`.
    ///
    /// # Errors
    /// Those of reading the store.
    pub fn usage(&self, used: &BTreeSet<Digest>) -> Result<Usage, StoreError> {
        self.make_directories()?;
        let index = self.read_index()?;
        let sizes = self.layer_sizes()?;
        let records = self.records(&index);
        let mut users: BTreeMap<&Digest, usize> = BTreeMap::new();
        for layer in records.values().flat_map(layers) {
            *users.entry(layer).or_default() += 1;
        }
        let mut usage = Usage::default();
        let mut active_layers: BTreeSet<&Digest> = BTreeSet::new();
        for (id, record) in &records {
            let size = |layer: &&Digest| sizes.get(*layer).copied().unwrap_or(0);
            let is_shared = |layer: &&Digest| users.get(*layer).is_some_and(|count| *count > 1);
            let shared: u64 = layers(record)
                .filter(is_shared)
                .map(|layer| size(&layer))
                .sum();
            let total: u64 = layers(record).map(|layer| size(&layer)).sum();
            let active = used.contains(id);
            if active {
                active_layers.extend(layers(record));
            }
            let entry = index.images.get(id).cloned().unwrap_or_default();
            usage.images.push(ImageUsage {
                id: id.clone(),
                names: entry
                    .names
                    .iter()
                    .filter_map(|name| name.parse().ok())
                    .collect(),
                created: entry.created,
                shared,
                unique: total - shared,
                active,
            });
        }
        usage.images.sort_by(|a, b| {
            b.created
                .cmp(&a.created)
                .then_with(|| a.names.cmp(&b.names))
        });
        for (layer, size) in &sizes {
            if !users.contains_key(layer) {
                usage.unused = (usage.unused.0 + 1, usage.unused.1 + size);
                continue;
            }
            usage.layers += size;
            if !active_layers.contains(layer) {
                usage.reclaimable += size;
            }
        }
        usage.partial = directory_size(&self.partial());
        Ok(usage)
    }

    /// Images whose records can be read.
    fn records(&self, index: &Index) -> BTreeMap<Digest, Record> {
        let read = |id: &Digest| Some((id.clone(), Record::read(&self.record_path(id)).ok()?));
        index.images.keys().filter_map(read).collect()
    }

    /// Bytes of all layers with what lies beside them.
    fn layer_sizes(&self) -> Result<BTreeMap<Digest, u64>, StoreError> {
        let mut sizes = BTreeMap::new();
        let directory = self.layers();
        for entry in fs::read_dir(&directory).map_err(super::io_error("read", &directory))? {
            let name = entry
                .map_err(super::io_error("read", &directory))?
                .file_name();
            let digest = name
                .to_str()
                .and_then(|name| name.replacen('-', ":", 1).parse().ok());
            let Some(digest) = digest else { continue };
            let path = self.layer_path(&digest);
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            let beside = beside::ALL.map(|extension| fs::metadata(path.with_extension(extension)));
            let beside: u64 = beside.iter().flatten().map(fs::Metadata::len).sum();
            sizes.insert(digest, metadata.len() + beside);
        }
        Ok(sizes)
    }
}

/// The layers of an image, each once.
fn layers(record: &Record) -> impl Iterator<Item = &Digest> {
    let layers: BTreeSet<&Digest> = record
        .files()
        .map(|layer: &RecordedLayer| &layer.diff_id)
        .collect();
    layers.into_iter()
}

/// Number and bytes of the files in a directory.
fn directory_size(path: &std::path::Path) -> (usize, u64) {
    let entries = fs::read_dir(path).into_iter().flatten();
    let lengths = entries
        .filter_map(|entry: io::Result<fs::DirEntry>| Some(entry.ok()?.metadata().ok()?.len()));
    lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
}
