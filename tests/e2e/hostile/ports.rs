//! A container that wants the streams of another.

use std::process::{Command, Stdio};

use coracle_tests::{Host, attacker_image, coracle, done_with_input, end_attack};

/// How often a neighbour is given input while somebody lies in wait for it.
const EXECS: usize = 12;

/// What a neighbour's programs are given, and nobody else may see.
const SECRET: &str = "the neighbour's own\n";

/// Streams of a neighbour, while a container tries to be connected to their ports first.
fn streams_stay_a_neighbours(name: &'static str, flags: &[&str], vsock: &str) {
    let host = Host::create(name, &[]);
    let neighbour = host.hold(&format!("{name}-neighbour"), &[]);
    let ports = [attacker_image(), "/attacker", "ports"];
    let attacker = host.start(&format!("{name}-one"), &[flags, &ports].concat());
    let mut follow = coracle(["logs", "--follow", &attacker.name]);
    let follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let exec = || -> Command {
        let program = ["exec", "--interactive", &neighbour.name, "cat"];
        coracle(program)
    };
    for _ in 0..EXECS {
        let done = done_with_input(&mut exec(), SECRET.as_bytes()).expect(0);
        assert_eq!(done.stdout, SECRET);
        assert_eq!(done.stderr, "");
    }
    end_attack(&attacker);
    let all = follow.wait_with_output().unwrap().stdout;
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains(vsock), "{text}");
    let stolen = text.lines().find_map(|line| line.strip_prefix("stolen: "));
    assert_eq!(stolen.unwrap_or("0 bytes"), "0 bytes", "{text}");
}

#[test]
fn container_without_a_filter_has_no_way_to_the_streams_of_a_neighbour() {
    let flags = [
        "--security-opt",
        "seccomp=unconfined",
        "--user",
        "1000:1000",
    ];
    streams_stay_a_neighbours("hostile-ports", &flags, "vsock: EPERM");
}
