//! Named hosts: many containers on one kernel, apart from each other, and gone when they should be.

use std::{process::Stdio, time::Instant};

use coracle_tests::{
    Detached, Host, Installation, PATIENCE, coracle, done, first_line, run, signal, wait,
};
use rustix::process::Signal;

/// Which boot of a kernel a container is on.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[test]
fn host_is_made_used_stopped_and_removed() {
    let host = Host::create(
        "whole-life",
        &["--memory", "700m", "--label", "tenant=blue"],
    );
    let list = done(&mut coracle(["host", "ls"])).expect(0).stdout;
    assert!(list.starts_with("NAME"), "{list}");
    let line = list
        .lines()
        .find(|line| line.starts_with(host.name))
        .unwrap();
    assert!(line.contains("Up ") && line.contains("0 (0 up)"), "{line}");
    let blue = done(&mut coracle([
        "host",
        "ls",
        "-q",
        "--filter",
        "label=tenant=blue",
    ]))
    .expect(0);
    assert_eq!(blue.stdout, format!("{}\n", host.name));
    assert_eq!(host.field(".Memory"), (700 << 20).to_string());

    assert_eq!(
        host.run(&["--rm", "busybox", "echo", "hello"])
            .expect(0)
            .stdout,
        "hello\n"
    );
    let _ = host
        .run(&["--rm", "busybox", "sh", "-c", "exit 3"])
        .expect(3);
    let missing = host.run(&["--rm", "busybox", "nothing-there"]).expect(127);
    assert!(missing.stderr.contains("nothing-there"), "{missing:?}");
    let container = host.hold("whole-life-one", &[]);
    assert_eq!(container.field(".Coracle.Host"), host.name);
    assert_eq!(host.containers(), ["whole-life-one"]);
    let memory = ["stats", "--no-stream", "--format", "{{.MemUsage}}"];
    let memory = container.does(&memory).expect(0).stdout;
    assert!(memory.ends_with(" / 700MiB\n"), "{memory}");

    let refused = host.does(&["rm"]).expect(1);
    assert!(refused.stderr.contains("host stop"), "{refused:?}");
    let _ = host.does(&["stop", "-t", "0"]).expect(0);
    assert_eq!(host.field(".State.Status"), "exited");
    assert_eq!(container.field(".State.Status"), "exited");
    let refused = host.run(&["--rm", "busybox", "true"]).expect(125);
    assert!(refused.stderr.contains("host start"), "{refused:?}");
    let _ = host.does(&["start"]).expect(0);
    let _ = container.does(&["start"]).expect(0);
    assert_eq!(container.field(".State.Status"), "running");
    assert_eq!(
        host.does(&["rm", "-f"]).expect(0).stdout,
        format!("{}\n", host.name)
    );
    let _ = host.does(&["inspect"]).expect(1);
    let gone = container
        .does(&["inspect", "--type", "container"])
        .expect(1);
    assert!(gone.stderr.contains("no such container"), "{gone:?}");
}

#[test]
fn containers_of_a_host_share_its_kernel_and_see_nothing_of_each_other() {
    let host = Host::create("shared", &[]);
    let one = host.hold("shared-one", &["--hostname", "one"]);
    let two = host.hold("shared-two", &["--hostname", "two"]);
    let boot = |container: &Detached| container.exec(&["cat", BOOT]).expect(0).stdout;
    assert_eq!(boot(&one), boot(&two));
    let alone = run(["--rm", "busybox", "cat", BOOT]).expect(0).stdout;
    assert_ne!(boot(&one), alone);

    assert_eq!(one.exec(&["hostname"]).expect(0).stdout, "one\n");
    assert_eq!(two.exec(&["hostname"]).expect(0).stdout, "two\n");
    let _ = one.exec(&["touch", "/tmp/of-one"]).expect(0);
    let _ = two.exec(&["test", "-e", "/tmp/of-one"]).expect(1);
    let processes = two.exec(&["ps"]).expect(0).stdout;
    assert_eq!(processes.matches("sleep 1000").count(), 1, "{processes}");
    let _ = one.does(&["stop", "-t", "0"]).expect(0);
    let _ = two.exec(&["true"]).expect(0);
    let stopped = one.does(&["logs"]).expect(0);
    assert_eq!(stopped.stdout, "");
}

#[test]
fn images_reach_a_host_that_is_up() {
    let host = Host::create("images", &[]);
    let shell = |image| host.run(&["--rm", image, "sh", "-c", "test -e /etc/debian_version"]);
    let _ = shell("busybox").expect(1);
    let _ = shell("debian").expect(0);
    let _both = host.hold("images-one", &[]);
    let _ = shell("debian").expect(0);
    let _ = shell("busybox").expect(1);
}

#[test]
fn hog_of_a_host_harms_no_neighbour() {
    let host = Host::create("hogs", &["--memory", "512m"]);
    let neighbour = host.hold("hogs-neighbour", &[]);
    let hog = "x=a; while :; do x=$x$x; done";
    let killed = host.run(&[
        "--name",
        "hogs-memory",
        "--memory",
        "32m",
        "busybox",
        "sh",
        "-c",
        hog,
    ]);
    let memory = Detached {
        name: "hogs-memory".into(),
    };
    let _ = killed.expect(137);
    assert_eq!(memory.field(".State.OOMKilled"), "true");
    let bomb = "bomb() { bomb | bomb & }; bomb; exec sleep 1000";
    let words = [
        "--host",
        host.name,
        "--pids-limit",
        "50",
        "busybox",
        "sh",
        "-c",
        bomb,
    ];
    let bomb = Detached::start("hogs-processes", &words);
    let _ = neighbour.exec(&["true"]).expect(0);
    let _ = bomb.does(&["rm", "-f"]).expect(0);
    assert_eq!(
        host.run(&["--rm", "busybox", "echo", "well"])
            .expect(0)
            .stdout,
        "well\n"
    );
}

#[test]
fn set_of_containers_is_brought_to_a_number() {
    let host = Host::create("scaled", &[]);
    let scale = |set: &str| {
        let words = ["host", "scale", host.name, set, "--", "sleep", "1000"];
        done(&mut coracle(words)).expect(0).stdout
    };
    let up = scale("busybox=3");
    assert_eq!(up.matches("started ").count(), 3, "{up}");
    assert!(up.ends_with("busybox: 3\n"), "{up}");
    assert_eq!(host.containers().len(), 3);
    let three = host.containers();
    let _ = done(&mut coracle(["stop", "-t", "0", &three[1]])).expect(0);
    let again = scale("busybox=3");
    assert_eq!(again, format!("started {}\nbusybox: 3\n", three[1]));
    // The newest go first.
    assert_eq!(scale("busybox=1").matches("removed ").count(), 2);
    assert_eq!(host.containers(), three[2..]);
    let _ = scale("busybox=0");
    assert!(host.containers().is_empty());
    let wrong = done(&mut coracle(["host", "scale", host.name, "busybox"])).expect(125);
    assert!(wrong.stderr.contains("nginx=3"), "{wrong:?}");
}

#[test]
fn hundred_containers_live_in_a_host() {
    let host = Host::create("hundred", &["--memory", "1g"]);
    let words = [
        "host",
        "scale",
        host.name,
        "busybox=100",
        "--",
        "sleep",
        "1000",
    ];
    let _ = done(&mut coracle(words)).expect(0);
    let filter = format!("host={}", host.name);
    let running = [
        "ps",
        "-q",
        "--filter",
        "status=running",
        "--filter",
        &filter,
    ];
    let list = done(&mut coracle(running)).expect(0).stdout;
    assert_eq!(list.lines().count(), 100, "{list}");
    let last = list.lines().next().unwrap();
    let _ = done(&mut coracle(["exec", last, "true"])).expect(0);
    let _ = host.does(&["stop", "-t", "0"]).expect(0);
    let list = done(&mut coracle(running)).expect(0).stdout;
    assert_eq!(list, "");
}

#[test]
fn foreground_container_goes_with_its_command_and_the_host_stays() {
    let host = Host::create("owner", &[]);
    let words = ["run", "--host", host.name, "--name", "owned", "--rm"];
    let script = ["busybox", "sh", "-c", "echo ready; exec sleep 1000"];
    let mut child = coracle(words.into_iter().chain(script))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(first_line(&mut child), "ready\n");
    signal(child.id(), Signal::KILL);
    assert_eq!(wait(child), 137);
    let begun = Instant::now();
    while !host.containers().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the container stays");
    }
    let _ = host.run(&["--rm", "busybox", "true"]).expect(0);
}

#[test]
fn host_whose_keeper_was_killed_is_told_and_started_again() {
    let host = Host::create("killed", &[]);
    let kept = host.hold("killed-always", &["--restart", "always"]);
    let other = host.hold("killed-other", &[]);
    let keeper: u32 = host.field(".State.KeeperPid").parse().unwrap();
    signal(keeper, Signal::KILL);
    let begun = Instant::now();
    while host.field(".State.Status") == "running" {
        assert!(begun.elapsed() < PATIENCE, "nobody notices");
    }
    assert!(host.field(".State.Error").contains("keeper"));
    for container in [&kept, &other] {
        assert_eq!(container.field(".State.Status"), "exited");
    }
    let _ = host.does(&["start"]).expect(0);
    let begun = Instant::now();
    while kept.field(".State.Status") != "running" {
        assert!(begun.elapsed() < PATIENCE, "the policy is not applied");
    }
    assert_eq!(other.field(".State.Status"), "exited");
}

#[test]
fn wrong_words_about_hosts_are_refused_and_leave_nothing() {
    let host = Host::create("refusals", &[]);
    let refused = |words: &[&str], code, part: &str| {
        let told = done(&mut coracle(words.iter().copied())).expect(code);
        assert!(told.stderr.contains(part), "{words:?}: {told:?}");
    };
    refused(&["host", "create", host.name], 1, "already");
    refused(&["host", "create", "../up"], 1, "name");
    refused(
        &["host", "create", "--kernel", "/etc/passwd", "no-kernel"],
        1,
        "kernel",
    );
    refused(&["host", "inspect", "no-kernel"], 1, "no such host");
    refused(&["host", "start", "no-such"], 1, "no such host");
    refused(
        &["run", "--host", "no-such", "busybox", "true"],
        125,
        "no such host",
    );
    refused(
        &[
            "run", "--host", host.name, "--kernel", "/vmlinux", "busybox", "true",
        ],
        125,
        "--kernel",
    );
    refused(&["host", "ls", "--filter", "colour=red"], 1, "colour");
    assert!(host.containers().is_empty());
}

#[test]
fn hosts_come_and_go_and_nothing_stays() {
    let installation = Installation::new(None);
    let does = |words: &[&str]| installation.run(words).expect(0).stdout;
    // What all of them share is made by the first.
    does(&["run", "--rm", "busybox", "true"]);
    does(&["host", "create", "first"]);
    does(&["host", "rm", "-f", "first"]);
    let before = installation.files("data");
    for name in ["first", "first", "second"] {
        does(&["host", "create", name]);
        does(&["run", "-d", "--host", name, "busybox", "sleep", "1000"]);
        does(&["host", "rm", "-f", name]);
    }
    assert_eq!(installation.files("data"), before);

    does(&["host", "create", "stays"]);
    does(&["host", "create", "put-away"]);
    does(&["host", "stop", "put-away"]);
    assert_eq!(does(&["system", "stop"]), "stays\n");
    assert_eq!(does(&["system", "start"]), "stays\n");
    let list = does(&["host", "ls", "--format", "{{.Name}} {{.State}}"]);
    assert_eq!(list, "put-away exited\nstays running\n");
    does(&["host", "rm", "-f", "stays", "put-away"]);
    let _ = installation.run(&["machine", "stop"]).expect(0);
    assert_eq!(installation.processes(), []);
}

#[test]
fn program_with_the_rights_of_a_hosts_root_sees_all_of_the_host() {
    let host = Host::create("admin", &[]);
    let one = host.hold("admin-one", &[]);
    let _ = one.exec(&["touch", "/left-by-one"]).expect(0);
    let exec = |command: &[&str]| {
        let mut all = coracle(["host", "exec", host.name]);
        done(all.args(command)).expect(0).stdout
    };
    let processes = exec(&["ps"]);
    assert!(processes.contains("sleep 1000"), "{processes}");
    assert!(exec(&["cat", "/proc/1/cmdline"]).contains("init"));
    assert!(exec(&["ls", "/sys/class/net"]).contains("coracle0"));
    // Writing to the kernel's settings and to control groups is for root alone.
    let script = "echo 1 > /proc/sys/vm/overcommit_memory; mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine; \
                  test -b /dev/vda && grep CapEff /proc/self/status; p=$(pidof sleep); ls /proc/$p/root";
    let text = exec(&["sh", "-c", script]);
    assert!(text.contains("CapEff:\t000001ffffffffff"), "{text}");
    assert!(text.contains("left-by-one"), "{text}");
    // What it leaves behind ends with it, and it is no container that stays.
    let _ = exec(&["sh", "-c", "sleep 2000 & sleep 3000 & echo started"]);
    let processes = exec(&["ps"]);
    assert!(!processes.contains("sleep 2000"), "{processes}");
    assert!(!processes.contains("sleep 3000"), "{processes}");
    assert!(!processes.contains("[sleep]"), "{processes}");
    assert_eq!(host.containers(), ["admin-one"]);

    let code = ["host", "exec", host.name, "sh", "-c", "exit 7"];
    let _ = done(&mut coracle(code)).expect(7);
    let debian = [
        "host",
        "exec",
        "--image",
        "debian",
        host.name,
        "cat",
        "/etc/debian_version",
    ];
    assert!(
        done(&mut coracle(debian))
            .expect(0)
            .stdout
            .starts_with("12")
    );
    let nowhere = done(&mut coracle(["host", "exec", "nowhere", "true"])).expect(1);
    assert!(nowhere.stderr.contains("no such host"), "{nowhere:?}");
    // An ordinary container sees none of that.
    let apart = host.run(&["--rm", "busybox", "ps"]).expect(0).stdout;
    assert!(!apart.contains("sleep 1000"), "{apart}");
}
