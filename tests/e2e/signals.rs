//! However a run ends, nothing stays.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use coracle_tests::{coracle, done, run, signal, wait};
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
        let number = i32::try_from(monitor)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .unwrap();
        let Ok(watch) = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())
        else {
            continue;
        };
        let mut watched = [rustix::event::PollFd::new(
            &watch,
            rustix::event::PollFlags::IN,
        )];
        let limit = rustix::event::Timespec {
            tv_sec: 30,
            tv_nsec: 0,
        };
        assert_eq!(
            rustix::event::poll(&mut watched, Some(&limit)).unwrap(),
            1,
            "{monitor} stays"
        );
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
