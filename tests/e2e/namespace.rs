//! `--isolation namespace`: the same container without a machine. What it sees and may do is what it would in a
//! microVM; only what is the kernel's is another's.

use std::{fs, path::Path, process::Command};

use coracle_tests::{
    Detached, Done, Installation, done, mounts, no_mounts_since, run, signal, until,
};
use rustix::process::Signal;

/// Commands whose results must not depend on what holds the container: flags, then image and command. What is
/// masked of `/proc` and `/sys` is left out of the mounts: only what a kernel has can be. So are control groups of
/// version 1, which a guest has not; devices, which root of a user namespace is given and may not make; the numbers that
/// its users have outside; and limits that the machine's administrator has set: of descriptors and a user's processes.
const SAME: [&[&str]; 29] = [
    &["busybox", "id"],
    &["--user", "1000:1001", "busybox", "id"],
    &["--group-add", "10", "busybox", "id", "-G"],
    &["busybox", "grep", "^Cap", "/proc/self/status"],
    &[
        "--cap-drop",
        "ALL",
        "--cap-add",
        "NET_RAW",
        "busybox",
        "grep",
        "^Cap",
        "/proc/self/status",
    ],
    &[
        "busybox",
        "grep",
        "-E",
        "^(Seccomp|NoNewPrivs):",
        "/proc/self/status",
    ],
    &[
        "--security-opt",
        "no-new-privileges",
        "busybox",
        "grep",
        "NoNewPrivs",
        "/proc/self/status",
    ],
    &["-e", "A=b", "--hostname", "box", "busybox", "env"],
    &["--hostname", "box", "busybox", "hostname"],
    &[
        "--hostname",
        "box",
        "--add-host",
        "far:10.0.0.9",
        "busybox",
        "cat",
        "/etc/hosts",
        "/etc/hostname",
    ],
    &[
        "busybox",
        "awk",
        "$2 !~ \"^/(proc|sys)/.|^/dev/(null|zero|full|random|urandom|tty)$\" || /cgroup/ {print $2, $3}",
        "/proc/mounts",
    ],
    &["--read-only", "busybox", "touch", "/file"],
    &[
        "--tmpfs",
        "/scratch:size=1m",
        "busybox",
        "sh",
        "-c",
        "grep scratch /proc/mounts | sed 's/,uid=[0-9]*,gid=[0-9]*//'",
    ],
    &["--workdir", "/new/place", "busybox", "pwd"],
    &[
        "--ulimit",
        "nofile=100:200",
        "busybox",
        "sh",
        "-c",
        "ulimit -n; ulimit -Hn",
    ],
    &["busybox", "sh", "-c", "ulimit -c; ulimit -s"],
    &[
        "busybox",
        "sh",
        "-c",
        "cat /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l",
    ],
    &["busybox", "sh", "-c", "echo 1 > /proc/sys/kernel/panic"],
    &[
        "busybox",
        "sh",
        "-c",
        "ls /dev; ls -l /dev/null /dev/zero /dev/tty | cut -c1-10",
    ],
    &[
        "busybox",
        "sh",
        "-c",
        "mknod /d b 254 0 2>/dev/null; cat /d 2>/dev/null || echo refused",
    ],
    &[
        "busybox",
        "sh",
        "-c",
        "ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; grep ^0: /proc/self/cgroup",
    ],
    &[
        "busybox",
        "sh",
        "-c",
        "ls /sys/class/net; cat /proc/net/route | wc -l",
    ],
    &["busybox", "unshare", "-m", "true"],
    &["busybox", "mount", "-t", "tmpfs", "none", "/mnt"],
    &[
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start=99",
        "busybox",
        "cat",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    ],
    &["busybox", "sh", "-c", "echo out; echo err >&2; exit 7"],
    &["busybox", "sh", "-c", "kill -TERM $$"],
    &["busybox", "no-such-program"],
    &[
        "--init",
        "busybox",
        "sh",
        "-c",
        "cat /proc/1/comm; echo $$ > /dev/null; df -P /dev/shm | tail -1 | cut -c1-20",
    ],
];

fn in_namespace(arguments: &[&str]) -> Done {
    run([&["--isolation", "namespace"], arguments].concat())
}

/// Whether it can be tested here at all: as root, where there is a hierarchy of control groups.
fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    root && fs::read_to_string("/proc/mounts")
        .unwrap()
        .contains(" cgroup2 ")
}

#[test]
fn results_are_those_of_a_microvm() {
    if !possible() {
        return;
    }
    let mut different = Vec::new();
    for arguments in SAME {
        let (machine, namespace) = (run(arguments.iter().copied()), in_namespace(arguments));
        let parts = |done: &Done| (done.code, done.stdout.clone(), done.stderr.clone());
        if parts(&machine) != parts(&namespace) {
            different.push(format!("{arguments:?}\n  {machine:?}\n  {namespace:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn kernel_and_clock_are_this_machines_and_a_microvms_are_not() {
    if !possible() {
        return;
    }
    let script = "cat /proc/sys/kernel/random/boot_id; uname -r";
    let own = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let shared = in_namespace(&["busybox", "sh", "-c", script])
        .expect(0)
        .stdout;
    assert_eq!(shared.lines().next(), Some(own.trim()));
    let machine = run(["busybox", "sh", "-c", script]).expect(0).stdout;
    assert_ne!(machine.lines().next(), Some(own.trim()));
}

#[test]
fn signals_that_its_caller_ignores_have_their_meaning_inside() {
    if !possible() {
        return;
    }
    let run = "run --rm --isolation namespace busybox grep SigIgn: /proc/self/status";
    let line = format!(
        "trap '' HUP INT QUIT USR1; exec {} {run}",
        coracle_tests::program("coracle").display()
    );
    let ignored = done(Command::new("sh").args(["-c", &line])).expect(0);
    assert_eq!(ignored.stdout, "SigIgn:\t0000000000000000\n");
}

#[test]
fn container_that_stays_is_looked_after_as_any_other() {
    if !possible() {
        return;
    }
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let flags = ["--isolation", "namespace", "busybox", "sh", "-c", script];
    let one = Detached::start("without-a-machine", &flags);
    one.until_ready();
    assert_eq!(one.exec(&["cat", "/proc/1/comm"]).expect(0).stdout, "sh\n");
    let _ = one.exec(&["touch", "/made"]).expect(0);
    assert!(one.does(&["diff"]).expect(0).stdout.contains("/made"));
    assert!(one.does(&["top"]).expect(0).stdout.contains("sleep"));
    assert!(one.does(&["logs"]).expect(0).stdout.contains("ready"));
    let _ = one.does(&["pause"]).expect(0);
    let _ = one.does(&["unpause"]).expect(0);
    let _ = one.does(&["stop"]).expect(0);
    assert_eq!(one.field(".State.ExitCode"), "3");
    let _ = one.does(&["start"]).expect(0);
    assert_eq!(one.field(".State.Status"), "running");
}

#[test]
fn what_needs_a_machine_is_refused_in_words() {
    if !possible() {
        return;
    }
    for (flags, word) in [
        (&["--machine", "always"][..], "no KVM"),
        (&["--kernel", "/boot/vmlinux"], "this machine's kernel"),
        (&["--host", "blue"], "named host"),
        (&["--network", "host"], "given to no container"),
    ] {
        let refused = in_namespace(&[flags, &["busybox", "true"]].concat()).expect(125);
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
}

#[test]
fn what_equals_root_on_this_machine_is_refused_in_words() {
    if !possible() {
        return;
    }
    let before = fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    for (flags, word) in [
        (&["--privileged"][..], "power over this machine"),
        (&["--cap-add", "SYS_ADMIN"], "SYS_ADMIN"),
        (&["--cap-add", "cap_sys_module"], "SYS_MODULE"),
        (&["--cap-add", "ALL"], "SYS_ADMIN"),
        (&["--cap-add", "SYSLOG", "--userns", "host"], "kernel log"),
        (&["--security-opt", "seccomp=unconfined"], "unconfined"),
        (&["--sysctl", "vm.swappiness=61"], "this machine"),
        (&["--sysctl", "vm/swappiness=61"], "this machine"),
        (&["--sysctl", "kernel.core_pattern=|/x"], "this machine"),
    ] {
        let refused = in_namespace(&[flags, &["busybox", "true"]].concat()).expect(125);
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    let after = fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    assert_eq!(after, before);
    // What ends at the container's own namespaces is given.
    let flags = ["--cap-add", "SYS_PTRACE", "--cap-add", "NET_ADMIN"];
    let own = ["busybox", "ip", "link", "set", "lo", "mtu", "1400"];
    let _ = in_namespace(&[&flags[..], &own].concat()).expect(0);
}

#[test]
fn root_is_nobody_on_this_machine_unless_asked() {
    if !possible() {
        return;
    }
    let map = ["busybox", "cat", "/proc/self/uid_map"];
    let own = in_namespace(&map).expect(0).stdout;
    let numbers: Vec<u32> = own
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert_eq!((numbers[0], numbers[2]), (0, 65536), "{own}");
    assert!(numbers[1] >= 0x7000_0000, "{own}");
    let hosts = in_namespace(&[&["--userns", "host"][..], &map].concat()).expect(0);
    assert!(hosts.stdout.ends_with("4294967295\n"), "{hosts:?}");
    // What it may set for itself it may set there, too.
    let settings = ["kernel.shmmax=1000000", "fs.mqueue.msg_max=20"];
    let flags = settings.map(|setting| ["--sysctl", setting]).concat();
    let files = ["/proc/sys/kernel/shmmax", "/proc/sys/fs/mqueue/msg_max"];
    let show = [&flags[..], &["busybox", "cat"], &files].concat();
    assert_eq!(in_namespace(&show).expect(0).stdout, "1000000\n20\n");
}

#[test]
fn what_this_machine_tells_of_its_processors_is_masked() {
    if !possible() {
        return;
    }
    let script = "cat /proc/interrupts | wc -c; \
                  ls /sys/devices/virtual/powercap 2>/dev/null | wc -l; \
                  cat /sys/devices/system/cpu/cpu*/thermal_throttle/* 2>/dev/null | wc -c";
    let done = in_namespace(&["busybox", "sh", "-c", script]).expect(0);
    assert_eq!(done.stdout, "0\n0\n0\n");
}

#[test]
fn ordinary_users_are_refused_and_not_given_something_else() {
    let installation = Installation::new(Some(1000));
    let refused = installation.run(&["run", "--rm", "--isolation", "namespace", "busybox", "true"]);
    let words = refused.expect(125).stderr;
    assert!(words.contains("needs root"), "{words}");
}

/// Another release is installed while a container runs: what its keeper starts again is of its own.
#[test]
fn container_starts_again_by_the_release_that_has_started_it() {
    if !possible() {
        return;
    }
    let installation = Installation::new(None);
    let flags = [
        "run",
        "-d",
        "--name",
        "one",
        "--isolation",
        "namespace",
        "--restart",
        "on-failure",
    ];
    let script = "echo ran; while [ ! -e /go ]; do sleep 0.1; done; exit 1";
    let words = ["busybox", "sh", "-c", script];
    let _ = installation.run(&[&flags[..], &words].concat()).expect(0);
    for name in ["coracle-init", "coracle-vmm"] {
        let new = installation.path("bin").join("new");
        fs::copy("/bin/false", &new).unwrap();
        fs::rename(new, installation.path("bin").join(name)).unwrap();
    }
    let _ = installation.run(&["exec", "one", "touch", "/go"]).expect(0);
    until(|| {
        let logs = installation.run(&["logs", "one"]).stdout;
        match logs.lines().count() {
            0 | 1 => Err(format!("it has not started again: {logs}")),
            _ => Ok(()),
        }
    });
    let _ = installation.run(&["rm", "--force", "one"]).expect(0);
}

/// What is left of an installation, and of its containers of these identifiers.
fn leftovers(installation: &Installation, containers: &[String]) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mut lines = mounts.lines().filter(|line| line.contains(" cgroup2 "));
    let root = lines.next().unwrap().split(' ').nth(1).unwrap();
    let groups = containers.iter().map(|id| format!("{root}/coracle-{id}"));
    let left = groups.filter(|path| Path::new(path).exists());
    left.chain(installation.processes().into_iter().map(|(_, words)| words))
        .collect()
}

#[test]
fn however_it_dies_nothing_of_it_stays() {
    if !possible() {
        return;
    }
    let installation = Installation::new(None);
    let before = mounts();
    let start = || {
        let flags = [
            "run",
            "-d",
            "--rm",
            "--name",
            "one",
            "--isolation",
            "namespace",
        ];
        let idle = ["busybox", "sleep", "1000"];
        let started = installation.run(&[&flags[..], &idle].concat()).expect(0);
        started.stdout.trim().to_owned()
    };
    let mut containers = Vec::new();
    for who in ["keeper of", "coracle-init namespace", "nothing else"] {
        containers.push(start());
        let processes = installation.processes();
        let named = processes.iter().filter(|(_, words)| words.contains(who));
        for (pid, _) in named {
            signal(*pid, Signal::KILL);
        }
        // It is gone already where it was removed with its end.
        let _ = installation.run(&["rm", "--force", "one"]);
        until(|| match leftovers(&installation, &containers) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("after the end of {who}: {left:?}")),
        });
    }
    let foreground = [
        "run",
        "--rm",
        "--isolation",
        "namespace",
        "busybox",
        "false",
    ];
    let _ = installation.run(&foreground).expect(1);
    // Its keeper ends after it has told of the end.
    until(|| match leftovers(&installation, &containers) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("after a run in the foreground: {left:?}")),
    });
    until(|| no_mounts_since(&before));
}
