//! What a container does on purpose to harm others: its neighbours, its keeper, this machine.

use std::{fs, io::Read, path::PathBuf, process::Stdio};

use coracle_tests::{Detached, Host, coracle, done_with_input, signal, wait};
use rustix::process::Signal;

/// Bytes that a keeper may have had at most, whatever its guest does: the program itself, and 64 KiB for
/// each stream and each of its readers.
const KEEPER_BYTES: u64 = 16 << 20;

/// A number from a keeper's `/proc/PID/status`.
fn of_keeper(container: &Detached, name: &str) -> u64 {
    let keeper = container.field(".Coracle.KeeperPid");
    let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().split_whitespace().next();
    number.unwrap().parse().unwrap()
}

/// Bytes that a keeper had at its worst.
fn worst(container: &Detached) -> u64 {
    of_keeper(container, "VmHWM:") << 10
}

/// Bytes of all files of a container, the log's among them.
fn on_disk(container: &Detached) -> u64 {
    let id = container.field(".Id");
    let data = PathBuf::from(std::env::var_os("XDG_DATA_HOME").unwrap());
    let directory = data.join("coracle/containers").join(id);
    let files = fs::read_dir(directory).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn log_flood_is_capped_and_held_up_by_nobody() {
    let host = Host::create("flood", &[]);
    let neighbour = host.hold("flood-neighbour", &[]);
    let script =
        "yes 'a line that nobody will ever read' | head -c 30000000; echo; echo over; sleep 1000";
    let flood = host.start(
        "flood-one",
        &["--log-opt", "max-size=256k", "busybox", "sh", "-c", script],
    );
    let mut follow = coracle(["logs", "--follow", "--tail", "0", "flood-one"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = neighbour.exec(&["true"]).expect(0);
    let mut text = String::new();
    let mut output = follow.stdout.take().unwrap();
    let mut piece = [0; 64 << 10];
    while !text.ends_with("over\n") {
        let length = output.read(&mut piece).unwrap();
        assert_ne!(length, 0, "the log ends before its last line");
        text = String::from_utf8_lossy(&piece[..length]).into_owned();
    }
    signal(follow.id(), Signal::KILL);
    let _ = wait(follow);
    assert!(on_disk(&flood) < 1 << 20, "{}", on_disk(&flood));
    assert!(worst(&flood) < KEEPER_BYTES, "{}", worst(&flood));
    assert_eq!(of_keeper(&flood, "Threads:"), 1);
    let last = flood.does(&["logs", "--tail", "1"]).expect(0);
    assert_eq!(last.stdout, "over\n");
}

#[test]
fn reader_that_does_not_read_takes_little_of_the_keeper_and_nothing_of_a_neighbour() {
    let host = Host::create("deaf", &[]);
    let neighbour = host.hold("deaf-neighbour", &[]);
    let flood = host.start("deaf-one", &["--log-driver", "none", "busybox", "yes"]);
    let mut readers = Vec::new();
    for _ in 0..8 {
        let reader = coracle(["attach", "--no-stdin", "deaf-one"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        readers.push(reader);
    }
    for reader in &mut readers {
        let mut line = [0; 2];
        reader
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        assert_eq!(&line, b"y\n");
    }
    let _ = neighbour.exec(&["true"]).expect(0);
    assert!(worst(&flood) < KEEPER_BYTES, "{}", worst(&flood));
    for reader in readers {
        signal(reader.id(), Signal::KILL);
        let _ = wait(reader);
    }
    assert_eq!(flood.field(".State.Status"), "running");
}

#[test]
fn disk_filler_ends_at_its_limit() {
    let host = Host::create("filler", &["--memory", "512m"]);
    let neighbour = host.hold("filler-neighbour", &[]);
    let fill = "cat /dev/zero > /filled; echo full; rm /filled; echo again > /small && cat /small";
    let limited = ["--tmpfs", "/filled-here:size=16m", "busybox", "sh", "-c"];
    let bounded = fill.replace("/filled", "/filled-here/file");
    let full = host
        .run(&[&["--rm"], &limited[..], &[&bounded]].concat())
        .expect(0);
    assert_eq!(full.stdout, "full\nagain\n");
    assert!(full.stderr.contains("No space left"), "{full:?}");
    let killed = host.run(&["--rm", "--memory", "48m", "busybox", "sh", "-c", fill]);
    let _ = killed.expect(137);
    let _ = neighbour.exec(&["true"]).expect(0);
    let well = host.run(&["--rm", "busybox", "echo", "well"]).expect(0);
    assert_eq!(well.stdout, "well\n");
}

/// Connects to the ports of streams of the next some tens of processes, again and again, holds every
/// connection, writes to it and tells of all that comes by it.
const CONNECT: &str = r#"
import socket, sys
ports = range(1025, 1090)
held = {}
print("ready", flush=True)
while True:
    for port in ports:
        if port not in held:
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            s.setblocking(False)
            s.connect_ex((2, port))
            held[port] = s
        try:
            held[port].send(b"forged forged forged forged\n")
            got = held[port].recv(1000)
            if got:
                print("got", got, flush=True)
            else:
                del held[port]
        except BlockingIOError:
            pass
        except OSError:
            del held[port]
"#;

#[test]
fn unconfined_container_cannot_reach_the_host_past_its_streams() {
    let host = Host::create("vsock", &[]);
    let script = "import socket
for family in socket.AF_VSOCK, socket.AF_UNIX, socket.AF_INET:
    try:
        socket.socket(family, socket.SOCK_STREAM)
        print('made')
    except OSError as error:
        print(error.strerror)";
    for flags in [&["--security-opt", "seccomp=unconfined"][..], &[]] {
        let python = ["--rm", "python", "python3", "-c", script];
        let (rm, image) = python.split_at(1);
        let done = host.run(&[rm, flags, image].concat()).expect(0);
        assert_eq!(done.stdout, "Operation not permitted\nmade\nmade\n");
    }
}

/// A privileged container may open vsock sockets, and connect before init does. It knows no secret.
#[test]
fn privileged_neighbour_gets_and_forges_no_streams() {
    let host = Host::create("forger", &[]);
    let forger = host.start(
        "forger-one",
        &["--privileged", "python", "python3", "-c", CONNECT],
    );
    forger.until_ready();
    let victim = host.hold("forger-victim", &[]);
    for turn in 0..10 {
        let input = format!("a secret of turn {turn}\n");
        let mut command = coracle(["exec", "-i", &victim.name, "cat"]);
        let done = done_with_input(&mut command, input.as_bytes()).expect(0);
        assert_eq!(done.stdout, input);
        let flags = ["--rm", "-i", "--host", host.name, "busybox", "cat"];
        let mut command = coracle(["run"]);
        let done = done_with_input(command.args(flags), input.as_bytes()).expect(0);
        assert_eq!((done.stdout, done.stderr), (input, String::new()));
    }
    let heard = forger.does(&["logs"]).expect(0).stdout;
    assert_eq!(heard, "ready\n");
    assert_eq!(forger.field(".State.Status"), "running");
}
