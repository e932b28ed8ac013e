//! A disk that fills up at any place of a load: the words say so, and the store is as it was.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its scene cannot be set"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use images::source::Input;
use images::store::{Silent, StoreError};

mod support;
use support::{Image, gzip, messages, open, tree};

/// Unit of a tmpfs in bytes.
const PAGE: u64 = 4096;
/// Says to this program that it runs in a mount namespace of its own.
const INSIDE: &str = "CORACLE_TEST_INSIDE";

/// Runs a test of this program again where it may mount.
fn run_inside(test: &str) {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// A small disk that is gone with the namespace.
fn disk() -> tempfile::TempDir {
    assert!(
        std::env::var_os(INSIDE).is_some(),
        "only where mounts vanish"
    );
    let place = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4M", "none"])
        .arg(place.path())
        .status();
    assert!(mounted.unwrap().success());
    place
}

/// Fills the disk but for some bytes.
fn leave_free(disk: &Path, free: u64) {
    let mut filler = File::create(disk.join("filler")).unwrap();
    let page = vec![1; usize::try_from(PAGE).unwrap()];
    while filler.write_all(&page).is_ok() {}
    let length = filler.metadata().unwrap().len() / PAGE * PAGE;
    filler.set_len(length - free).unwrap();
}

fn load(root: &Path, archive: &Path) -> Result<(), StoreError> {
    let store = open(root);
    let source = store.open_source(Input::Path(archive))?;
    store.load(&*source, None, &Silent).map(drop)
}

/// Loads with more and more space until it is enough; the result is how often it was not.
fn loads_that_fail(archive: &[u8]) -> u64 {
    let disk = disk();
    let outside = tempfile::tempdir().unwrap();
    let (kept, input) = (outside.path().join("kept"), outside.path().join("input"));
    fs::write(&kept, Image::new("kept", &[("kept", "kept")]).oci_tar()).unwrap();
    fs::write(&input, archive).unwrap();
    let root = disk.path().join("store");
    load(&root, &kept).unwrap();
    let before = tree(&root);
    let mut pages = 0;
    loop {
        leave_free(disk.path(), pages * PAGE);
        let Err(error) = load(&root, &input) else {
            break;
        };
        let text = messages(&error);
        assert!(
            text.contains("no space left on the disk of the image store"),
            "{text}"
        );
        assert!(text.contains("remove images with `coracle rmi`"), "{text}");
        assert_eq!(tree(&root), before, "with {pages} pages: {text}");
        pages += 1;
    }
    assert_eq!(open(&root).list().unwrap().len(), 2);
    assert!(load(&root, &kept).is_ok());
    pages
}

fn image() -> Vec<u8> {
    let large: String = (0..9000).map(|number| format!("{number:x}")).collect();
    Image::new("new", &[("etc/one", &large), ("etc/two", "2")]).oci_tar()
}

#[test]
#[ignore = "runs in a mount namespace"]
fn inside_load() {
    // Two layers, two documents, a record and the list are written, a page each at least.
    assert!(loads_that_fail(&image()) > 10);
}

#[test]
fn load_on_a_full_disk_says_so_and_leaves_nothing() {
    run_inside("inside_load");
}

#[test]
#[ignore = "runs in a mount namespace"]
fn inside_compressed_load() {
    // The unpacked archive is kept while it is read.
    let archive = image();
    assert!(loads_that_fail(&gzip(&archive)) > archive.len() as u64 / PAGE + 10);
}

#[test]
fn compressed_load_on_a_full_disk_says_so_and_leaves_nothing() {
    run_inside("inside_compressed_load");
}

#[test]
#[ignore = "runs in a mount namespace"]
fn inside_removal() {
    let disk = disk();
    let input = disk.path().join("input");
    fs::write(&input, image()).unwrap();
    let root = disk.path().join("store");
    load(&root, &input).unwrap();
    leave_free(disk.path(), 0);
    open(&root).remove("new", false).unwrap();
    assert!(open(&root).list().unwrap().is_empty());
    assert_eq!(fs::read_dir(root.join("layers")).unwrap().count(), 0);
}

#[test]
fn removal_works_on_a_full_disk() {
    run_inside("inside_removal");
}
