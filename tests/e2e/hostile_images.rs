//! Images that are broken or evil are named and refused, and the store stays as it was.

use std::{fs, os::unix::fs::FileExt, path::Path, process::Command};

use coracle_tests::{Done, coracle, done, sample};
use tempfile::TempDir;

struct Scene {
    work: TempDir,
    store: TempDir,
}

impl Scene {
    /// A store with one good image, and a directory with that image's layout.
    fn new() -> Self {
        let scene = Self {
            work: tempfile::tempdir().unwrap(),
            store: tempfile::tempdir().unwrap(),
        };
        let archive = sample("busybox");
        let layout = scene.work.path().join("layout");
        fs::create_dir(&layout).unwrap();
        let mut tar = Command::new("tar");
        assert!(
            tar.arg("-C")
                .arg(&layout)
                .arg("-xf")
                .arg(&archive)
                .status()
                .unwrap()
                .success()
        );
        let _ = scene.load(&archive).expect(0);
        scene
    }

    fn load(&self, path: &Path) -> Done {
        let mut command = coracle(["load", "-i", path.to_str().unwrap()]);
        done(command.env("XDG_DATA_HOME", self.store.path()))
    }

    /// Loads what must be refused, and checks that the store holds what it held before.
    fn refused(&self, path: &Path) -> String {
        let before = tree(self.store.path());
        let done = self.load(path).expect(1);
        assert_eq!(tree(self.store.path()), before, "the store changed");
        done.stderr
    }

    /// The largest blob of the layout: the layer.
    fn layer(&self) -> std::path::PathBuf {
        let blobs = self.work.path().join("layout/blobs/sha256");
        let entries = fs::read_dir(blobs).unwrap().flatten();
        entries
            .map(|entry| entry.path())
            .max_by_key(|path| fs::metadata(path).unwrap().len())
            .unwrap()
    }

    /// Runs a script in the work directory, which holds `layout`.
    fn script(&self, script: &str) {
        let mut bash = Command::new("bash");
        let status = bash
            .args(["-euc", script])
            .current_dir(self.work.path())
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }
}

/// Every path below a directory, with its length.
fn tree(path: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        let path = entry.path();
        if metadata.is_dir() {
            found.extend(tree(&path));
        }
        let length = if metadata.is_dir() { 0 } else { metadata.len() };
        found.push((path.to_string_lossy().into_owned(), length));
    }
    found.sort();
    found
}

#[test]
fn flipped_bit_in_a_layer_is_a_wrong_digest() {
    let scene = Scene::new();
    let store = tempfile::tempdir().unwrap();
    let layer = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(scene.layer())
        .unwrap();
    let middle = layer.metadata().unwrap().len() / 2;
    let mut byte = [0];
    layer.read_exact_at(&mut byte, middle).unwrap();
    layer.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    // Into a store that does not have the layer yet, so that it is read.
    let mut command = coracle([
        "load",
        "-i",
        scene.work.path().join("layout").to_str().unwrap(),
    ]);
    let done = done(command.env("XDG_DATA_HOME", store.path())).expect(1);
    assert!(
        done.stderr.contains("sha256:") || done.stderr.contains("corrupt"),
        "{}",
        done.stderr
    );
    let layers = tree(store.path())
        .into_iter()
        .filter(|(path, length)| *length > 4096 && path.contains("layer"));
    assert_eq!(layers.count(), 0);
}

#[test]
fn truncated_archive_is_refused() {
    let scene = Scene::new();
    scene.script(&format!(
        "head -c 300000 {} > short.tar",
        sample("debian").display()
    ));
    let words = scene.refused(&scene.work.path().join("short.tar"));
    assert!(!words.is_empty());
}

#[test]
fn image_for_another_system_is_refused_with_what_is_needed() {
    let scene = Scene::new();
    // A Windows image: the kernel of a guest here is Linux.
    scene.script(
        "cd layout; manifest=$(jq -r '.manifests[0].digest' index.json | cut -d: -f2); \
         config=$(jq -r .config.digest blobs/sha256/$manifest | cut -d: -f2); \
         jq -c '.os=\"windows\"' blobs/sha256/$config > c; c=$(sha256sum < c | cut -d' ' -f1); \
         mv c blobs/sha256/$c; \
         jq -c --arg d sha256:$c --argjson s $(stat -c %s blobs/sha256/$c) \
           '.config.digest=$d | .config.size=$s' blobs/sha256/$manifest > m; \
         m=$(sha256sum < m | cut -d' ' -f1); mv m blobs/sha256/$m; \
         jq -c --arg d sha256:$m --argjson s $(stat -c %s blobs/sha256/$m) \
           '.manifests[0].digest=$d | .manifests[0].size=$s' index.json > i; mv i index.json",
    );
    let words = scene.refused(&scene.work.path().join("layout"));
    assert!(
        words.contains("windows") && words.contains("linux"),
        "{words}"
    );
}

#[test]
fn layer_with_a_path_out_of_the_tree_is_refused() {
    let scene = Scene::new();
    scene.script("mkdir d; echo x > d/f; tar -C d --transform 's,^,../../,' -P -cf evil.tar f");
    let words = scene.refused(&scene.work.path().join("evil.tar"));
    assert!(words.contains(".."), "{words}");
}

#[test]
fn hard_link_out_of_the_tree_is_refused() {
    let scene = Scene::new();
    scene.script(
        "python3 - <<'END'\nimport tarfile\nt = tarfile.open('link.tar', 'w')\n\
         i = tarfile.TarInfo('l'); i.type = tarfile.LNKTYPE; i.linkname = '../../etc/passwd'\n\
         t.addfile(i); t.close()\nEND",
    );
    let words = scene.refused(&scene.work.path().join("link.tar"));
    assert!(words.contains("etc/passwd"), "{words}");
}

#[test]
fn sparse_bomb_of_a_terabyte_is_refused() {
    let scene = Scene::new();
    scene.script("truncate -s 1100G big; tar --sparse -cf bomb.tar big");
    let words = scene.refused(&scene.work.path().join("bomb.tar"));
    assert!(words.contains("big"), "{words}");
}

#[test]
fn picture_is_not_an_image_of_this_kind() {
    let scene = Scene::new();
    scene.script("printf '\\xff\\xd8\\xff\\xe0\\0\\x10JFIF' > picture.jpg");
    let words = scene.refused(&scene.work.path().join("picture.jpg"));
    assert!(words.contains("picture.jpg"), "{words}");
    let words = scene.refused(Path::new("/no/such/file"));
    assert!(words.contains("/no/such/file"), "{words}");
}

#[test]
fn unknown_media_type_is_named() {
    let scene = Scene::new();
    scene.script(
        "cd layout; manifest=$(jq -r '.manifests[0].digest' index.json | cut -d: -f2); \
         jq -c '.layers[0].mediaType=\"application/x-boat\"' blobs/sha256/$manifest > m; \
         m=$(sha256sum < m | cut -d' ' -f1); mv m blobs/sha256/$m; \
         jq -c --arg d sha256:$m --argjson s $(stat -c %s blobs/sha256/$m) \
           '.manifests[0].digest=$d | .manifests[0].size=$s' index.json > i; mv i index.json",
    );
    let words = scene.refused(&scene.work.path().join("layout"));
    assert!(words.contains("application/x-boat"), "{words}");
}

#[test]
fn index_that_names_itself_is_refused() {
    let scene = Scene::new();
    // A digest cannot contain itself, so the cycle is made of depth: more indexes than any image has.
    scene.script(
        "cd layout; d=$(jq -r '.manifests[0].digest' index.json); s=$(jq '.manifests[0].size' index.json); \
         t=application/vnd.oci.image.manifest.v1+json; \
         for n in 1 2 3 4 5 6 7 8 9 10; do \
           jq -nc --arg d $d --argjson s $s --arg t $t '{schemaVersion:2,mediaType:\"application/vnd.oci.image.index.v1+json\",manifests:[{mediaType:$t,digest:$d,size:$s}]}' > x; \
           h=$(sha256sum < x | cut -d' ' -f1); mv x blobs/sha256/$h; d=sha256:$h; \
           s=$(stat -c %s blobs/sha256/$h); t=application/vnd.oci.image.index.v1+json; done; \
         jq -nc --arg d $d --argjson s $s --arg t $t '{schemaVersion:2,manifests:[{mediaType:$t,digest:$d,size:$s}]}' > index.json",
    );
    let words = scene.refused(&scene.work.path().join("layout"));
    assert!(words.contains("deep") || words.contains("nest"), "{words}");
}
