//! However a run ends, nothing stays.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

use coracle_tests::{Detached, coracle, done, run, signal, wait, watch};
use rustix::process::Signal;

/// Starts a container that says "ready" and then waits; returns once it has said so.
fn started(arguments: &[&str]) -> Child {
    let mut child = coracle(["run"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// Processes that are monitors started by this one, here or in the software host.
fn monitors_of(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line == format!("PPid:\t{pid}")) {
            found.push(number);
        }
    }
    found
}

const TRAP: &str = "trap 'echo got; exit 9' TERM INT HUP; echo ready; while :; do sleep 0.1; done";

#[test]
fn termination_reaches_the_container() {
    let child = started(&["busybox", "sh", "-c", TRAP]);
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(child), 9);
}

#[test]
fn interrupt_reaches_the_container() {
    let child = started(&["busybox", "sh", "-c", TRAP]);
    signal(child.id(), Signal::INT);
    assert_eq!(wait(child), 9);
}

/// The next line of a container's output.
fn line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line
}

#[test]
fn signals_that_the_container_handles_are_its_own_affair() {
    let script = "trap 'echo int' INT; trap 'echo quit' QUIT; trap 'echo hup' HUP; echo ready; \
                  while [ ! -e /tmp/hups ] || [ $(wc -l < /tmp/hups) -lt 40 ]; do \
                  echo x >> /tmp/hups; sleep 0.1; done; exit 5";
    let mut child = coracle(["run", "--rm", "--stop-timeout", "1"])
        .args(["busybox", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut lines), "ready\n");
    for (sent, word) in [
        (Signal::HUP, "hup\n"),
        (Signal::QUIT, "quit\n"),
        (Signal::INT, "int\n"),
        (Signal::QUIT, "quit\n"),
        (Signal::HUP, "hup\n"),
    ] {
        signal(child.id(), sent);
        assert_eq!(line(&mut lines), word);
    }
    // It goes on for longer than the grace time.
    assert_eq!(wait(child), 5);
}

#[test]
fn signals_that_the_container_leaves_to_the_default_end_it() {
    // Also where a shell, which catches some of them, has it first.
    let script = "echo ready; exec sleep 1000";
    for (sent, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)] {
        let child = started(&["--stop-timeout", "1", "busybox", "sh", "-c", script]);
        signal(child.id(), sent);
        assert_eq!(wait(child), code, "{sent:?}");
    }
}

#[test]
fn second_interrupt_ends_what_handles_the_first() {
    let script = "trap 'echo int' INT; echo ready; while :; do sleep 0.1; done";
    let mut child = started(&["busybox", "sh", "-c", script]);
    signal(child.id(), Signal::INT);
    let mut word = [0; 4];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut word)
        .unwrap();
    assert_eq!(&word, b"int\n");
    signal(child.id(), Signal::INT);
    assert_eq!(wait(child), 130);
}

/// Runs a container that ignores SIGHUP in a terminal, by a shell that says something first, and takes the terminal
/// away when the container runs.
fn lose_terminal(name: &str, before: &str) {
    let line = format!(
        "{before} exec {} run -it --rm --name {name} --stop-timeout 1 busybox sh -c \
         \"trap '' HUP; echo up; while :; do sleep 0.1; done\"",
        coracle_tests::program("coracle").display()
    );
    let mut script = std::process::Command::new("script")
        .args(["--quiet", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("up") {}
    signal(script.id(), Signal::KILL);
    assert_eq!(wait(script), 137);
}

#[test]
fn container_whose_terminal_is_gone_ends() {
    lose_terminal("hung", "");
    // It may be gone already.
    let _ = done(&mut coracle(["wait", "hung"]));
    coracle_tests::until(|| match done(&mut coracle(["inspect", "hung"])).code {
        1 => Ok(()),
        _ => Err("the container is still there".into()),
    });
}

#[test]
fn container_that_is_to_outlive_its_terminal_does() {
    let container = Detached {
        name: "outlives".into(),
    };
    // As nohup(1) has it.
    lose_terminal("outlives", "trap '' HUP;");
    // Longer than the container's time.
    let _ = container.exec(&["sleep", "3"]).expect(0);
    assert_eq!(container.field(".State.Running"), "true");
}

#[test]
fn killed_container_can_be_removed_at_once() {
    let names = ["killed-one", "killed-two"];
    let _containers = names.map(|name| Detached::start(name, &["busybox", "sleep", "1000"]));
    let killed = done(coracle(["kill"]).args(names)).expect(0);
    assert_eq!(killed.stdout, "killed-one\nkilled-two\n");
    let _ = done(coracle(["rm"]).args(names)).expect(0);
}

#[test]
fn real_time_signals_have_names() {
    let script = "trap 'exit 3' 37; trap 'exit 4' 63; echo ready; while :; do sleep 0.1; done";
    let flags = ["--stop-signal", "SIGRTMIN+3", "busybox", "sh", "-c", script];
    let container = Detached::start("real-time", &flags);
    container.until_ready();
    let _ = container.does(&["stop"]).expect(0);
    assert_eq!(container.field(".State.ExitCode"), "3");
    let _ = container.does(&["start"]).expect(0);
    // While it runs again, it has not ended in any way.
    assert_eq!(container.field(".State.ExitCode"), "0");
    // A signal before the trap would do nothing to the first process of a namespace.
    coracle_tests::until(|| {
        let _ = container.does(&["kill", "-s", "rtmax-1"]);
        match container.field(".State.ExitCode").as_str() {
            "4" => Ok(()),
            other => Err(other.into()),
        }
    });
}

#[test]
fn stop_signal_of_the_users_choice_is_sent() {
    let script = "trap 'exit 3' USR1; echo ready; while :; do sleep 0.1; done";
    let child = started(&["--stop-signal", "USR1", "busybox", "sh", "-c", script]);
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(child), 3);
}

#[test]
fn container_that_ignores_the_stop_signal_is_killed_after_the_time_it_has() {
    let script = "echo ready; exec sleep 1000";
    let child = started(&["--stop-timeout", "1", "busybox", "sh", "-c", script]);
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(child), 137);
}

#[test]
fn second_interrupt_ends_the_guest_at_once() {
    let child = started(&["busybox", "sh", "-c", "echo ready; exec sleep 1000"]);
    let pid = child.id();
    signal(pid, Signal::INT);
    signal(pid, Signal::TERM);
    assert!([130, 143].contains(&wait(child)));
}

#[test]
fn killed_command_leaves_no_monitor() {
    let child = started(&["busybox", "sh", "-c", "echo ready; exec sleep 1000"]);
    let pid = child.id();
    let monitors = monitors_of(pid);
    signal(pid, Signal::KILL);
    assert_eq!(wait(child), 137);
    // The monitor sees the end of its control socket; its own end is what is waited for.
    for monitor in monitors {
        if let Some(watched) = watch(monitor) {
            watched.gone();
        }
    }
}

#[test]
fn name_of_a_running_container_is_taken_and_free_after() {
    let arguments = [
        "--rm",
        "--name",
        "taken",
        "busybox",
        "sh",
        "-c",
        "echo ready; exec sleep 1000",
    ];
    let child = started(&arguments);
    let refused = run(["--name", "taken", "busybox", "true"]).expect(125);
    assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
    signal(child.id(), Signal::KILL);
    assert_eq!(wait(child), 137);
    // Its keeper is still removing it, perhaps.
    let _ = done(&mut coracle(["rm", "--force", "taken"])).expect(0);
    let _ = run(["--rm", "--name", "taken", "busybox", "true"]).expect(0);
}
