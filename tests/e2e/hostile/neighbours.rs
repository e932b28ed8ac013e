//! A container that takes what it can get, beside one that must go on.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use coracle_tests::{Host, attacker_image, coracle, done, signal, wait};
use rustix::process::Signal;

/// What a kernel has for all, and containers of one host take of it, in two portions: what is taken as
/// descriptors, and the rest. Names are the attacker's.
const KINDS: [&[&str]; 2] = [
    &["descriptors", "pipes", "sockets", "events"],
    &[
        "terminals",
        "watches",
        "marks",
        "queues",
        "segments",
        "semaphores",
        "timers",
        "asynchronous",
        "files",
        "keys",
        "groups",
        "processes",
    ],
];

/// What a container says until it is ready, or has ended.
fn said(name: &str) -> String {
    let mut logs = coracle(["logs", "--follow", name]);
    let mut logs = logs.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(logs.stdout.take().unwrap()).lines();
    let lines = lines.map_while(Result::ok);
    let said: Vec<String> = lines.take_while(|line| line != "ready").collect();
    signal(logs.id(), Signal::KILL);
    let _ = wait(logs);
    said.join("; ")
}

#[test]
fn neighbour_has_all_it_needs_whatever_a_container_takes() {
    // A small guest, whose kernel had few of everything by its own measure.
    let host = Host::create("hostile-exhaust", &["--memory", "256m"]);
    let neighbour = host.hold("hostile-exhaust-neighbour", &["--memory", "32m"]);
    let image = attacker_image();
    let limits = ["--memory", "100m", "--pids-limit", "64"];
    let mut wrong = Vec::new();
    for (number, kinds) in KINDS.into_iter().enumerate() {
        let name = format!("hostile-exhaust-{number}");
        let program = [image, "/attacker", "exhaust"];
        let attacker = host.start(&name, &[&limits[..], &program, kinds].concat());
        let said = said(&name);
        let exec = ["exec", "-t", &neighbour.name, "echo", "well"];
        let exec = done(&mut coracle(exec));
        let new = host.run(&["--rm", image, "/attacker", "small"]);
        if exec.stdout.trim() != "well" || new.stdout != "all there\n" {
            wrong.push(format!("{said}: {exec:?} {new:?}"));
        }
        for kind in kinds {
            if !said.contains(&format!("{kind}: ")) {
                wrong.push(format!("{kind} was not tried: {said}"));
            }
        }
        drop(attacker);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
