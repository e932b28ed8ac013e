//! What is done with images once they are here: saving, verifying, pruning.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use coracle_tests::{done, sample};
use serde_json::{Value, json};

use super::{Image, User, gzip, image, layer, noise, server::Registry, sha256, tool};

/// A registry with two images that share a layer; `other` has one more.
fn two_images() -> (Registry, Image) {
    let registry = Registry::start();
    let base = || gzip(layer("base", &noise(1, 300_000)));
    registry.push("boat", "latest", &image("amd64", vec![base()]));
    let other = image("amd64", vec![base(), gzip(layer("own", &noise(2, 50_000)))]);
    registry.push("other", "latest", &other);
    (registry, other)
}

pub(super) fn layer_path(user: &User, layer: &super::Layer) -> PathBuf {
    let name = sha256(&layer.tar).replace(':', "-");
    user.store().join("layers").join(name).join("layer.erofs")
}

/// Changes one bit in the middle of a file.
pub(super) fn flip(path: &Path) {
    // Only its owner may write, who has to ask for it.
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 4], middle).unwrap();
}

#[test]
fn saved_image_is_what_was_loaded_for_every_reader() {
    let user = User::new();
    let archive = sample("busybox");
    let loaded = user.coracle(&["load", "-i", archive.to_str().unwrap(), "-t", "boat:1"]);
    let _ = loaded.expect(0);
    let layers = user.inspect("boat:1")["RootFS"]["Layers"].clone();
    let id = user.inspect("boat:1")["Id"].clone();
    let home = user.path("");
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let path = user.path(format).display().to_string();
        let _ = user
            .coracle(&["save", "--format", format, "-o", &path, "boat:1"])
            .expect(0);
        let from = match format {
            "docker-archive" => format!("docker-archive:{path}:boat:1"),
            "oci-archive" => format!("oci-archive:{path}:1"),
            _ => format!("oci:{path}:1"),
        };
        // Skopeo checks the digests of all that it copies.
        let copy = format!(
            "oci:{}:copy",
            user.path(&format!("{format}.copy")).display()
        );
        tool(
            &home,
            "skopeo",
            &["copy", "-q", "--insecure-policy", &from, &copy],
        );
        let inspected = tool(&home, "skopeo", &["inspect", "--config", &from]);
        let config: Value = serde_json::from_slice(&inspected).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], layers, "{format}");
        let again = User::new();
        let _ = again.coracle(&["load", "-i", &path]).expect(0);
        assert_eq!(again.inspect("boat:1")["Id"], id, "{format}");
    }
}

#[test]
fn saved_layers_unpack_to_the_same_files() {
    let user = User::new();
    let archive = sample("busybox");
    let _ = user
        .coracle(&["load", "-i", archive.to_str().unwrap(), "-t", "boat:1"])
        .expect(0);
    let saved = user.path("saved").display().to_string();
    let _ = user
        .coracle(&["save", "--format", "oci-dir", "-o", &saved, "boat:1"])
        .expect(0);
    let script = "
        mkdir original; tar -C original -xf $0
        tag=$(jq -r '.manifests[0].annotations[\"org.opencontainers.image.ref.name\"]' original/index.json)
        umoci unpack --rootless --image original:$tag one; umoci unpack --rootless --image saved:1 two
        for tree in one two; do
          (cd $tree/rootfs; find . -printf '%p %m %y %s %T@ %l\\n' | sort; find . -type f -exec md5sum {} + | sort) >$tree.list
        done
        cmp one.list two.list";
    tool(
        &user.path(""),
        "bash",
        &["-euc", script, archive.to_str().unwrap()],
    );
}

#[test]
fn podman_reads_what_is_saved() {
    let user = User::new();
    let archive = sample("klibc");
    let loaded = user.coracle(&["load", "-i", archive.to_str().unwrap(), "-t", "boat:1"]);
    let _ = loaded.expect(0);
    let inspected = user.inspect("boat:1");
    let home = user.path("");
    let (root, state) = (home.join("podman"), home.join("podman-run"));
    let podman = |arguments: &[&str]| {
        let own = [
            "--root",
            root.to_str().unwrap(),
            "--runroot",
            state.to_str().unwrap(),
            "--storage-driver=vfs",
        ];
        tool(&home, "podman", &[&own[..], arguments].concat())
    };
    for format in ["docker-archive", "oci-archive"] {
        let path = user.path(format).display().to_string();
        let _ = user
            .coracle(&["save", "--format", format, "-o", &path, "boat:1"])
            .expect(0);
        podman(&["load", "-q", "-i", &path]);
        let shown: Value =
            serde_json::from_slice(&podman(&["image", "inspect", "boat:1"])).unwrap();
        assert_eq!(
            shown[0]["RootFS"]["Layers"], inspected["RootFS"]["Layers"],
            "{format}"
        );
        let id = inspected["Id"].as_str().unwrap();
        assert_eq!(format!("sha256:{}", shown[0]["Id"].as_str().unwrap()), id);
        podman(&["rmi", "--all", "--force"]);
    }
}

#[test]
fn images_are_saved_together_with_shared_layers_once() {
    let (registry, _) = two_images();
    let user = User::new();
    let names = [registry.name("boat"), registry.name("other")];
    for name in &names {
        let _ = user.coracle(&["pull", "-q", name]).expect(0);
    }
    let path = user.path("both.tar").display().to_string();
    let _ = user
        .coracle(&["save", "-o", &path, &names[0], &names[1]])
        .expect(0);
    let listed = String::from_utf8(tool(&user.path(""), "tar", &["-tf", &path])).unwrap();
    // Two layers, two configurations, two manifests.
    assert_eq!(
        listed.lines().filter(|line| line.len() > 64).count(),
        6,
        "{listed}"
    );
    let other = User::new();
    let loaded = other.coracle(&["load", "-i", &path]).expect(0).stdout;
    assert!(
        names.iter().all(|name| loaded.contains(name.as_str())),
        "{loaded}"
    );
}

#[test]
fn name_of_a_repository_saves_all_of_its_tags() {
    let (registry, _) = two_images();
    let user = User::new();
    let boat = registry.name("boat");
    let _ = user.coracle(&["pull", "-q", &boat]).expect(0);
    for tag in ["1", "2"] {
        let _ = user
            .coracle(&["tag", &boat, &format!("{boat}:{tag}")])
            .expect(0);
    }
    let other = registry.name("other");
    let _ = user.coracle(&["pull", "-q", &other]).expect(0);
    let _ = user
        .coracle(&["tag", &other, &format!("{boat}:2")])
        .expect(0);
    let saved = |names: &[&str]| {
        let path = user.path("saved.tar").display().to_string();
        let arguments = [&["save", "-o", &path], names].concat();
        let _ = user.coracle(&arguments).expect(0);
        let text = tool(&user.path(""), "tar", &["-xOf", &path, "manifest.json"]);
        let entries: Vec<Value> = serde_json::from_slice(&text).unwrap();
        let mut tags: Vec<Value> = entries
            .iter()
            .map(|entry| entry["RepoTags"].clone())
            .collect();
        tags.sort_by_key(ToString::to_string);
        tags
    };
    let one = format!("{boat}:1");
    let (two, latest) = (format!("{boat}:2"), format!("{boat}:latest"));
    assert_eq!(saved(&[&boat]), [json!([one, latest]), json!([two])]);
    assert_eq!(saved(&[&one]), [json!([one])]);
    // The same image by two names is one.
    assert_eq!(saved(&[&one, &latest]), [json!([one, latest])]);
}

#[test]
fn archive_that_replaces_its_own_file_is_saved_as_it_came() {
    let registry = Registry::start();
    let work = tempfile::tempdir().unwrap();
    let script = "head -c 5000 /dev/urandom >f; tar -cf l f; head -c 5000 /dev/urandom >f; tar -rf l f; cat l";
    let mut twice = layer("f", b"");
    twice.tar = tool(work.path(), "bash", &["-euc", script]);
    let image = image("amd64", vec![gzip(twice)]);
    registry.push("twice", "latest", &image);
    let name = registry.name("twice");
    let user = User::new();
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    let path = user.path("dir").display().to_string();
    let _ = user
        .coracle(&["save", "--format", "oci-dir", "-o", &path, &name])
        .expect(0);
    let digest = sha256(&image.layers[0].blob).replace("sha256:", "blobs/sha256/");
    let saved = fs::read(user.path("dir").join(digest)).unwrap();
    assert!(saved == image.layers[0].blob);
}

#[test]
fn save_leaves_nothing_when_it_fails() {
    let (registry, image) = two_images();
    let name = registry.name("other");
    let user = User::new();
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    flip(&layer_path(&user, &image.layers[1]));
    for format in ["docker-archive", "oci-dir"] {
        let path = user.path("saved").display().to_string();
        let words = user
            .coracle(&["save", "--format", format, "-o", &path, &name])
            .expect(1)
            .stderr;
        assert!(words.contains("is damaged in the store"), "{words}");
    }
    let left = fs::read_dir(user.path("")).unwrap().flatten();
    let left: Vec<_> = left
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("saved"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn flipped_bit_is_found_wherever_it_is_and_repaired_by_a_pull() {
    let (registry, image) = two_images();
    let name = registry.name("other");
    let user = User::new();
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    let whole = user.coracle(&["image", "verify"]).expect(0).stdout;
    assert!(whole.contains("OK"), "{whole}");
    let blob = |bytes: &[u8]| {
        let digest = sha256(bytes).replace("sha256:", "");
        user.store().join("blobs/sha256").join(digest)
    };
    for (path, words) in [
        (layer_path(&user, &image.layers[0]), "layer sha256:"),
        (layer_path(&user, &image.layers[1]), "layer sha256:"),
        (blob(&image.config), "configuration sha256:"),
        (blob(&image.manifest), "manifest sha256:"),
    ] {
        flip(&path);
        let found = user.coracle(&["image", "verify", &name]).expect(1).stdout;
        assert!(
            found.contains(words) && found.contains("is damaged"),
            "{found}"
        );
        let _ = user.coracle(&["pull", "-q", &name]).expect(0);
        let _ = user.coracle(&["image", "verify", &name]).expect(0);
    }
}

#[test]
fn inspect_shows_the_chain_from_manifest_to_root_hash() {
    let (registry, other) = two_images();
    let name = registry.name("other");
    let user = User::new();
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    let inspected = user.inspect(&name);
    assert_eq!(
        inspected["Coracle"]["Manifest"],
        json!(sha256(&other.manifest))
    );
    assert_eq!(inspected["Id"], json!(sha256(&other.config)));
    for (number, layer) in other.layers.iter().enumerate() {
        let shown = &inspected["Coracle"]["Layers"][number];
        assert_eq!(shown["Digest"], json!(sha256(&layer.blob)));
        assert_eq!(shown["DiffId"], json!(sha256(&layer.tar)));
        // The kernel's own tool checks the data, and the tree behind them, against the root.
        let path = layer_path(&user, layer).display().to_string();
        let data = shown["HashOffset"].as_u64().unwrap();
        let blocks = format!("--data-blocks={}", data / 4096);
        let offset = format!("--hash-offset={data}");
        let options = ["verify", "--no-superblock", "--salt=-", &blocks, &offset];
        let root = shown["RootHash"].as_str().unwrap();
        let arguments = [&options[..], &[&path, &path, &root["sha256:".len()..]]].concat();
        tool(&user.path(""), "veritysetup", &arguments);
    }
}

#[test]
fn prune_takes_what_has_no_name_and_with_all_everything() {
    let (registry, _) = two_images();
    let user = User::new();
    let (boat, other) = (registry.name("boat"), registry.name("other"));
    let _ = user.coracle(&["pull", "-q", &boat]).expect(0);
    let _ = user.coracle(&["pull", "-q", &other]).expect(0);
    // Its name goes to the other image.
    let _ = user.coracle(&["tag", &other, &boat]).expect(0);
    let pruned = user.coracle(&["image", "prune", "-f"]).expect(0).stdout;
    assert!(pruned.contains("deleted: sha256:"), "{pruned}");
    assert_eq!(user.files("images").len(), 1);
    assert_eq!(user.files("layers").len(), 2);
    let declined = user.coracle(&["prune", "-a"]).expect(0).stdout;
    assert!(declined.contains("[y/N]"), "{declined}");
    assert_eq!(user.files("images").len(), 1);
    let pruned = user.coracle(&["prune", "-a", "-f"]).expect(0).stdout;
    assert!(pruned.contains(&format!("untagged: {other}")), "{pruned}");
    for folder in ["images", "layers", "blobs/sha256"] {
        assert_eq!(user.files(folder), Vec::<String>::new(), "{folder}");
    }
}

#[test]
fn only_the_image_of_a_container_is_kept_and_the_layers_that_someone_has() {
    let (registry, _) = two_images();
    let user = User::new();
    let (boat, other) = (registry.name("boat"), registry.name("other"));
    let _ = user.coracle(&["pull", "-q", &other]).expect(0);
    let container = user.coracle(&["create", &other, "/sh"]).expect(0).stdout;
    let _ = user.coracle(&["pull", "-q", &boat]).expect(0);
    let usage = || {
        let text = user.coracle(&["df", "--json"]).expect(0).stdout;
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let active = |usage: &Value| {
        let images = usage["Images"].as_array().unwrap().clone();
        let active = images.into_iter().filter(|image| image["Active"] == true);
        active
            .map(|image| image["Names"].clone())
            .collect::<Value>()
    };
    let named = json!([[format!("{other}:latest")]]);
    // All of its layers are the container's, too.
    assert_eq!(active(&usage()), named);
    let pruned = user.coracle(&["prune", "-a", "-f"]).expect(0).stdout;
    assert!(pruned.contains(&format!("untagged: {boat}")), "{pruned}");
    assert!(!pruned.contains(&format!("untagged: {other}")), "{pruned}");
    assert_eq!(active(&usage()), named);
    assert_eq!(usage()["Reclaimable"], 0);
    let _ = user.coracle(&["image", "verify", &other]).expect(0);
    let _ = user.coracle(&["rm", container.trim()]).expect(0);
    let _ = user.coracle(&["prune", "-a", "-f"]).expect(0);
    assert_eq!(user.files("layers").len(), 0);
}

#[test]
fn layers_that_someone_holds_stay_without_their_image() {
    let (registry, image) = two_images();
    let user = User::new();
    let name = registry.name("other");
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    // What 'run' does until its container is there.
    let hold = |layer| {
        let file = File::open(layer_path(&user, layer)).unwrap();
        file.lock_shared().unwrap();
        file
    };
    let held: Vec<File> = image.layers.iter().map(hold).collect();
    let _ = user.coracle(&["prune", "-a", "-f"]).expect(0);
    assert_eq!(user.files("images").len(), 0);
    assert_eq!(user.files("layers").len(), 2);
    drop(held);
    let _ = user.coracle(&["prune", "-f"]).expect(0);
    assert_eq!(user.files("layers").len(), 0);
}

#[test]
fn df_counts_shared_layers_once() {
    let (registry, _) = two_images();
    let user = User::new();
    for name in ["boat", "other"] {
        let _ = user
            .coracle(&["pull", "-q", &registry.name(name)])
            .expect(0);
    }
    let usage = user.coracle(&["system", "df", "--json"]).expect(0).stdout;
    let usage: Value = serde_json::from_str(&usage).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let images = usage["Images"].as_array().unwrap();
    let shared = number(&images[0]["SharedSize"]);
    let unique: u64 = images
        .iter()
        .map(|image| number(&image["UniqueSize"]))
        .sum();
    assert!(
        shared > 300_000 && unique > 50_000 && unique < 100_000,
        "{usage}"
    );
    assert_eq!(number(&images[1]["SharedSize"]), shared);
    assert_eq!(number(&usage["LayersSize"]), shared + unique);
    let shown = user.coracle(&["df", "-v"]).expect(0).stdout;
    assert!(shown.contains("UNIQUE SIZE"), "{shown}");
}

#[test]
fn full_disk_is_said_with_how_much_is_needed_and_nothing_stays() {
    let registry = Registry::start();
    let big = image("amd64", vec![gzip(layer("big", &noise(5, 8 << 20)))]);
    registry.push("big", "latest", &big);
    let user = User::new();
    // A disk of 4 MiB, in a mount namespace of its own.
    let store = user.path("data");
    fs::create_dir(&store).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4m none {store}; {} pull -q {} && exit 9; \
         cd {store}/coracle; find layers partial tmp images -mindepth 1",
        coracle_tests::program("coracle").display(),
        registry.name("big"),
        store = store.display(),
    );
    let mut command = std::process::Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "bash",
        "-uc",
        &script,
    ]);
    command
        .env("XDG_DATA_HOME", &store)
        .env("HOME", user.path(""))
        .env_remove("XDG_CONFIG_HOME");
    let done = done(&mut command).expect(0);
    assert!(done.stderr.contains("no space left"), "{}", done.stderr);
    assert!(done.stderr.contains("MiB are needed"), "{}", done.stderr);
    assert_eq!(done.stdout, "");
}
