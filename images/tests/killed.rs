//! A load that is killed at any place: what was in the store stays whole, and the next load goes on
//! and clears up.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its scene cannot be set"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use images::layer::{Compression, Limits, convert};
use images::source::Input;
use images::store::Silent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

mod support;
use support::{Image, Place, open, tree};

/// Where the process to be killed finds its store and its archive.
const STORE: &str = "CORACLE_TEST_STORE";
const ARCHIVE: &str = "CORACLE_TEST_ARCHIVE";

fn image() -> Image {
    let layers: Vec<(String, String)> = (0..4_usize)
        .map(|number| (format!("etc/{number}"), number.to_string().repeat(50_000)))
        .collect();
    let layers: Vec<(&str, &str)> = layers
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    Image::new("victim", &layers)
}

#[test]
#[ignore = "this is the process that another test kills"]
fn victim() {
    let store = open(Path::new(&std::env::var_os(STORE).expect("a store")));
    let archive = PathBuf::from(std::env::var_os(ARCHIVE).expect("an archive"));
    let source = store.open_source(Input::Path(&archive)).unwrap();
    store.load(&*source, None, &Silent).unwrap();
    std::io::stderr().write_all(b"done").unwrap();
}

fn start(root: &Path, archive: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env(STORE, root)
        .env(ARCHIVE, archive)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a load run until it has changed the store so many times, and kills it. Says whether it had
/// not ended by itself before.
fn kill_after(changes: usize, root: &Path, archive: &Path) -> bool {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    for directory in ["", "images", "blobs/sha256", "layers", "tmp"] {
        let all = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&watch, root.join(directory), all | WatchFlags::CLOSE_WRITE).unwrap();
    }
    let mut child = start(root, archive);
    let mut output = child.stderr.take().unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut seen = 0;
    let mut ended = false;
    while seen < changes && !ended {
        let mut ready = [
            PollFd::new(&watch, PollFlags::IN),
            PollFd::new(&output, PollFlags::IN),
        ];
        poll(&mut ready, None).unwrap();
        ended = !ready[1].revents().is_empty();
        let mut reader = inotify::Reader::new(&watch, &mut buffer);
        while seen < changes && reader.next().is_ok() {
            seen += 1;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    assert!(said.is_empty() || said == "done", "{said}");
    said.is_empty()
}

/// All images that are listed can be run: their layers are what their diff IDs say.
fn assert_whole(place: &Place) {
    for listed in place.store.list().unwrap() {
        let image = place.store.resolve(&listed.id.to_string()).unwrap();
        for layer in &image.layers {
            assert_eq!(layer.path.metadata().unwrap().len(), layer.size);
        }
        place.store.inspect(&listed.id.to_string()).unwrap();
    }
    assert!(place.store.resolve("kept").is_ok());
}

#[test]
fn load_killed_at_any_change_leaves_a_store_that_the_next_one_completes() {
    let place = Place::with_image();
    let root = place.store.root();
    let before = tree(root);
    let archive = place.write("victim.tar", &image().oci_tar());
    place.load_path(&archive).unwrap();
    let after = tree(root);
    place.store.remove("victim", false).unwrap();
    assert_eq!(tree(root), before);

    // It makes some twenty changes; whether it is killed at the one that is asked for or a little
    // later makes no difference.
    let mut killed = 0;
    for changes in 1..=22 {
        killed += usize::from(kill_after(changes, root, &archive));
        assert_whole(&place);
        place.load_path(&archive).unwrap();
        assert_eq!(tree(root), after, "after {changes} changes");
        place.store.remove("victim", false).unwrap();
        assert_eq!(tree(root), before, "after {changes} changes");
    }
    assert!(killed > 0, "each load was quicker than its end");
}

#[test]
fn load_of_another_image_clears_up_after_a_killed_one() {
    let place = Place::with_image();
    let root = place.store.root();
    let archive = place.write("victim.tar", &image().oci_tar());
    let other = place.write("other.tar", &Image::new("other", &[("o", "o")]).oci_tar());
    place.load_path(&other).unwrap();
    let expected = tree(root);
    place.store.remove("other", false).unwrap();
    for changes in [1, 4, 8, 10, 12] {
        kill_after(changes, root, &archive);
        place.load_path(&other).unwrap();
        // Where it came to its end before it was killed, there is something to remove.
        drop(place.store.remove("victim", false));
        assert_eq!(tree(root), expected, "after {changes} changes");
        place.store.remove("other", false).unwrap();
    }
}

#[test]
fn half_of_a_layer_is_no_image() {
    let tar = &image().layers[0];
    let output: File = tempfile::tempfile().unwrap();
    let (none, limits) = (Compression::None, Limits::default());
    convert(
        &tar[..tar.len() / 2],
        none,
        None,
        &output,
        &limits,
        &mut |_| {},
    )
    .unwrap_err();
    let mut start = [0; 4096];
    let read = std::os::unix::fs::FileExt::read_at(&output, &mut start, 0).unwrap();
    assert_eq!(start[..read], [0; 4096][..read]);
}
