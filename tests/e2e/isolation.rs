//! What a container cannot do: docker's defaults, in a kernel of its own.

use coracle_tests::{Detached, Host, coracle, done, run};

fn status<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let arguments = arguments
        .into_iter()
        .chain(["busybox", "cat", "/proc/self/status"]);
    run(arguments).expect(0).stdout
}

#[test]
fn capabilities_are_dockers_default() {
    let text = status([]);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(
            text.contains(&format!("{set}:\t00000000a80425fb")),
            "{text}"
        );
    }
    for set in ["CapInh", "CapAmb"] {
        assert!(
            text.contains(&format!("{set}:\t0000000000000000")),
            "{text}"
        );
    }
}

#[test]
fn capabilities_are_added_and_dropped() {
    let text = status(["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]);
    assert!(text.contains("CapEff:\t0000000000000400"), "{text}");
    let text = status(["--cap-add", "SYS_TIME"]);
    assert!(text.contains("CapEff:\t00000000aa0425fb"), "{text}");
}

#[test]
fn system_call_filter_is_on_unless_unconfined() {
    assert!(status([]).contains("Seccomp:\t2"));
    // Not docker's 0: a filter stays that refuses the way to the host, and nothing else.
    assert!(status(["--security-opt", "seccomp=unconfined"]).contains("Seccomp:\t2"));
    assert!(status(["--privileged"]).contains("Seccomp:\t0"));
}

#[test]
fn no_new_privileges_is_set_when_asked() {
    assert!(status([]).contains("NoNewPrivs:\t0"));
    assert!(status(["--security-opt", "no-new-privileges"]).contains("NoNewPrivs:\t1"));
}

#[test]
fn forbidden_system_calls_fail_with_permission_denied() {
    let done = run(["busybox", "unshare", "-m", "true"]);
    assert_ne!(done.code, 0);
    assert!(
        done.stderr.contains("Operation not permitted"),
        "{}",
        done.stderr
    );
    let done = run(["busybox", "mount", "-t", "tmpfs", "none", "/mnt"]);
    assert_ne!(done.code, 0, "{done:?}");
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_refuse() {
    let script = "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l";
    assert_eq!(
        run(["busybox", "sh", "-c", script]).expect(0).stdout,
        "0\n0\n"
    );
    let script = "echo 1 > /proc/sys/kernel/panic";
    let done = run(["busybox", "sh", "-c", script]);
    assert_ne!(done.code, 0);
    assert!(
        done.stderr.contains("Read-only file system"),
        "{}",
        done.stderr
    );
    let done = run(["busybox", "sh", "-c", "echo b > /proc/sysrq-trigger"]);
    assert_ne!(done.code, 0, "{done:?}");
}

#[test]
fn namespaces_are_not_those_of_init() {
    let script = "ls -l /proc/1/ns | wc -l; cat /proc/1/comm; ls /proc | grep -c '^[0-9]'";
    let text = run(["busybox", "sh", "-c", script]).expect(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.get(1), Some(&"sh"), "{text}");
    let processes: u32 = lines.get(2).and_then(|count| count.parse().ok()).unwrap();
    assert!(processes < 6, "{text}");
}

#[test]
fn disks_of_the_guest_are_out_of_reach() {
    let script = "mknod /d b 254 0 && cat /d";
    let done = run(["busybox", "sh", "-c", script]);
    assert_ne!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, "");
}

#[test]
fn virtual_sockets_are_out_of_reach() {
    let script = "import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)";
    let done = run(["python", "python3", "-c", script]).expect(1);
    assert!(
        done.stderr.contains("Operation not permitted"),
        "{}",
        done.stderr
    );
}

#[test]
fn cgroup_is_the_root_of_its_own_tree_and_read_only() {
    let text = run(["busybox", "cat", "/proc/self/cgroup"])
        .expect(0)
        .stdout;
    assert_eq!(text, "0::/\n");
    let done = run(["busybox", "mkdir", "/sys/fs/cgroup/mine"]);
    assert_ne!(done.code, 0, "{done:?}");
}

#[test]
fn settings_of_its_own_kernel_can_be_made_in_either_spelling() {
    // Databases ask for it; the kernel is nobody else's.
    for name in ["vm.max_map_count", "vm/max_map_count"] {
        let setting = format!("{name}=262144");
        let file = "/proc/sys/vm/max_map_count";
        let done = run(["--sysctl", &setting, "busybox", "cat", file]);
        assert_eq!(done.expect(0).stdout, "262144\n");
    }
}

#[test]
fn settings_of_others_are_refused_in_words_however_they_are_written() {
    let host = Host::create("settings", &[]);
    for (flags, setting, words) in [
        (
            &["--network", "host"][..],
            "net.ipv4.ip_forward=1",
            "network",
        ),
        (&["--network", "host"], "net/ipv4/ip_forward=1", "network"),
        (&["--network", "host"], "net/ipv4.ip_forward=1", "network"),
        (&["--ipc", "host"], "kernel.shmmax=1000000", "--ipc host"),
        (&["--ipc", "host"], "fs/mqueue/msg_max=20", "--ipc host"),
        (&[], "kernel.pid_max=301", "every neighbour"),
        (&[], "kernel/pid_max=301", "every neighbour"),
        (&[], "vm.swappiness=61", "every neighbour"),
        (&[], "net/../kernel/pid_max=301", "no name"),
        (&[], "hostname=x", "no name"),
    ] {
        let image = ["--sysctl", setting, "busybox", "true"];
        let done = host.run(&[flags, &image].concat());
        assert!(matches!(done.code, 2 | 125), "{setting}: {done:?}");
        assert!(done.stderr.contains(words), "{setting}: {done:?}");
    }
    for setting in ["net.core.somaxconn=99", "net/core/somaxconn=99"] {
        let file = "/proc/sys/net/core/somaxconn";
        let image = ["--rm", "--sysctl", setting, "busybox", "cat", file];
        assert_eq!(host.run(&image).expect(0).stdout, "99\n");
    }
    let file = "/proc/sys/kernel/shmmax";
    let image = [
        "--rm",
        "--sysctl",
        "kernel.shmmax=1000000",
        "busybox",
        "cat",
        file,
    ];
    assert_eq!(host.run(&image).expect(0).stdout, "1000000\n");
}

#[test]
fn settings_of_its_own_namespaces_can_be_made() {
    let done = run([
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start=99",
        "busybox",
        "cat",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    ]);
    assert_eq!(done.expect(0).stdout, "99\n");
}

/// Of the processor's own holes, the kernel closes what it can without the help of microcode.
#[test]
fn kernel_guards_itself_and_its_programs_against_speculation() {
    let files = ["spectre_v1", "spectre_v2", "meltdown", "retbleed", "l1tf"];
    let paths = files.map(|name| format!("/sys/devices/system/cpu/vulnerabilities/{name}"));
    let mut arguments = vec!["busybox", "cat"];
    arguments.extend(paths.iter().map(String::as_str));
    let text = run(arguments).expect(0).stdout;
    assert_eq!(text.lines().count(), files.len(), "{text}");
    for (name, state) in files.iter().zip(text.lines()) {
        assert!(
            state == "Not affected" || state.starts_with("Mitigation: "),
            "{name}: {state}"
        );
    }
}

#[test]
fn monitor_has_its_whole_jail_and_inspect_and_doctor_say_so() {
    let container = Detached::start("jailed", &["busybox", "sleep", "1000"]);
    let walls = container.field("json .Coracle.Jail");
    for wall in ["namespaces", "PID namespace", "seccomp"] {
        assert!(walls.contains(&format!("\"{wall}\"")), "{walls}");
    }
    let done = done(&mut coracle(["doctor"]));
    let line = done.stdout.lines().find(|line| line.contains(" jail "));
    assert!(
        line.is_some_and(|line| line.contains("seccomp")),
        "{done:?}"
    );
}

#[test]
fn container_runs_where_the_whole_jail_is_required_and_possible() {
    let mut command = coracle(["run", "--rm", "busybox", "echo", "jailed"]);
    let done = done(command.env("CORACLE_REQUIRE_JAIL", "1"));
    assert_eq!(done.expect(0).stdout, "jailed\n");
}
