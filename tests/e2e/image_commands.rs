//! load, images, inspect, tag, rmi.

use std::{fs, path::Path, process::Command};

use coracle_tests::{coracle, done, run, sample};
use tempfile::TempDir;

/// `coracle` with a store of its own.
fn with_store(store: &TempDir, arguments: &[&str]) -> coracle_tests::Done {
    done(coracle(arguments.iter().copied()).env("XDG_DATA_HOME", store.path()))
}

fn store() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn shell(directory: &Path, script: &str) {
    let status = Command::new("bash")
        .args(["-euc", script])
        .current_dir(directory)
        .status();
    assert!(status.unwrap().success(), "{script}");
}

#[test]
fn loaded_image_is_listed_inspected_and_removed() {
    let store = store();
    let archive = sample("busybox");
    let loaded = with_store(&store, &["load", "-i", archive.to_str().unwrap()]).expect(0);
    assert!(loaded.stdout.contains("busybox"), "{}", loaded.stdout);
    let listed = with_store(&store, &["images"]).expect(0).stdout;
    assert!(listed.starts_with("REPOSITORY"), "{listed}");
    assert!(
        listed.contains("busybox") && listed.contains("latest"),
        "{listed}"
    );
    let inspected = with_store(&store, &["inspect", "busybox"]).expect(0).stdout;
    let value: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(value[0]["Architecture"], "amd64");
    assert_eq!(value[0]["Os"], "linux");
    assert!(value[0]["Id"].as_str().unwrap().starts_with("sha256:"));
    let removed = with_store(&store, &["rmi", "busybox"]).expect(0).stdout;
    assert!(
        removed.contains("Untagged:") && removed.contains("Deleted:"),
        "{removed}"
    );
    let listed = with_store(&store, &["images", "-q"]).expect(0).stdout;
    assert_eq!(listed, "");
    let _ = with_store(&store, &["rmi", "busybox"]).expect(1);
    let _ = with_store(&store, &["inspect", "busybox"]).expect(1);
}

#[test]
fn archive_comes_from_standard_input_too() {
    let store = store();
    let file = fs::File::open(sample("busybox")).unwrap();
    let mut command = coracle(["load"]);
    let loaded = done(command.env("XDG_DATA_HOME", store.path()).stdin(file)).expect(0);
    assert!(loaded.stdout.contains("busybox"), "{}", loaded.stdout);
}

#[test]
fn every_form_of_an_archive_gives_the_same_container() {
    let work = tempfile::tempdir().unwrap();
    let archive = sample("busybox");
    shell(
        work.path(),
        &format!(
            "mkdir layout && tar -C layout -xf {archive}; \
             tag=$(jq -r '.manifests[0].annotations[\"org.opencontainers.image.ref.name\"]' layout/index.json); \
             skopeo copy -q --insecure-policy oci:layout:$tag docker-archive:docker.tar:form:latest; \
             gzip -k docker.tar; \
             umoci unpack --image layout:$tag bundle; tar -C bundle/rootfs -cf rootfs.tar .",
            archive = archive.display()
        ),
    );
    for form in [
        "layout",
        "docker.tar",
        "docker.tar.gz",
        "rootfs.tar",
        "bundle/rootfs",
    ] {
        let store = store();
        let path = work.path().join(form);
        let load = ["load", "-i", path.to_str().unwrap(), "--tag", "form"];
        let _ = with_store(&store, &load).expect(0);
        let mut command = coracle(["run", "form", "/bin/busybox", "echo", form]);
        let done = done(command.env("XDG_DATA_HOME", store.path())).expect(0);
        assert_eq!(done.stdout, format!("{form}\n"));
    }
}

#[test]
fn tag_gives_another_name() {
    let store = store();
    let _ = with_store(&store, &["load", "-i", sample("busybox").to_str().unwrap()]).expect(0);
    let _ = with_store(&store, &["tag", "busybox", "example.com/mine/boat:1"]).expect(0);
    let listed = with_store(&store, &["images"]).expect(0).stdout;
    assert!(listed.contains("example.com/mine/boat"), "{listed}");
    let removed = with_store(&store, &["rmi", "busybox"]).expect(0).stdout;
    assert!(!removed.contains("Deleted:"), "{removed}");
    let _ = with_store(&store, &["inspect", "example.com/mine/boat:1"]).expect(0);
}

#[test]
fn layers_arrive_as_they_were_packed() {
    let script = "stat -c '%a %u:%g %F' /usr/bin/passwd /etc/shadow /var/local /tmp; \
                  readlink /bin; test -u /usr/bin/passwd && echo setuid";
    let done = run(["debian", "sh", "-c", script]).expect(0);
    let expected = "4755 0:0 regular file\n640 0:42 regular file\n2775 0:50 directory\n\
                    1777 0:0 directory\nusr/bin\nsetuid\n";
    assert_eq!(done.stdout, expected);
}
