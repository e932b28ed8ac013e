//! Loading: layers are converted side by side into a scratch directory; when all are verified,
//! they and the image's documents are moved into place under the store's lock.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;

use super::convert::{Job, Made, convert_all};
use super::index::{FORMAT, Index, sync_directory_of, write_file};
use super::progress::{Event, Progress};
use super::record::{Record, RecordedLayer};
use super::scratch::Scratch;
use super::{Store, StoreError, beside, check_new_name, io_error};
use crate::digest::Digest;
use crate::image::ImageConfig;
use crate::reference::Reference;
use crate::source::{Configuration, Document, Source, SourceError, SourceImage};

/// Most times that layers are converted again because another process removed them meanwhile.
const MAX_ROUNDS: usize = 4;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Digest of its configuration.
    pub id: Digest,
    /// The names that it was given.
    pub names: Vec<Reference>,
    /// Names that another image lost to it, with that image's ID.
    pub replaced: Vec<(Reference, Digest)>,
    /// Number of layers that were not in the store before.
    pub new_layers: usize,
    /// The digest by which its registry knows it, where it came from one.
    pub digest: Option<Digest>,
    /// Whether the image was in the store before.
    pub known: bool,
}

/// An image whose layers all have diff IDs.
pub(super) struct Ready {
    names: Vec<Reference>,
    repository_digest: Option<Reference>,
    manifest: Option<Document>,
    pub(super) config: Configuration,
    /// For each layer, where it means something else on those below: what it is then, by its chain ID.
    pub(super) joined: Vec<Option<Digest>>,
}

impl Ready {
    /// All layers that it needs in the store.
    fn layers(&self) -> impl Iterator<Item = &Digest> {
        let diff_ids = &self.config.parsed.rootfs.diff_ids;
        diff_ids.iter().chain(self.joined.iter().flatten())
    }
}

impl Store {
    /// Takes all images of a source into the store, each under `name` where one is given. Either
    /// all of them are in the store afterwards, or the store is as before.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the source is then in the store.
    pub fn load(
        &self,
        source: &dyn Source,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, StoreError> {
        let needed = Cell::new(None);
        self.convert_and_commit(source, name, progress, &needed)
            .map_err(|error| self.explain(error, needed.get()))
    }

    fn convert_and_commit(
        &self,
        source: &dyn Source,
        name: Option<&Reference>,
        progress: &dyn Progress,
        needed: &Cell<Option<u64>>,
    ) -> Result<Vec<Loaded>, StoreError> {
        self.make_directories()?;
        let scratch = Scratch::new(&self.tmp(), &self.root.join("tmp.lock"))?;
        let images = source.images(&self.platform)?;
        let images = named(source, images, name)?;
        let mut made: BTreeMap<Digest, Made> = BTreeMap::new();
        for _ in 0..MAX_ROUNDS {
            let (jobs, present) = self.missing(&images, &made);
            let bytes = jobs.iter().map(|job| job.layer.size.unwrap_or(0)).sum();
            // About as much as it is packed; of compressed layers, at least that.
            needed.set(Some(bytes).filter(|bytes| *bytes > 0));
            progress.event(Event::Begin {
                layers: jobs.len(),
                present,
                bytes,
            });
            let new = convert_all(source, &jobs, scratch.path(), made.len(), progress)?;
            let bare = images.iter().any(|image| image.config.is_none());
            let only = if bare {
                new.first().map(|made| made.diff_id.clone())
            } else {
                None
            };
            made.extend(new.into_iter().map(|made| (made.diff_id.clone(), made)));
            let mut ready = self.ready(source, &images, only.as_ref())?;
            let held = match self.join(source.origin(), &mut ready, &mut made, scratch.path()) {
                // Another process has removed a layer that was here.
                Err(error) if error.is_missing() => continue,
                other => other?,
            };
            let loaded = self.commit(&ready, &made)?;
            drop(held);
            if let Some(loaded) = loaded {
                return Ok(loaded);
            }
        }
        let lost = images
            .iter()
            .flat_map(|image| &image.layers)
            .find_map(|layer| {
                layer
                    .diff_id
                    .clone()
                    .filter(|diff_id| !self.layer_path(diff_id).exists())
            });
        Err(lost.map_or(StoreError::GivenUp, StoreError::Contended))
    }

    /// Layers that are neither in the store nor made yet, each once, and how many there are.
    fn missing<'a>(
        &self,
        images: &'a [SourceImage],
        made: &BTreeMap<Digest, Made>,
    ) -> (Vec<Job<'a>>, usize) {
        let mut jobs = Vec::new();
        let mut seen: BTreeSet<&Digest> = BTreeSet::new();
        let mut present = 0;
        for layer in images.iter().flat_map(|image| &image.layers) {
            let needed = match &layer.diff_id {
                None => made.is_empty(),
                Some(diff_id) if !seen.insert(diff_id) || made.contains_key(diff_id) => continue,
                Some(diff_id) => !self.layer_path(diff_id).exists(),
            };
            if needed {
                jobs.push(Job { layer });
            } else {
                present += 1;
            }
        }
        (jobs, present)
    }

    pub(super) fn ready(
        &self,
        source: &dyn Source,
        images: &[SourceImage],
        only: Option<&Digest>,
    ) -> Result<Vec<Ready>, StoreError> {
        images
            .iter()
            .map(|image| {
                let config = match (&image.config, only) {
                    (Some(config), _) => config.clone(),
                    (None, Some(diff_id)) => self.configure(source, image, diff_id),
                    (None, None) => return Err(StoreError::GivenUp),
                };
                let (names, manifest) = (image.names.clone(), image.manifest.clone());
                Ok(Ready {
                    names,
                    repository_digest: image.repository_digest.clone(),
                    manifest,
                    config,
                    joined: Vec::new(),
                })
            })
            .collect()
    }

    /// A configuration for an image that has none.
    fn configure(
        &self,
        source: &dyn Source,
        image: &SourceImage,
        diff_id: &Digest,
    ) -> Configuration {
        let created = image.created.as_deref().unwrap_or_default();
        let origin = format!("loaded from {}", source.origin());
        let parsed = ImageConfig::synthetic(&self.platform, diff_id.clone(), &origin, created);
        let bytes = serde_json::to_vec(&parsed).expect("a configuration has only string keys");
        let digest = Digest::of(&bytes);
        Configuration {
            document: Document { digest, bytes },
            parsed,
        }
    }

    /// Moves everything into place; `None` when a layer that was in the store is gone.
    pub(super) fn commit(
        &self,
        ready: &[Ready],
        made: &BTreeMap<Digest, Made>,
    ) -> Result<Option<Vec<Loaded>>, StoreError> {
        let _guard = self.lock()?;
        let mut index = self.read_index()?;
        let diff_ids: BTreeSet<&Digest> = ready.iter().flat_map(Ready::layers).collect();
        for diff_id in &diff_ids {
            if !made.contains_key(diff_id) && !self.layer_path(diff_id).exists() {
                return Ok(None);
            }
        }
        let committed = self.place(ready, made, &diff_ids, &mut index);
        // After a failure the list is unchanged, so that this takes away what was placed; after a
        // success it takes away what a load placed that was killed. When it fails too, the next
        // change does it; the first error is the one to report.
        drop(self.read_index().and_then(|index| self.sweep(&index)));
        committed.map(Some)
    }

    fn place(
        &self,
        ready: &[Ready],
        made: &BTreeMap<Digest, Made>,
        diff_ids: &BTreeSet<&Digest>,
        index: &mut Index,
    ) -> Result<Vec<Loaded>, StoreError> {
        let mut sizes: BTreeMap<&Digest, u64> = BTreeMap::new();
        let mut new: BTreeSet<&Digest> = BTreeSet::new();
        for diff_id in diff_ids {
            let path = self.layer_path(diff_id);
            if let Some(made) = made.get(*diff_id)
                && !path.exists()
            {
                self.place_layer(diff_id, made)?;
                new.insert(diff_id);
            }
            let metadata = fs::metadata(&path).map_err(io_error("read", &path))?;
            sizes.insert(diff_id, metadata.len());
        }
        let mut loaded = Vec::with_capacity(ready.len());
        for image in ready {
            loaded.push(self.place_image(image, &sizes, &new, index)?);
        }
        self.write_index(index)?;
        Ok(loaded)
    }

    pub(super) fn place_layer(&self, diff_id: &Digest, made: &Made) -> Result<(), StoreError> {
        let path = self.layer_path(diff_id);
        let Some(directory) = path.parent() else {
            return Ok(());
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io_error("create", directory))?;
        // The file system last: with it the layer is there.
        for extension in beside::ALL {
            let (from, to) = (
                made.path.with_extension(extension),
                path.with_extension(extension),
            );
            let moved = match fs::rename(&from, &to) {
                // What an earlier, damaged layer had beside it says nothing of this one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(&to),
                other => other,
            };
            match moved {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("rename", &to)(error));
                }
                _ => {}
            }
        }
        fs::rename(&made.path, &path).map_err(io_error("rename", &path))?;
        sync_directory_of(&path)?;
        sync_directory_of(directory)
    }

    fn place_image(
        &self,
        image: &Ready,
        sizes: &BTreeMap<&Digest, u64>,
        new: &BTreeSet<&Digest>,
        index: &mut Index,
    ) -> Result<Loaded, StoreError> {
        let id = image.config.document.digest.clone();
        let parsed = &image.config.parsed;
        for document in image.manifest.iter().chain([&image.config.document]) {
            let path = self.blob_path(&document.digest);
            if !path.exists() {
                write_file(&path, &document.bytes)?;
            }
        }
        let recorded = |(number, diff_id): (usize, &Digest)| {
            let own = |digest: &Digest| {
                let size = sizes.get(digest).copied().unwrap_or(0);
                RecordedLayer::new(digest.clone(), size, self.noted_beside(digest))
            };
            let joined = image.joined.get(number).and_then(Option::as_ref);
            RecordedLayer {
                joined: joined.map(|chain| Box::new(own(chain))),
                ..own(diff_id)
            }
        };
        let known = index.images.contains_key(&id);
        let path = self.record_path(&id);
        let earlier = if known {
            Record::read(&path).ok()
        } else {
            None
        };
        let manifest = image
            .manifest
            .as_ref()
            .map(|manifest| manifest.digest.clone());
        let record = Record {
            format: FORMAT,
            // An archive without manifests takes none away from an image that came with one.
            manifest: manifest
                .clone()
                .or_else(|| earlier.and_then(|record| record.manifest)),
            platform: parsed.platform(),
            created: parsed.created.clone().unwrap_or_default(),
            config: parsed.config.clone(),
            layers: parsed
                .rootfs
                .diff_ids
                .iter()
                .enumerate()
                .map(recorded)
                .collect(),
        };
        let bytes = serde_json::to_vec(&record).expect("a record has only string keys");
        write_file(&path, &bytes)?;

        let replaced = give_names(index, &id, &image.names);
        let entry = index.images.entry(id.clone()).or_default();
        entry.created.clone_from(&record.created);
        entry.size = record.size();
        let of_name = |name: &Reference| Some(name.with_digest(manifest.clone()?));
        let digests: Vec<Reference> = match &image.repository_digest {
            Some(digest) => vec![digest.clone()],
            None => image.names.iter().filter_map(of_name).collect(),
        };
        for digest in digests.iter().map(ToString::to_string) {
            if !entry.digests.contains(&digest) {
                entry.digests.push(digest);
            }
        }
        let new_layers = parsed
            .rootfs
            .diff_ids
            .iter()
            .filter(|id| new.contains(id))
            .count();
        Ok(Loaded {
            id,
            names: image.names.clone(),
            replaced,
            new_layers,
            digest: image
                .repository_digest
                .as_ref()
                .and_then(|name| name.digest().cloned()),
            known,
        })
    }
}

/// Gives names to an image; returns which images had them.
fn give_names(index: &mut Index, id: &Digest, names: &[Reference]) -> Vec<(Reference, Digest)> {
    let mut replaced = Vec::new();
    for name in names {
        let whole = name.to_string();
        if let Some(owner) = index.take_name(&whole)
            && owner != *id
        {
            replaced.push((name.clone(), owner));
        }
        index
            .images
            .entry(id.clone())
            .or_default()
            .names
            .push(whole);
    }
    replaced
}

/// Gives the images of a source the name that the user wants.
fn named(
    source: &dyn Source,
    mut images: Vec<SourceImage>,
    name: Option<&Reference>,
) -> Result<Vec<SourceImage>, StoreError> {
    let origin = || source.origin().to_owned();
    if let Some(name) = name {
        let [image] = images.as_mut_slice() else {
            let (count, name) = (images.len(), name.familiar());
            return Err(StoreError::OneNameForMany {
                origin: origin(),
                count,
                name,
            });
        };
        image.names = vec![name.clone().with_default_tag()];
    }
    let mut seen = BTreeSet::new();
    for image in &mut images {
        image.names.sort();
        image.names.dedup();
        if let Some(name) = image
            .names
            .iter()
            .find(|name| !seen.insert((*name).clone()))
        {
            let name = name.familiar();
            return Err(SourceError::NameTwice {
                origin: origin(),
                name,
            }
            .into());
        }
        image.names.iter().try_for_each(check_new_name)?;
    }
    Ok(images)
}
