//! The layers in a host that holds many containers: files that are put on its disk, each once for
//! all who need it, and taken away when nobody has needed them for a while.
//!
//! A layer has a place on the disk and a partition there, which the guest makes. It goes in four
//! steps: the guest forgets the partition, then the monitor takes the file away, then the place and
//! the number are free, and the image store may remove the layer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use contracts::guest::{Layer, Range};
use contracts::monitor::Place;

use super::Number;

/// Index of the disk.
pub(super) const DISK: u8 = 0;

/// Bytes of the disk, nearly all of them zeros: 255 of the largest layers that the image store makes
/// do not fill it.
pub(super) const SIZE: u64 = 1 << 50;

/// Places begin at multiples of this, so that the guest's file system sees whole blocks.
const ALIGNMENT: u64 = 1 << 20;

/// How long a layer that nobody uses stays: the next container is likely to be of the same image.
const LINGER: Duration = Duration::from_secs(60);

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// Where a layer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The monitor was asked to insert it.
    Coming,
    There,
    /// The guest was asked to forget it.
    Forgetting,
    /// The monitor was asked to remove it.
    Going,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    range: Range,
    stage: Stage,
    users: BTreeSet<Number>,
    /// Since when nobody has used it.
    idle: Option<Instant>,
    /// Its users check what they read. Those who do not have a partition of their own: the kernel
    /// gives one either to a device that checks, or to a mount.
    checked: bool,
    /// While it is open the store keeps the layer.
    held: File,
}

/// A file that the monitor is to insert.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Insertion {
    pub(super) place: Place,
    pub(super) path: PathBuf,
}

/// The layers of a host, by the number of their partition.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    slots: BTreeMap<u8, Slot>,
}

impl Shelf {
    /// Takes the layers of a container, which it checks or does not: gives where they are, and what has to
    /// be inserted first.
    ///
    /// # Errors
    /// When a file cannot be opened, or the disk is full.
    pub(super) fn take(
        &mut self,
        container: Number,
        layers: &[(PathBuf, u64)],
        checked: bool,
    ) -> Result<(Vec<Layer>, Vec<Insertion>)> {
        let mut insertions = Vec::new();
        let taken = self.take_each((container, checked), layers, &mut insertions);
        match taken {
            Ok(places) => Ok((places, insertions)),
            Err(error) => {
                // Nobody was told of them.
                self.slots
                    .retain(|_, slot| !insertions.iter().any(|one| one.place == place(slot.range)));
                self.release(container, Instant::now());
                Err(error)
            }
        }
    }

    fn take_each(
        &mut self,
        (container, checked): (Number, bool),
        layers: &[(PathBuf, u64)],
        insertions: &mut Vec<Insertion>,
    ) -> Result<Vec<Layer>> {
        let mut places = Vec::with_capacity(layers.len());
        for (path, length) in layers {
            let number = match self.find(path, checked) {
                Some(number) => number,
                None => {
                    let (number, insertion) = self.insert(path, *length, checked)?;
                    insertions.push(insertion);
                    number
                }
            };
            if let Some(slot) = self.slots.get_mut(&number) {
                slot.users.insert(container);
                slot.idle = None;
                places.push(Layer {
                    partition: number,
                    range: Some(slot.range),
                    // Its container's spec says whether it is checked.
                    verity: None,
                });
            }
        }
        Ok(places)
    }

    /// A layer that is there, or on its way. One whose file was removed from the store is another one:
    /// it was damaged, if the store has a file of this path.
    fn find(&self, path: &Path, checked: bool) -> Option<u8> {
        let mut all = self.slots.iter();
        all.find(|(_, slot)| {
            let stays = || slot.held.metadata().is_ok_and(|file| file.nlink() > 0);
            let there = matches!(slot.stage, Stage::Coming | Stage::There);
            slot.path == path && slot.checked == checked && there && stays()
        })
        .map(|(number, _)| *number)
    }

    fn insert(&mut self, path: &Path, length: u64, checked: bool) -> Result<(u8, Insertion)> {
        let number = (1..=u8::MAX).find(|number| !self.slots.contains_key(number));
        let number = number.context(
            "the host already has 255 layers in use, the maximum; stop containers of other images, or use another host",
        )?;
        let length = length.next_multiple_of(SECTOR);
        let start = self
            .gap(length)
            .context("no room on the host's disk for a layer of this size")?;
        let held = File::open(path)
            .and_then(|file| file.lock_shared().map(|()| file))
            .with_context(|| format!("cannot open layer {}", path.display()))?;
        let range = Range { start, length };
        let slot = Slot {
            path: path.to_owned(),
            range,
            stage: Stage::Coming,
            users: BTreeSet::new(),
            idle: None,
            checked,
            held,
        };
        self.slots.insert(number, slot);
        let path = path.to_owned();
        let place = place(range);
        Ok((number, Insertion { place, path }))
    }

    /// The first place of this size that nothing is in.
    fn gap(&self, length: u64) -> Option<u64> {
        let mut taken: Vec<Range> = self.slots.values().map(|slot| slot.range).collect();
        taken.sort_by_key(|range| range.start);
        let mut start = ALIGNMENT;
        for range in taken {
            if start.checked_add(length)? <= range.start {
                break;
            }
            start = (range.start + range.length).next_multiple_of(ALIGNMENT);
        }
        (start.checked_add(length)? <= SIZE).then_some(start)
    }

    /// Whether all layers of a container are there.
    pub(super) fn is_ready(&self, container: Number) -> bool {
        let mut own = self
            .slots
            .values()
            .filter(|slot| slot.users.contains(&container));
        own.all(|slot| slot.stage == Stage::There)
    }

    /// The monitor has done what it was asked for at a place. Those who wait for a layer that it
    /// refused.
    pub(super) fn done(&mut self, place: Place, refused: bool) -> Vec<Number> {
        let mut all = self.slots.iter_mut();
        let found = all.find(|(_, slot)| self::place(slot.range) == place);
        let Some((number, slot)) = found else {
            return Vec::new();
        };
        let number = *number;
        match slot.stage {
            Stage::Coming if !refused => {
                slot.stage = Stage::There;
                if slot.users.is_empty() {
                    slot.idle = Some(Instant::now());
                }
                Vec::new()
            }
            Stage::Coming | Stage::Going => {
                let slot = self.slots.remove(&number);
                slot.map(|slot| slot.users.into_iter().collect())
                    .unwrap_or_default()
            }
            Stage::There | Stage::Forgetting => Vec::new(),
        }
    }

    /// A container has ended.
    pub(super) fn release(&mut self, container: Number, now: Instant) {
        for slot in self.slots.values_mut() {
            if slot.users.remove(&container) && slot.users.is_empty() {
                slot.idle = Some(now);
            }
        }
    }

    /// When the next layer has to go.
    pub(super) fn next(&self) -> Option<Instant> {
        let idle = self.slots.values().filter_map(Slot::leaves);
        idle.min()
    }

    /// The partitions that the guest is to forget now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<u8> {
        let mut due = Vec::new();
        for (number, slot) in &mut self.slots {
            if slot.leaves().is_some_and(|at| at <= now) {
                slot.stage = Stage::Forgetting;
                due.push(*number);
            }
        }
        due
    }

    /// What the guest says of a partition that it was to forget.
    pub(super) fn forgotten(&mut self, partition: u8, gone: bool, now: Instant) -> Forgotten {
        let asked = |slot: &&mut Slot| slot.stage == Stage::Forgetting;
        let Some(slot) = self.slots.get_mut(&partition).filter(asked) else {
            return Forgotten::Unasked;
        };
        if gone {
            slot.stage = Stage::Going;
            Forgotten::Free(place(slot.range))
        } else {
            // Its file system is still being unmounted; it is asked again after the same time.
            slot.stage = Stage::There;
            slot.idle = Some(now);
            Forgotten::Later
        }
    }
}

/// What a guest's word about a partition comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// The monitor is to free this place.
    Free(Place),
    /// It is asked again.
    Later,
    /// Nobody asked; the guest is hostile.
    Unasked,
}

impl Slot {
    fn leaves(&self) -> Option<Instant> {
        let idle = self.idle.filter(|_| self.stage == Stage::There)?;
        Some(idle + LINGER)
    }
}

fn place(range: Range) -> Place {
    Place {
        disk: DISK,
        start: range.start,
        length: range.length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(directory: &Path, name: &str) -> (PathBuf, u64) {
        let path = directory.join(name);
        std::fs::write(&path, [0; 4096]).unwrap();
        (path, 4096)
    }

    /// A shelf with one layer, which container 1 uses.
    fn with_one(directory: &Path) -> (Shelf, (PathBuf, u64), Vec<Layer>, Vec<Insertion>) {
        let base = layer(directory, "a");
        let mut shelf = Shelf::default();
        let (places, inserted) = shelf
            .take(1.into(), std::slice::from_ref(&base), false)
            .unwrap();
        shelf.done(inserted[0].place, false);
        (shelf, base, places, inserted)
    }

    #[test]
    fn layer_is_inserted_once_for_all_who_need_it() {
        let directory = tempfile::tempdir().unwrap();
        let (base, top) = (layer(directory.path(), "a"), layer(directory.path(), "b"));
        let mut shelf = Shelf::default();
        let (one, first) = shelf
            .take(1.into(), std::slice::from_ref(&base), false)
            .unwrap();
        let (two, second) = shelf
            .take(2.into(), &[base.clone(), top.clone()], false)
            .unwrap();
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_eq!(one[0], two[0]);
        assert!(!shelf.is_ready(1.into()) && !shelf.is_ready(2.into()));
        assert!(shelf.done(first[0].place, false).is_empty());
        assert!(shelf.is_ready(1.into()) && !shelf.is_ready(2.into()));
        assert!(shelf.done(second[0].place, false).is_empty());
        assert!(shelf.is_ready(2.into()));
    }

    #[test]
    fn layer_goes_when_nobody_has_used_it_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let (mut shelf, base, places, inserted) = with_one(directory.path());
        let now = Instant::now();
        assert_eq!(shelf.next(), None);
        shelf.release(1.into(), now);
        assert_eq!(shelf.next(), Some(now + LINGER));
        assert!(shelf.due(now).is_empty());
        assert_eq!(shelf.due(now + LINGER), [places[0].partition]);
        // Whoever comes now needs a place of their own.
        let (other, again) = shelf
            .take(2.into(), std::slice::from_ref(&base), false)
            .unwrap();
        assert_ne!(other[0].partition, places[0].partition);
        assert_ne!(again[0].place, inserted[0].place);
        let freed = shelf.forgotten(places[0].partition, true, now);
        assert_eq!(freed, Forgotten::Free(inserted[0].place));
        shelf.done(inserted[0].place, false);
        assert_eq!(shelf.slots.len(), 1);
    }

    #[test]
    fn layer_that_the_guest_cannot_forget_yet_stays_and_is_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut shelf, base, places, _) = with_one(directory.path());
        let now = Instant::now();
        shelf.release(1.into(), now);
        shelf.due(now + LINGER);
        assert_eq!(
            shelf.forgotten(places[0].partition, false, now),
            Forgotten::Later
        );
        let (again, inserted) = shelf
            .take(2.into(), std::slice::from_ref(&base), false)
            .unwrap();
        assert_eq!((again, inserted), (places, Vec::new()));
    }

    #[test]
    fn forgetting_that_nobody_asked_for_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (mut shelf, _, places, _) = with_one(directory.path());
        let now = Instant::now();
        assert_eq!(
            shelf.forgotten(places[0].partition, true, now),
            Forgotten::Unasked
        );
        assert!(shelf.is_ready(1.into()));
    }

    #[test]
    fn refused_layer_names_all_who_wait_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let base = layer(directory.path(), "a");
        let mut shelf = Shelf::default();
        let (_, inserted) = shelf
            .take(1.into(), std::slice::from_ref(&base), false)
            .unwrap();
        shelf
            .take(2.into(), std::slice::from_ref(&base), false)
            .unwrap();
        assert_eq!(shelf.done(inserted[0].place, true), [1.into(), 2.into()]);
        assert!(shelf.slots.is_empty());
    }

    #[test]
    fn places_do_not_overlap_and_are_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _) = layer(directory.path(), "a");
        let (other, _) = layer(directory.path(), "b");
        let mut shelf = Shelf::default();
        let (_, large) = shelf
            .take(1.into(), &[(path.clone(), 3 << 20)], false)
            .unwrap();
        let (_, small) = shelf.take(2.into(), &[(other, 4096)], false).unwrap();
        assert_eq!(
            (large[0].place.start, small[0].place.start),
            (1 << 20, 4 << 20)
        );
        shelf.done(large[0].place, true);
        let (_, third) = shelf.take(3.into(), &[(path, 4096)], false).unwrap();
        assert_eq!(third[0].place.start, 1 << 20);
    }

    #[test]
    fn more_layers_than_partitions_are_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::default();
        for index in 0..255 {
            let one = layer(directory.path(), &index.to_string());
            shelf.take(index.into(), &[one], false).unwrap();
        }
        let known = layer(directory.path(), "0");
        let error = shelf
            .take(256.into(), &[known, layer(directory.path(), "x")], false)
            .unwrap_err();
        assert!(error.to_string().contains("255 layers"), "{error}");
        assert!(
            shelf
                .slots
                .values()
                .all(|slot| !slot.users.contains(&256.into()))
        );
    }

    #[test]
    fn layer_that_is_checked_has_a_partition_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (mut shelf, base, places, _) = with_one(directory.path());
        let layers = std::slice::from_ref(&base);
        let (checked, inserted) = shelf.take(2.into(), layers, true).unwrap();
        assert_ne!(checked[0].partition, places[0].partition);
        assert_eq!(inserted[0].path, base.0);
        let (again, inserted) = shelf.take(3.into(), layers, true).unwrap();
        assert_eq!((again, inserted.len()), (checked, 0));
    }

    #[test]
    fn layer_that_was_removed_from_the_store_and_came_again_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let (mut shelf, base, places, _) = with_one(directory.path());
        std::fs::remove_file(&base.0).unwrap();
        let again = layer(directory.path(), "a");
        let (others, inserted) = shelf.take(2.into(), &[again], false).unwrap();
        assert_ne!(others[0].partition, places[0].partition);
        assert_eq!(inserted.len(), 1);
    }
}
