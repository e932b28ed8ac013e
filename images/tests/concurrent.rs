//! Several processes use one store, and some of them die.

use std::fs::{self, File};
use std::sync::Barrier;

use images::image::Platform;
use images::source::{Input, Source, SourceError, SourceImage, SourceLayer};
use images::store::{Event, Silent, Store};

mod support;
use support::{Image, Place, open, tree};

fn image(number: usize) -> Image {
    let own = number.to_string();
    Image::new(
        &format!("i{number}"),
        &[("etc/base", "0"), ("etc/own", &own)],
    )
}

/// Loads an archive through a store value of its own, as another process would.
fn load(root: &std::path::Path, archive: &std::path::Path) {
    let store = open(root);
    let source = store.open_source(Input::Path(archive)).expect("an archive");
    store.load(&*source, None, &Silent).expect("a good image");
}

#[test]
fn concurrent_loads_of_a_shared_layer_all_succeed() {
    const LOADERS: usize = 8;
    let place = Place::new();
    let root = place.store.root();
    let archives: Vec<_> = (0..LOADERS)
        .map(|number| place.write(&format!("{number}.tar"), &image(number).oci_tar()))
        .collect();
    let together = Barrier::new(LOADERS);
    std::thread::scope(|scope| {
        for archive in &archives {
            scope.spawn(|| {
                together.wait();
                load(root, archive);
            });
        }
    });
    assert_eq!(place.store.list().unwrap().len(), LOADERS);
    assert_eq!(
        fs::read_dir(root.join("layers")).unwrap().count(),
        LOADERS + 1
    );
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[test]
fn names_given_at_once_are_all_kept() {
    const TAGS: usize = 8;
    let place = Place::with_image();
    let together = Barrier::new(TAGS);
    std::thread::scope(|scope| {
        for number in 0..TAGS {
            let (place, together) = (&place, &together);
            scope.spawn(move || {
                let name = format!("tag{number}").parse().unwrap();
                together.wait();
                open(place.store.root()).tag("kept", &name).unwrap();
            });
        }
    });
    assert_eq!(place.store.list().unwrap()[0].names.len(), TAGS + 1);
}

#[test]
fn leftovers_of_dead_processes_go_with_the_next_change_and_a_living_ones_stay() {
    let place = Place::with_image();
    let tmp = place.store.root().join("tmp");
    for name in ["load-dead", "load-living"] {
        fs::create_dir(tmp.join(name)).unwrap();
        fs::write(tmp.join(name).join("0.erofs"), "half").unwrap();
    }
    fs::write(tmp.join("stray"), "x").unwrap();
    let living = File::open(tmp.join("load-living")).unwrap();
    living.lock().unwrap();
    place.load_bytes(&image(1).oci_tar()).unwrap();
    let left: Vec<_> = tree(&tmp).into_keys().collect();
    assert_eq!(
        left,
        [tmp.join("load-living"), tmp.join("load-living/0.erofs")]
    );
    drop(living);
    place.store.remove("i1", false).unwrap();
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn files_of_a_commit_that_a_crash_cut_off_go_with_the_next_removal() {
    let place = Place::with_image();
    place.load_bytes(&image(1).oci_tar()).unwrap();
    let root = place.store.root();
    let orphan = root
        .join("layers")
        .join(format!("sha256-{}", "a".repeat(64)));
    fs::create_dir(&orphan).unwrap();
    fs::write(orphan.join("layer.erofs"), "x").unwrap();
    fs::write(root.join("images/sha256-b.json"), "{").unwrap();
    fs::write(root.join("index.new"), "{").unwrap();
    place.store.remove("i1", false).unwrap();
    assert!(!orphan.exists());
    assert!(place.store.resolve("kept").unwrap().layers[0].path.exists());
}

/// Removes an image between the look at what is there and the commit.
struct Interfering<'a> {
    inner: Box<dyn Source>,
    store: &'a Store,
    victim: &'static str,
}

impl Source for Interfering<'_> {
    fn origin(&self) -> &str {
        self.inner.origin()
    }

    fn images(&self, platform: &Platform) -> Result<Vec<SourceImage>, SourceError> {
        self.inner.images(platform)
    }

    fn open_layer(
        &self,
        layer: &SourceLayer,
    ) -> Result<Box<dyn std::io::Read + Send + '_>, SourceError> {
        // Only the first removal finds the image.
        drop(self.store.remove(self.victim, false));
        self.inner.open_layer(layer)
    }
}

#[test]
fn shared_layer_that_is_removed_during_a_load_is_made_again() {
    let place = Place::new();
    place.load_bytes(&image(1).oci_tar()).unwrap();
    let archive = place.write("2.tar", &image(2).oci_tar());
    let inner = place.store.open_source(Input::Path(&archive)).unwrap();
    let source = Interfering {
        inner,
        store: &place.store,
        victim: "i1",
    };
    let rounds = std::sync::atomic::AtomicUsize::new(0);
    let progress = |event: Event<'_>| {
        if matches!(event, Event::Begin { .. }) {
            rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let loaded = place.store.load(&source, None, &progress).unwrap();
    assert_eq!(rounds.into_inner(), 2);
    assert_eq!(loaded[0].new_layers, 2);
    for layer in place.store.resolve("i2").unwrap().layers {
        assert!(layer.path.exists());
    }
    assert!(place.store.resolve("i1").is_err());
}
