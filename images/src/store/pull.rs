//! Pulling: each layer gets its place in the store as soon as it is verified, so that a pull that
//! ends early, or another one at the same time, need not have it again. The image is in the store
//! when the last of them is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::convert::{Conversion, Made, go_on, in_parallel};
use super::hold::Held;
use super::load::Loaded;
use super::partial::Partial;
use super::progress::{Event, Progress};
use super::scratch::Scratch;
use super::{Store, StoreError, check_new_name, io_error};
use crate::digest::Digest;
use crate::layer::{LayerError, Limits};
use crate::source::{Source, SourceError, SourceLayer};

/// One pull.
struct Pull<'a> {
    store: &'a Store,
    source: &'a dyn Source,
    scratch: &'a Path,
    progress: &'a dyn Progress,
    /// Bytes of layers that were read to their end, and of what became of them.
    read: AtomicU64,
    written: AtomicU64,
}

impl Store {
    /// Takes the image of a registry into the store. Layers that are there are not asked for;
    /// those that another process is just pulling are waited for.
    ///
    /// After a failure of the network, what came is kept for the next pull; after all other
    /// failures nothing is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pull(&self, source: &dyn Source, progress: &dyn Progress) -> Result<Loaded, StoreError> {
        self.make_directories()?;
        self.remove_partials(false)?;
        match self.pull_from(source, progress) {
            Err(error) if error.is_out_of_space() || matches!(error, StoreError::Canceled) => {
                Err(error)
            }
            // A mirror's manifest may name what nobody has.
            Err(_) if source.distrust_all() => self.pull_from(source, progress),
            other => other,
        }
    }

    fn pull_from(
        &self,
        source: &dyn Source,
        progress: &dyn Progress,
    ) -> Result<Loaded, StoreError> {
        let images = source.images(&self.platform)?;
        for name in images.iter().flat_map(|image| &image.names) {
            check_new_name(name)?;
        }
        let mut seen = BTreeSet::new();
        let layers: Vec<&SourceLayer> = images
            .iter()
            .flat_map(|image| &image.layers)
            .filter(|layer| seen.insert(&layer.diff_id))
            .collect();
        check_sizes(source, &layers)?;
        progress.event(Event::Image { layers: &layers });
        let scratch = Scratch::new(&self.tmp(), &self.root.join("tmp.lock"))?;
        let pull = Pull {
            store: self,
            source,
            scratch: scratch.path(),
            progress,
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
        };
        let layer = |number: usize, stop: &AtomicBool| {
            let layer = layers.get(number).ok_or(StoreError::GivenUp)?;
            pull.layer(number, layer, stop)
        };
        match in_parallel(layers.len(), &layer) {
            Ok(held) => {
                let mut ready = self.ready(source, &images, None)?;
                let mut made = BTreeMap::new();
                let joined = match self.join(source.origin(), &mut ready, &mut made, scratch.path())
                {
                    Ok(joined) => joined,
                    Err(error) => {
                        // What is held is not removed.
                        drop(held);
                        return Err(self.give_up(error, &layers, 0));
                    }
                };
                let loaded = self.commit(&ready, &made)?;
                drop((held, joined));
                let first = loaded.and_then(|loaded| loaded.into_iter().next());
                first.ok_or(StoreError::GivenUp)
            }
            Err(error) => {
                let needed = pull.needed(&layers);
                drop(scratch);
                Err(self.give_up(error, &layers, needed))
            }
        }
    }

    /// Removes what a failed pull leaves, where that is not worth keeping.
    fn give_up(&self, error: StoreError, layers: &[&SourceLayer], needed: u64) -> StoreError {
        if error.is_transient() {
            return error;
        }
        // The error is what matters; the next removal takes what stays behind.
        for digest in layers.iter().filter_map(|layer| layer.digest.as_ref()) {
            if let Ok(partial) = Partial::lock(self, digest, || Err(StoreError::GivenUp)) {
                partial.remove();
            }
        }
        drop(self.sweep_now());
        self.explain(error, Some(needed))
    }

    fn sweep_now(&self) -> Result<Vec<Digest>, StoreError> {
        let _guard = self.lock()?;
        self.sweep(&self.read_index()?)
    }
}

impl Pull<'_> {
    /// Sees to it that a layer is in the store, and keeps it there.
    fn layer(
        &self,
        number: usize,
        layer: &SourceLayer,
        stop: &AtomicBool,
    ) -> Result<Held, StoreError> {
        let (Some(digest), Some(diff_id)) = (&layer.digest, &layer.diff_id) else {
            return Err(StoreError::GivenUp);
        };
        if let Some(held) = self.present(number, diff_id)? {
            // A pull that was killed just before it did so itself.
            self.store.remove_partial_of(digest);
            return Ok(held);
        }
        let mut told = false;
        let partial = Partial::lock(self.store, digest, || {
            go_on(stop, self.progress)?;
            if !told {
                told = true;
                self.progress.event(Event::LayerWaiting { layer: number });
            }
            Ok(())
        })?;
        if let Some(held) = self.present(number, diff_id)? {
            partial.remove();
            return Ok(held);
        }
        let made = self.fetch(number, layer, &partial, stop)?;
        let held = self.place(&made)?;
        partial.remove();
        Ok(held)
    }

    fn present(&self, number: usize, diff_id: &Digest) -> Result<Option<Held>, StoreError> {
        let held = self.store.hold_layer(diff_id)?;
        if held.is_some() {
            self.progress.event(Event::LayerPresent { layer: number });
        }
        Ok(held)
    }

    /// Reads and converts a layer. What an earlier pull left may be damaged, or what a mirror gave: then once more from
    /// the beginning.
    fn fetch(
        &self,
        number: usize,
        layer: &SourceLayer,
        partial: &Partial,
        stop: &AtomicBool,
    ) -> Result<Made, StoreError> {
        let mut continued = partial.len()? > 0;
        let mut attempts = 0;
        let made = loop {
            let result = self.attempt(number, attempts, layer, partial, stop);
            if !result.as_ref().is_err_and(is_damage) {
                break result?;
            }
            partial.clear()?;
            // Each of both ends: there are so many mirrors, and what was here is gone.
            if !self.source.distrust(layer) && !std::mem::take(&mut continued) {
                break result?;
            }
            continued = false;
            attempts += 1;
        };
        self.read
            .fetch_add(layer.size.unwrap_or(0), Ordering::Relaxed);
        Ok(made)
    }

    fn attempt(
        &self,
        number: usize,
        attempt: usize,
        layer: &SourceLayer,
        partial: &Partial,
        stop: &AtomicBool,
    ) -> Result<Made, StoreError> {
        let conversion = Conversion {
            source: self.source,
            layer,
            number,
            progress: self.progress,
            stop,
            again: &|| Ok(Box::new(partial.reader(self.source, layer)?)),
        };
        let path = self.scratch.join(format!("{number}-{attempt}.erofs"));
        let result = conversion.run(partial.reader(self.source, layer)?, path.clone());
        if result.is_err() {
            // How far it came says how much space the whole takes.
            let length = path.metadata().map_or(0, |metadata| metadata.len());
            self.written.fetch_add(length, Ordering::Relaxed);
            self.read
                .fetch_add(partial.len().unwrap_or(0), Ordering::Relaxed);
        }
        result
    }

    fn place(&self, made: &Made) -> Result<Held, StoreError> {
        let store = self.store;
        let file = File::open(&made.path).map_err(io_error("read", &made.path))?;
        let length = file.metadata().map_err(io_error("read", &made.path))?.len();
        self.written.fetch_add(length, Ordering::Relaxed);
        let held = Held::new(file, &made.path)?;
        let _guard = store.lock()?;
        // A load may have brought it meanwhile.
        if let Some(there) = store.hold_layer(&made.diff_id)? {
            return Ok(there);
        }
        store.place_layer(&made.diff_id, made)?;
        Ok(held)
    }

    /// Bytes that the image needs on the disk, judged by what was converted so far.
    fn needed(&self, layers: &[&SourceLayer]) -> u64 {
        let total: u64 = layers.iter().filter_map(|layer| layer.size).sum();
        let read = self.read.load(Ordering::Relaxed).max(1);
        let written = self.written.load(Ordering::Relaxed);
        let grown = u128::from(total) * u128::from(written) / u128::from(read);
        // While a layer is made, its download is there as well.
        total.saturating_add(u64::try_from(grown).unwrap_or(u64::MAX))
    }
}

/// No layer is larger compressed than it may be without: otherwise whatever a registry announces
/// would be written to the disk before it is refused.
fn check_sizes(source: &dyn Source, layers: &[&SourceLayer]) -> Result<(), StoreError> {
    let limit = Limits::default().tar_bytes;
    for layer in layers {
        if layer.size.is_some_and(|size| size > limit) {
            return Err(StoreError::Layer {
                origin: source.origin().to_owned(),
                name: layer.name.clone(),
                source: Box::new(LayerError::Limit {
                    what: "more compressed bytes".to_owned(),
                    limit,
                }),
            });
        }
    }
    Ok(())
}

/// Whether the bytes are not those that were announced. A layer that is refused for what it is has been compared with
/// its digest before.
fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Source(SourceError::Digest { .. } | SourceError::Size { .. })
    ) && !error.is_transient()
        && !error.is_out_of_space()
}
