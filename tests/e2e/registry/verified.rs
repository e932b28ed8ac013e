//! `run --verify`: what has changed on disk is not read.

use std::{fs, os::unix::fs::FileExt, path::Path};

use coracle_tests::{Done, run};

use super::{
    Image, User, gzip, image, layer, noise,
    server::Registry,
    store::{flip, layer_path},
    tool,
};

/// Content of the file `/data`.
fn data() -> Vec<u8> {
    noise(7, 1 << 20)
}

/// An image of a shell and a file, each in a layer of its own, which is pulled.
fn pulled() -> (Registry, User, Image, String) {
    let registry = Registry::start();
    let mut shell = layer("busybox", b"");
    let options = [
        "--owner=0",
        "--group=0",
        "--mtime=@1",
        "-cf",
        "-",
        "busybox",
    ];
    shell.tar = tool(Path::new("/bin"), "tar", &options);
    let image = image("amd64", vec![gzip(shell), gzip(layer("data", &data()))]);
    registry.push("kept", "latest", &image);
    let name = registry.name("kept");
    let user = User::new();
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    (registry, user, image, name)
}

/// Runs a busybox command in a container of an image.
fn container(user: &User, name: &str, flags: &[&str], command: &[&str]) -> Done {
    let parts = [&["run", "--rm"], flags, &[name, "/busybox"], command];
    user.coracle(&parts.concat())
}

#[test]
fn changed_bit_is_not_read_and_a_pull_repairs_it() {
    let (_registry, user, image, name) = pulled();
    let path = layer_path(&user, &image.layers[1]);
    let stored = fs::read(&path).unwrap();
    flip(&path);

    let failed = container(&user, &name, &["--verify"], &["sha256sum", "/data"]).expect(1);
    assert!(failed.stderr.contains("Input/output error"), "{failed:?}");
    let words = "has changed on disk since it was stored";
    assert!(failed.stderr.contains(words), "{failed:?}");
    assert!(failed.stderr.contains("image verify"), "{failed:?}");
    // What is not asked for is not checked.
    let changed = container(&user, &name, &[], &["sha256sum", "/data"]).expect(0);
    let whole = super::sha256(&data()).replace("sha256:", "");
    assert!(!changed.stdout.contains(&whole), "{changed:?}");

    let found = user.coracle(&["image", "verify", &name]).expect(1).stdout;
    assert!(found.contains("is damaged"), "{found}");
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    assert!(fs::read(&path).unwrap() == stored);
    // Another image is none the worse.
    let _ = run(["--rm", "--verify", "busybox", "true"]).expect(0);
    let repaired = container(&user, &name, &["--verify"], &["sha256sum", "/data"]).expect(0);
    assert!(repaired.stdout.contains(&whole), "{repaired:?}");
}

#[test]
fn layer_that_cannot_be_mounted_unchanged_is_refused() {
    let (_registry, user, image, name) = pulled();
    let path = layer_path(&user, &image.layers[0]);
    // The superblock of the file system, and a hash of the tree.
    let tree = user.inspect(&name)["Coracle"]["Layers"][0]["HashOffset"].clone();
    let tree = tree.as_u64().unwrap();
    for place in [1024 + 4, tree] {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(&path);
        let file = file.unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ 1], place).unwrap();
        let refused = container(&user, &name, &["--verify"], &["true"]).expect(125);
        let words = "layer 1 of the image: it has changed on the disk";
        assert!(refused.stderr.contains(words), "{refused:?}");
        file.write_all_at(&byte, place).unwrap();
    }
}

/// A host of a user's, which is removed when this is dropped.
struct OwnHost<'a>(&'a User);

impl Drop for OwnHost<'_> {
    fn drop(&mut self) {
        let _ = self.0.coracle(&["host", "rm", "--force", "checking"]);
    }
}

#[test]
fn host_checks_for_those_who_ask_and_takes_the_layer_that_was_repaired() {
    let (_registry, user, image, name) = pulled();
    flip(&layer_path(&user, &image.layers[1]));
    let _ = user.coracle(&["host", "create", "checking"]).expect(0);
    let _host = OwnHost(&user);
    let flags = ["--host", "checking", "--verify"];
    let failed = container(&user, &name, &flags, &["sha256sum", "/data"]).expect(1);
    assert!(failed.stderr.contains("image verify"), "{failed:?}");
    let _ = container(&user, &name, &flags[..2], &["sha256sum", "/data"]).expect(0);

    let _ = user.coracle(&["image", "verify", &name]).expect(1);
    let _ = user.coracle(&["pull", "-q", &name]).expect(0);
    let _ = run(["--rm", "--verify", "busybox", "true"]).expect(0);
    let repaired = container(&user, &name, &flags, &["sha256sum", "/data"]).expect(0);
    let whole = super::sha256(&data()).replace("sha256:", "");
    assert!(repaired.stdout.contains(&whole), "{repaired:?}");
}
