//! Which endpoints of a registry are asked, and in which order: its mirrors first, but none that was caught at giving
//! what is not the image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::lock;
use super::endpoint::Endpoint;
use crate::digest::Digest;

/// Mirrors, and last the registry itself, with what came of asking them.
#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    /// Which of them had the manifest.
    chosen: AtomicUsize,
    /// Which gave something of a blob.
    suppliers: Mutex<BTreeMap<Digest, BTreeSet<usize>>>,
    /// Mirrors that are not asked any more.
    distrusted: Mutex<BTreeSet<usize>>,
}

impl Endpoints {
    /// These, the registry itself last.
    pub(super) fn new(all: Vec<Endpoint>) -> Self {
        Self {
            all,
            chosen: AtomicUsize::new(0),
            suppliers: Mutex::default(),
            distrusted: Mutex::default(),
        }
    }

    pub(super) fn get(&self, number: usize) -> Option<&Endpoint> {
        self.all.get(number)
    }

    /// The registry itself.
    pub(super) fn own(&self) -> &Endpoint {
        self.all.last().expect("the registry itself is last")
    }

    /// All that are trusted, in the order in which they are asked for a manifest.
    pub(super) fn trusted(&self) -> Vec<usize> {
        let distrusted = lock(&self.distrusted);
        let numbers = 0..self.all.len();
        numbers
            .filter(|number| !distrusted.contains(number))
            .collect()
    }

    /// The same for blobs: first the one that had the manifest.
    pub(super) fn for_blobs(&self) -> Vec<usize> {
        let chosen = self.chosen.load(Ordering::Relaxed);
        let (before, mut order): (Vec<usize>, Vec<usize>) = self
            .trusted()
            .into_iter()
            .partition(|number| *number < chosen);
        order.extend(before);
        order
    }

    /// Notes which one has the manifest.
    pub(super) fn choose(&self, number: usize) {
        self.chosen.store(number, Ordering::Relaxed);
    }

    /// Notes that bytes of a blob come from an endpoint.
    pub(super) fn supplies(&self, number: usize, digest: &Digest) {
        lock(&self.suppliers)
            .entry(digest.clone())
            .or_default()
            .insert(number);
    }

    /// Asks mirrors no more that gave something of a blob that is damaged; whether there were any.
    pub(super) fn distrust(&self, digest: &Digest) -> bool {
        let suppliers = lock(&self.suppliers).remove(digest).unwrap_or_default();
        self.exclude(suppliers)
    }

    /// Asks no mirror any more; whether the manifest came from one.
    pub(super) fn distrust_all(&self) -> bool {
        let chosen = self.chosen.load(Ordering::Relaxed);
        let from_mirror = self.get(chosen).is_some_and(Endpoint::is_mirror);
        self.exclude(0..self.all.len());
        from_mirror
    }

    fn exclude(&self, numbers: impl IntoIterator<Item = usize>) -> bool {
        let mut distrusted = lock(&self.distrusted);
        let before = distrusted.len();
        let is_mirror = |number: &usize| self.get(*number).is_some_and(Endpoint::is_mirror);
        distrusted.extend(numbers.into_iter().filter(is_mirror));
        distrusted.len() > before
    }
}
