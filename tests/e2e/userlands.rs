//! Different distributions on one kernel: Debian's GNU userland, busybox, and klibc with its own C library.

use coracle_tests::{Detached, Host, run};

/// Images, and what tells each by its own tools that it is that one.
const USERLANDS: [(&str, &str, &str); 3] = [
    (
        "debian",
        "dpkg --print-architecture; ldd --version | head -n 1",
        "GLIBC",
    ),
    ("busybox", "busybox | head -n 1", "BusyBox"),
    (
        "klibc",
        "while read line; do echo $line; done </etc/os-release; ls /lib",
        "klibc-",
    ),
];

/// Waits as long as it takes, by what every shell has.
const WAIT: &str = "echo ready; while :; do sleep 1; done";

#[test]
fn different_userlands_run_side_by_side() {
    let all = USERLANDS.map(|(image, _, _)| {
        let name = format!("userland-{image}");
        Detached::start(&name, &[image, "sh", "-c", WAIT])
    });
    let mut kernels = Vec::new();
    for (container, (image, script, words)) in all.iter().zip(USERLANDS) {
        container.until_ready();
        let told = container.exec(&["sh", "-c", script]).expect(0).stdout;
        assert!(told.contains(words), "{image}: {told}");
        kernels.push(container.exec(&["uname", "-r"]).expect(0).stdout);
    }
    kernels.dedup();
    assert_eq!(kernels.len(), 1, "{kernels:?}");
}

#[test]
fn different_userlands_share_a_host() {
    let host = Host::create("userlands", &[]);
    let boot = "read id </proc/sys/kernel/random/boot_id; echo $id";
    let boots = USERLANDS.map(|(image, _, _)| {
        host.run(&["--rm", image, "sh", "-c", boot])
            .expect(0)
            .stdout
    });
    assert!(boots.iter().all(|id| *id == boots[0]), "{boots:?}");
    assert_ne!(
        run(["--rm", "klibc", "sh", "-c", boot]).expect(0).stdout,
        boots[0]
    );
}
