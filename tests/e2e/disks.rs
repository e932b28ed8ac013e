//! `--storage-opt size=`: what a container writes is on a disk.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use coracle_tests::{Detached, Host, Installation, coracle, done, given, program, run};

/// Bytes that the disk of a container takes on this machine.
fn taken(container: &Detached) -> u64 {
    let disk = fs::metadata(disk_of(&container.field(".Id"))).unwrap();
    disk.blocks() * 512
}

/// The file that is a container's disk.
fn disk_of(id: &str) -> PathBuf {
    let data = PathBuf::from(std::env::var_os("XDG_DATA_HOME").unwrap());
    data.join("coracle/disks").join(id).with_extension("ext4")
}

/// Checks a file system as after a loss of power: on a copy whose journal is replayed.
fn assert_sound(disk: &Path) {
    let copy = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("cp")
        .arg("--sparse=always")
        .arg(disk)
        .arg(copy.path())
        .status();
    assert!(status.unwrap().success());
    // 1: the journal was replayed.
    let checked = done(Command::new("/sbin/e2fsck").arg("-p").arg(copy.path()));
    assert!(checked.code <= 1, "{checked:?}");
    let _ = done(Command::new("/sbin/e2fsck").arg("-fn").arg(copy.path())).expect(0);
}

#[test]
fn what_is_written_outgrows_memory_and_stays_until_the_container_is_removed() {
    let script = "trap 'exit 0' TERM; [ -e /sum ] && md5sum -c /sum; \
        [ -e /sum ] || { dd if=/dev/zero of=/big bs=1M count=48; head -c 100000 /dev/urandom >/data; \
        md5sum /data /big >/sum; }; echo ready; while :; do sleep 0.1; done";
    let flags = ["--storage-opt", "size=1G", "--memory", "24m"];
    let command = ["busybox", "sh", "-c", script];
    let container = Detached::start("on-disk", &[&flags[..], &command].concat());
    container.until_ready();
    let id = container.field(".Id");
    assert_eq!(container.field(".HostConfig.StorageOpt.size"), "1G");
    let _ = container.does(&["stop"]).expect(0);
    assert!(taken(&container) > 48 << 20);
    assert_sound(&disk_of(&id));

    let _ = container.does(&["start"]).expect(0);
    let mut logs = String::new();
    while logs.matches("ready").count() < 2 {
        logs = container.does(&["logs"]).expect(0).stdout;
    }
    assert!(logs.contains("/data: OK\n/big: OK"), "{logs}");
    // However it ends.
    let _ = container.does(&["kill"]).expect(0);
    let _ = container.does(&["wait"]).expect(0);
    assert_sound(&disk_of(&id));
    let _ = container.does(&["rm"]).expect(0);
    assert!(!disk_of(&id).exists());
}

#[test]
fn what_is_deleted_is_free_on_this_machine_again() {
    let flags = ["--storage-opt", "size=200m", "busybox", "sleep", "1000"];
    let container = Detached::start("discarding", &flags);
    let write = "dd if=/dev/zero of=/big bs=1M count=30 2>&1; sync";
    let _ = container.exec(&["sh", "-c", write]).expect(0);
    assert!(taken(&container) > 30_000_000);
    let _ = container.exec(&["rm", "/big"]).expect(0);
    // The guest's kernel gives it back in the background, after the deletion is in its journal.
    let mut turns = 0;
    while taken(&container) > 10_000_000 {
        let _ = container.exec(&["sync"]).expect(0);
        turns += 1;
        assert!(turns < 60, "{} bytes are still taken", taken(&container));
    }
}

#[test]
fn full_disk_is_said_to_the_program_and_harms_nothing_else() {
    let script = "dd if=/dev/zero of=/big bs=1M count=40 || echo full; rm /big; echo well >/small; cat /small";
    let flags = [
        "--rm",
        "--storage-opt",
        "size=32m",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let full = run(flags).expect(0);
    assert!(full.stderr.contains("No space left on device"), "{full:?}");
    assert_eq!(full.stdout, "full\nwell\n");
}

#[test]
fn sizes_that_cannot_be_are_refused_in_words() {
    for (option, words) in [
        ("size=1m", "16MiB to 1TiB"),
        ("size=2t", "16MiB to 1TiB"),
        ("size=much", "invalid size"),
        ("colour=blue", "only size and memory are supported"),
        ("memory=0", "no room"),
    ] {
        let refused = run(["--storage-opt", option, "busybox", "true"]).expect(125);
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let host = coracle_tests::Host::create("diskless", &[]);
    let refused = host
        .run(&["--storage-opt", "size=1g", "busybox", "true"])
        .expect(125);
    assert!(refused.stderr.contains("named host"), "{refused:?}");
    // Nothing was made for any of them.
    let listed = done(&mut coracle([
        "ps",
        "-a",
        "--filter",
        "host=diskless",
        "-q",
    ]))
    .expect(0);
    assert_eq!(listed.stdout, "");
}

#[test]
fn container_that_ends_by_itself_takes_its_disk_with_it() {
    let installation = Installation::new(None);
    let arguments = [
        "run",
        "--rm",
        "--storage-opt",
        "size=64m",
        "busybox",
        "touch",
        "/x",
    ];
    let _ = installation.run(&arguments).expect(0);
    assert_eq!(
        installation.files("data/coracle/disks"),
        Vec::<String>::new()
    );
}

/// This machine's disk is full: an I/O error in the guest, and words outside.
#[test]
fn full_disk_of_this_machine_is_said_in_words() {
    let home = tempfile::tempdir_in(given("CORACLE_TEST_HOME")).unwrap();
    for name in ["data", "run"] {
        fs::create_dir(home.path().join(name)).unwrap();
    }
    let run = home.path().join("run");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    // A disk of 24 MiB, in a mount namespace of its own.
    let script = "mount -t tmpfs -o size=24m none \"$XDG_DATA_HOME\"; \"$1\" load -q -i \"$2\"; \
        \"$1\" run --rm --storage-opt size=200m busybox sh -c \
        'dd if=/dev/zero of=/big bs=1M count=30 2>&1; sync'; \
        \"$1\" machine stop";
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "bash",
        "-uc",
        script,
        "bash",
    ]);
    command
        .arg(program("coracle"))
        .arg(coracle_tests::sample("busybox"));
    command
        .env("XDG_DATA_HOME", home.path().join("data"))
        .env("XDG_RUNTIME_DIR", &run);
    let full = done(&mut command).expect(0);
    let words = "disk 1 could not be written: No space left on device";
    assert!(full.stderr.contains(words), "{full:?}");
}

#[test]
fn container_that_starts_again_in_its_host_finds_nothing_of_before() {
    let host = Host::create("disk-again", &["--disk", "64m"]);
    let script = "[ ! -e /mark ] || exit 1; mkdir /mark; i=0; \
        while [ $i -lt 1500 ]; do : >/mark/$i; i=$((i+1)); done; echo ready; sleep 1000";
    let again = host.start("disk-twice", &["busybox", "sh", "-c", script]);
    again.until_ready();
    for turn in 2..=3 {
        let _ = again.does(&["restart", "--time", "0"]).expect(0);
        let mut logs = String::new();
        while logs.matches("ready").count() < turn {
            assert_eq!(again.field(".State.Status"), "running");
            logs = again.does(&["logs"]).expect(0).stdout;
        }
    }
}

#[test]
fn containers_of_a_host_share_its_disk_and_each_gives_its_part_back() {
    let host = Host::create("with-disk", &["--memory", "128m", "--disk", "300m"]);
    assert_eq!(host.field(".Disk"), (300 << 20).to_string());
    let file = disk_of("host-with-disk");
    let taken = || fs::metadata(&file).unwrap().blocks() * 512;
    let empty = taken();
    let writer = host.hold("disk-writer", &["--memory", "24m"]);
    let neighbour = host.hold("disk-neighbour", &["--storage-opt", "size=300m"]);
    let write = "dd if=/dev/zero of=/big bs=1M count=100 2>&1 && sync";
    let _ = writer.exec(&["sh", "-c", write]).expect(0);
    assert!(taken() > empty + (100 << 20), "{}", taken());
    let changed = writer.does(&["diff"]).expect(0).stdout;
    assert!(changed.contains("A /big"), "{changed}");
    let _ = neighbour.exec(&["test", "-e", "/big"]).expect(1);

    let fill = "dd if=/dev/zero of=/all bs=1M 2>&1; rm /all; echo over";
    let filled = neighbour.exec(&["sh", "-c", fill]).expect(0).stdout;
    assert!(
        filled.contains("No space left") && filled.ends_with("over\n"),
        "{filled}"
    );
    let _ = writer.exec(&["test", "-e", "/big"]).expect(0);
    let _ = writer.does(&["rm", "--force"]).expect(0);

    // The host's root gets in also while the disk is full.
    let fill = "dd if=/dev/zero of=/all bs=1M 2>&1; dd if=/dev/zero of=/rest bs=1k 2>&1; sync";
    let _ = neighbour.exec(&["sh", "-c", fill]);
    let look = coracle([
        "host",
        "exec",
        "with-disk",
        "sh",
        "-c",
        "echo in > /file && cat /file",
    ])
    .output()
    .unwrap();
    let said = String::from_utf8_lossy(&look.stdout);
    assert_eq!(said, "in\n", "{}", String::from_utf8_lossy(&look.stderr));
    let _ = neighbour.exec(&["rm", "/all", "/rest"]).expect(0);
    let mut turns = 0;
    while taken() > empty + (20 << 20) {
        let _ = neighbour.exec(&["sync"]).expect(0);
        turns += 1;
        assert!(turns < 500, "{} bytes are still taken", taken());
    }

    let _ = host.does(&["stop", "--time", "0"]).expect(0);
    assert!(!file.exists());
    let _ = host.does(&["start"]).expect(0);
    assert!(taken() <= empty, "{}", taken());
    let _ = host.does(&["rm", "--force"]).expect(0);
    assert!(!file.exists());
    let small = coracle(["host", "create", "--disk", "1m", "too-small"])
        .output()
        .unwrap();
    assert!(!small.status.success());
    let words = String::from_utf8_lossy(&small.stderr).into_owned();
    assert!(
        words.contains("--disk") && words.contains("16MiB"),
        "{words}"
    );
}
