//! A container that wants more of its host's disk than its part.

use coracle_tests::{Host, attacker_image, coracle, done, outcomes};

/// Bytes of the disk, and what a container may take of it unless it is told otherwise.
const DISK: u64 = 32 << 20;
const PART: u64 = DISK / 2;

/// What a container tries, whatever its capabilities and its filter.
const LIMITED: [(&str, &str); 19] = [
    ("project of /", "ENOTTY"),
    ("flags of /", "ENOTTY"),
    ("project of /directory", "ENOTTY"),
    ("flags of /directory", "ENOTTY"),
    ("project of /of-mine", "ENOTTY"),
    ("flags of /of-mine", "ENOTTY"),
    ("upper half of the request", "ENOTTY"),
    ("attributes, read", "done"),
    ("project by x32", "ENOSYS|EPERM|ENOTTY|signal 31"),
    ("flags by int 80", "signal 11|signal 31|ENOTTY"),
    ("file_setattr", "ENOSYS"),
    ("node of the disk", "done"),
    ("limit by a descriptor", "EPERM"),
    ("limit by the device", "EPERM"),
    ("limits off", "EPERM"),
    // Where the page could not be had.
    ("pages past the limit", "EFAULT"),
    ("bytes past the limit", "EDQUOT"),
    ("bytes", "within the limit"),
    ("files past the limit", "EDQUOT"),
];

fn size(bytes: u64) -> String {
    bytes.to_string()
}

#[test]
fn container_fills_its_part_of_the_disk_and_no_more_whatever_it_may_do() {
    let host = Host::create("hostile-quota", &["--disk", &size(DISK), "--memory", "1g"]);
    assert_eq!(host.field(".ContainerDisk"), size(PART));
    let neighbour = host.hold("quota-neighbour", &[]);
    let unconfined = ["--security-opt", "seccomp=unconfined"];
    let capabilities = [
        "SYS_ADMIN",
        "SYS_RESOURCE",
        "LINUX_IMMUTABLE",
        "SYS_PTRACE",
        "DAC_READ_SEARCH",
        "FOWNER",
    ];
    let capabilities = capabilities.map(|name| format!("--cap-add={name}"));
    let capabilities: Vec<&str> = capabilities.iter().map(String::as_str).collect();
    for flags in [
        &[][..],
        &capabilities,
        &[&unconfined[..], &capabilities].concat(),
    ] {
        let attack = [attacker_image(), "/attacker", "quota", &size(PART)];
        let done = host.run(&[&["--rm"], flags, &attack].concat()).expect(0);
        outcomes(&done.stdout, &LIMITED);
        let write = "dd if=/dev/zero of=/mine bs=1M count=8 2>&1 && sync && rm /mine";
        let _ = neighbour.exec(&["sh", "-c", write]).expect(0);
    }
}

#[test]
fn neighbours_write_on_beside_one_that_took_all_that_it_could() {
    let host = Host::create("quota-full", &["--disk", &size(DISK)]);
    let fill = "dd if=/dev/zero of=/all bs=1M; dd if=/dev/zero of=/rest bs=1k; sync; \
        i=0; while mkdir /d$i 2>/dev/null; do i=$((i+1)); done; rm /rest; \
        while true >/f$i; do i=$((i+1)); done 2>/dev/null; echo ready; sleep 1000";
    let hog = host.start("quota-hog", &["busybox", "sh", "-c", fill]);
    hog.until_ready();
    let logs = hog.does(&["logs"]).expect(0).stderr;
    assert!(logs.contains("Disk quota exceeded"), "{logs}");
    assert_eq!(hog.field(".HostConfig.StorageOpt.size"), size(PART));
    // What df says of its part: KiB, and those that are left.
    let told = hog.exec(&["df", "-k", "/"]).expect(0).stdout;
    let words: Vec<&str> = told.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(words[1], size(PART / 1024), "{told}");

    let neighbour = host.hold("quota-beside", &[]);
    let write = "dd if=/dev/zero of=/mine bs=1M count=8 2>&1 && sync && \
        i=0; while [ $i -lt 500 ]; do : >/n$i || exit 1; i=$((i+1)); done";
    let _ = neighbour.exec(&["sh", "-c", write]).expect(0);
    let look = [
        "host",
        "exec",
        "quota-full",
        "sh",
        "-c",
        "echo in >/file && cat /file",
    ];
    assert_eq!(done(&mut coracle(look)).expect(0).stdout, "in\n");
    // What it had is everybody's again.
    let _ = hog.does(&["rm", "--force"]).expect(0);
    let own = ["--rm", "--storage-opt", "size=30m", "busybox", "sh", "-c"];
    let write = "until dd if=/dev/zero of=/all bs=1M count=12 2>/dev/null; do :; done";
    let _ = host.run(&[&own[..], &[write]].concat()).expect(0);
}

#[test]
fn container_has_the_part_that_it_asks_for() {
    let host = Host::create("quota-parts", &["--disk", "64m", "--container-disk", "16m"]);
    assert_eq!(host.field(".ContainerDisk"), size(16 << 20));
    let write = "dd if=/dev/zero of=/all bs=1M count=30 2>&1";
    let sh = ["busybox", "sh", "-c", write];
    let small = host.run(&[&["--rm"], &sh[..]].concat()).expect(1);
    assert!(small.stdout.contains("Disk quota exceeded"), "{small:?}");
    let larger = ["--rm", "--storage-opt", "size=40m"];
    let _ = host.run(&[&larger[..], &sh].concat()).expect(0);
    let shifted = ["--rm", "--userns", "private"];
    let shifted = host.run(&[&shifted[..], &sh].concat()).expect(1);
    assert!(
        shifted.stdout.contains("Disk quota exceeded"),
        "{shifted:?}"
    );
    let much = host.run(&["--storage-opt", "size=65m", "busybox", "true"]);
    let words = "the disk of the named host quota-parts has 64MiB";
    assert!(much.expect(125).stderr.contains(words));
    for flags in [
        &["--container-disk", "16m"][..],
        &["--disk", "32m", "--container-disk", "33m"],
    ] {
        let made = done(coracle(["host", "create"]).args(flags).arg("quota-none"));
        assert_ne!(made.code, 0, "{made:?}");
    }
}
