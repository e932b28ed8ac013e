//! `docker run` in its everyday forms, beside `coracle` on the same containers.

use coracle_tests::{Host, coracle, done, times};

use super::{Api, Named, clients};

#[test]
fn run_shows_all_output_and_gives_the_exit_code() {
    let api = Api::start();
    for client in clients() {
        let script = "echo out; echo err >&2; exit 7";
        let arguments = ["run", "--rm", "busybox", "sh", "-c", script];
        let done = done(&mut api.client(&client, &arguments)).expect(7);
        assert_eq!(done.stdout, "out\n", "{}", client.display());
        assert_eq!(done.stderr, "err\n", "{}", client.display());
        // Nothing stays of it.
        let list = api.docker(&["ps", "-aq", "--filter", "ancestor=busybox:gone"]);
        assert_eq!(list.expect(0).stdout, "");
    }
}

#[test]
fn output_of_a_fast_program_is_never_lost() {
    let api = Api::start();
    let _host = Host::create("docker-fast", &[]);
    for round in 0..times("CORACLE_TEST_DOCKER_RUNS", 100) {
        let label = "coracle.host=docker-fast";
        let arguments = ["run", "--rm", "--label", label, "busybox", "echo", "hi"];
        let done = api.docker(&arguments).expect(0);
        assert_eq!(done.stdout, "hi\n", "round {round}: {done:?}");
    }
}

#[test]
fn input_is_passed_on_to_its_end() {
    let api = Api::start();
    let input: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let arguments = ["run", "--rm", "-i", "busybox", "md5sum"];
    let inside = api.docker_with_input(&arguments, &input).expect(0).stdout;
    let outside = coracle_tests::done_with_input(&mut std::process::Command::new("md5sum"), &input);
    assert_eq!(inside, outside.stdout);
    // Without -i there is no input at all.
    let arguments = ["run", "--rm", "busybox", "cat"];
    assert_eq!(
        api.docker_with_input(&arguments, b"lost").expect(0).stdout,
        ""
    );
}

#[test]
fn terminal_has_the_size_of_the_one_outside() {
    let api = Api::start();
    let script = "tty; sleep 1; stty size; read line; echo got $line; exit 6";
    let arguments = ["run", "--rm", "-it", "busybox", "sh", "-c", script];
    let done = api.docker_in_terminal(&arguments, b"typed\n").expect(6);
    assert!(done.stdout.contains("/dev/pts/0"), "{}", done.stdout);
    assert!(done.stdout.contains("31 99"), "{}", done.stdout);
    assert!(done.stdout.contains("got typed\r\n"), "{}", done.stdout);
}

#[test]
fn container_in_the_background_is_the_same_for_both_commands() {
    let api = Api::start();
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let flags = ["-e", "A=b", "--label", "l=v", "busybox", "sh", "-c", script];
    let container = Named::run(&api, "docker-both", &flags);
    let listed = |command: &[&str]| done(&mut coracle(command.iter().copied())).expect(0).stdout;
    let own = listed(&["ps", "--format", "{{.Names}} {{.Image}}"]);
    assert!(own.contains("docker-both busybox"), "{own}");
    let theirs = api.docker(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"]);
    assert!(
        theirs
            .expect(0)
            .stdout
            .contains("docker-both busybox running")
    );
    // Its log, from its first line on, as it comes.
    let logs = api.client(&super::newest(), &["logs", "-f", "docker-both"]);
    let following = follow(logs, "ready");
    let stopped = done(&mut coracle(["stop", "docker-both"])).expect(0);
    assert_eq!(stopped.stdout, "docker-both\n");
    assert_eq!(coracle_tests::wait(following), 0);
    assert_eq!(container.docker(&["wait"]).expect(0).stdout, "3\n");
    let format =
        "{{.State.Status}} {{.State.ExitCode}} {{.Config.Image}} {{index .Config.Labels \"l\"}}";
    let shown = container.docker(&["inspect", "--format", format]).expect(0);
    assert_eq!(shown.stdout, "exited 3 busybox v\n");
    let _ = container.docker(&["start"]).expect(0);
    let _ = container.docker(&["kill", "--signal", "KILL"]).expect(0);
    assert_eq!(container.docker(&["wait"]).expect(0).stdout, "137\n");
    let _ = container.docker(&["rm"]).expect(0);
    let own = listed(&["ps", "-a", "--format", "{{.Names}}"]);
    assert!(!own.contains("docker-both"), "{own}");
}

/// Starts a command, and waits for a line of its output.
fn follow(mut command: std::process::Command, line: &str) -> std::process::Child {
    use std::io::BufRead;
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.lines().any(|own| own == line) {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "{text}");
    }
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    child
}

#[test]
fn limits_and_settings_reach_the_container() {
    let api = Api::start();
    let script = "id -u; pwd; hostname; echo $A; ulimit -n; cat /sys/fs/cgroup/memory.max; \
        grep -c ' /t tmpfs' /proc/mounts; touch /x || echo read-only; grep CapEff /proc/self/status; \
        cat /proc/sys/net/core/somaxconn";
    let flags = [
        "run",
        "--rm",
        "-u",
        "65534",
        "-w",
        "/tmp",
        "-h",
        "boat",
        "-e",
        "A=b",
        "--ulimit",
        "nofile=77:99",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--tmpfs",
        "/t",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--sysctl",
        "net.core.somaxconn=99",
        "--pids-limit",
        "50",
        "--entrypoint",
        "/bin/sh",
        "busybox",
        "-c",
        script,
    ];
    let done = api.docker(&flags).expect(0);
    let expected =
        "65534\n/tmp\nboat\nb\n77\n67108864\n1\nread-only\nCapEff:\t0000000000000000\n99\n";
    assert_eq!(done.stdout, expected, "{}", done.stderr);
}

#[test]
fn container_that_cannot_start_is_docker_s_error() {
    let api = Api::start();
    let missing = api
        .docker(&["run", "--rm", "busybox", "no-such-program"])
        .expect(127);
    assert!(
        missing.stderr.contains("no-such-program"),
        "{}",
        missing.stderr
    );
    let not_executable = api
        .docker(&["run", "--rm", "busybox", "/etc/passwd"])
        .expect(126);
    assert!(
        not_executable.stderr.contains("/etc/passwd"),
        "{}",
        not_executable.stderr
    );
}
