//! A program that has the engine in itself, and records that another release has written.

use std::{env, fs, path::PathBuf, process::Command};

use coracle_tests::{Installation, done};

/// Builds the engine's example, which is not installed.
fn example() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--locked"])
        .args(["--package", "coracle-engine", "--example", "run"])
        .current_dir(root)
        .status();
    assert!(built.unwrap().success());
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| PathBuf::from(root).join("build/target"));
    target.join("debug/examples/run")
}

#[test]
fn example_loads_an_image_runs_a_container_and_removes_it() {
    let installation = Installation::new(None);
    // Where KVM cannot run a guest, there is a software host from here on.
    let _ = installation
        .run(&["run", "--rm", "busybox", "true"])
        .expect(0);
    fs::copy(example(), installation.path("bin/run")).unwrap();
    let archive = installation.path("busybox.tar");
    let archive = archive.to_str().unwrap();
    let script = "echo hello; echo oops >&2; exit 7";
    let words = ["--load", archive, "busybox", "sh", "-c", script];
    let ran = done(&mut installation.program("run", &words)).expect(7);
    assert_eq!(ran.stdout, "hello\n");
    assert!(ran.stderr.contains("oops"), "{}", ran.stderr);
    let left = installation.run(&["ps", "--all", "--quiet"]).expect(0);
    assert_eq!(left.stdout, "");
    let ran = done(&mut installation.program("run", &["no-such-image:1.5"]));
    assert_ne!(ran.code, 0);
}

#[test]
fn container_of_a_later_release_is_told_and_hides_no_other() {
    let installation = Installation::new(None);
    let create = |name: &str| {
        let made = installation.run(&["create", "--name", name, "busybox"]);
        made.expect(0).stdout.trim().to_owned()
    };
    let _ = create("known");
    let id = create("later");
    let directory = installation.path("data/coracle/containers").join(&id);
    for file in ["config.json", "state.json"] {
        fs::write(directory.join(file), r#"{"version": 99, "new": {}}"#).unwrap();
    }
    let listed = installation
        .run(&["ps", "--all", "--format", "{{.Names}}"])
        .expect(0);
    assert_eq!(listed.stdout, "known\n");
    assert!(
        listed.stderr.contains("container later"),
        "{}",
        listed.stderr
    );
    for arguments in [
        &["start", "later"][..],
        &["rm", "later"],
        &["rmi", "busybox"],
    ] {
        let refused = installation.run(arguments).expect(1);
        assert!(
            refused.stderr.contains("later release"),
            "{}",
            refused.stderr
        );
    }
    // Gone is its own business: another container goes on.
    let _ = installation.run(&["rm", "known"]).expect(0);
}
