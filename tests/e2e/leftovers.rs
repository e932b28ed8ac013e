//! However a run ends, nothing of it stays: no process, no mount, no socket, no file.

use std::{fs, process::Stdio};

use coracle_tests::{
    Installation, done, first_line, mounts, no_mounts_since, signal, times, until, wait,
};
use rustix::process::Signal;

/// A run that has said "ready", ended by a signal.
fn ended_by(installation: &Installation, ending: Signal) {
    let script = "echo ready; exec sleep 1000";
    let mut child = installation
        .coracle(&[
            "run",
            "--rm",
            "--stop-timeout",
            "0",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(first_line(&mut child), "ready\n");
    signal(child.id(), ending);
    assert_ne!(wait(child), 0);
}

/// The software host, if one is used, has seen the last of its users go.
fn machine_is_unused(installation: &Installation) -> Result<(), String> {
    let status = done(&mut installation.coracle(&["machine", "status", "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    match status["clients"] == 0 {
        true => Ok(()),
        false => Err(format!("still in use: {status}")),
    }
}

/// A keeper whose command was killed has ended its container, and itself.
fn keepers_are_gone(installation: &Installation) -> Result<(), String> {
    let keepers = installation.processes();
    let mut keepers = keepers
        .iter()
        .filter(|(_, arguments)| arguments.contains("keeper of"));
    keepers.next().map_or(Ok(()), |(_, one)| Err(one.clone()))
}

#[test]
fn runs_that_end_in_every_way_leave_nothing() {
    let installation = Installation::new(None);
    let mounted = mounts();
    let run = |flags: &[&str], code| {
        let arguments = [&["run", "--rm"], flags].concat();
        let _ = installation.run(&arguments).expect(code);
    };
    // What all of them share is made by the first.
    run(&["busybox", "true"], 0);
    let before = installation.files("data");

    run(&["busybox", "true"], 0);
    run(&["busybox", "nothing-there"], 127);
    run(&["busybox", "/etc"], 126);
    run(&["-u", "no-one", "busybox", "true"], 125);
    run(&["--timeout", "1", "busybox", "sleep", "99"], 137);
    for ending in [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL] {
        ended_by(&installation, ending);
    }
    until(|| keepers_are_gone(&installation));
    nothing_is_left(&installation);
    assert_eq!(installation.files("data"), before);
    until(|| no_mounts_since(&mounted));
}

/// Descriptors that processes of an installation have open; those of QEMU and its file servers come and go with
/// files that guests use.
fn descriptors(installation: &Installation) -> usize {
    let processes = installation.processes();
    let ours = processes
        .iter()
        .filter(|(_, arguments)| arguments.contains("coracle"))
        .filter(|(_, arguments)| !arguments.contains("qemu") && !arguments.contains("virtiofsd"));
    ours.map(|(pid, _)| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count))
        .sum()
}

#[test]
fn start_after_start_leaves_nothing() {
    let installation = Installation::new(None);
    let run = || {
        let ran = installation.run(&["run", "--rm", "busybox", "echo", "said"]);
        assert_eq!(ran.expect(0).stdout, "said\n");
    };
    run();
    until(|| machine_is_unused(&installation));
    let (files, open) = (installation.files("data"), descriptors(&installation));
    for _ in 0..times("CORACLE_TEST_STARTS", 5) {
        run();
    }
    until(|| keepers_are_gone(&installation));
    until(|| match descriptors(&installation) {
        now if now <= open => Ok(()),
        now => Err(format!("{now} descriptors are open, and {open} were")),
    });
    assert_eq!(installation.files("data"), files);
    nothing_is_left(&installation);
}

/// Stops an installation's software host, if there is one, and looks for what should not be there any
/// more: processes, sockets, and files of containers and hosts.
pub(crate) fn nothing_is_left(installation: &Installation) {
    until(|| machine_is_unused(installation));
    let _ = installation.run(&["machine", "stop"]).expect(0);
    assert_eq!(installation.processes(), []);
    let runtime = installation.files("run");
    let socket = |path: &&String| {
        use std::os::unix::fs::FileTypeExt;
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
    };
    assert_eq!(runtime.iter().find(socket), None, "{runtime:?}");
    let kept = installation.files("data");
    let of_one = |path: &&String| {
        let of = |room: &str| path.contains(&format!("/coracle/{room}/"));
        (of("containers") || of("hosts")) && path.ends_with(".json")
    };
    assert_eq!(kept.iter().find(of_one), None);
}
