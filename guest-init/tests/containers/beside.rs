//! What runs beside a container's first process.

use std::io::Write;

use coracle_protocol::{
    ExitStatus, FailureKind, GuestMessage, HostMessage, Process, Stdio, Task, Tool,
    tar::{self, Entry, Kind},
};

use crate::{
    NEEDS,
    support::{Guest, PORTS, spec},
};

fn exec(guest: &mut Guest, id: &str, task: Task, stdio: Stdio) {
    guest.send(&HostMessage::Exec {
        id: id.into(),
        container: "test".into(),
        task: Box::new(task),
        stdio,
    });
}

fn program(script: &str) -> Task {
    let container = spec(&["sh", "-c", script]);
    Task::Program(Process {
        user: "app".into(),
        ..container.process
    })
}

/// All that something beside a running container writes, and how it ends.
fn output(guest: &mut Guest, task: Task) -> (String, ExitStatus) {
    let stdio = Stdio {
        stdout: Some(PORTS[1]),
        ..Stdio::default()
    };
    exec(guest, "beside", task, stdio);
    let text = guest.read_stream(1);
    assert!(matches!(guest.receive(), GuestMessage::Started { id, .. } if id == "beside"));
    (text, guest.exit())
}

#[test]
#[ignore = "needs root"]
fn program_has_the_namespaces_of_the_container_and_its_own_user() {
    let mut guest = Guest::start(NEEDS);
    let _streams = guest.begin(spec(&["cat"]));
    let script = "cat /proc/1/cmdline; hostname; id -u; grep -c CapEff:.*0000000000000000 \
                  /proc/self/status; grep Seccomp: /proc/self/status; exit 5";
    let (text, status) = output(&mut guest, program(script));
    assert_eq!(text, "cat\0box\n1000\n1\nSeccomp:\t2\n");
    assert_eq!(status, ExitStatus::Code(5));
}

#[test]
#[ignore = "needs root"]
fn program_enters_the_user_namespace_of_the_container() {
    let mut guest = Guest::start(NEEDS);
    let mut container = spec(&["sh", "-c", "readlink /proc/self/ns/user; cat"]);
    container.user_namespace = true;
    let mut streams = guest.begin(container);
    let (text, _) = output(&mut guest, program("readlink /proc/self/ns/user"));
    assert_eq!(text.trim(), streams.line());
}

#[test]
#[ignore = "needs root"]
fn end_of_the_container_ends_what_runs_beside_it_and_both_are_told() {
    let mut guest = Guest::start(NEEDS);
    let streams = guest.begin(spec(&["cat"]));
    exec(
        &mut guest,
        "beside",
        program("sleep 1000"),
        Stdio::default(),
    );
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    drop(streams);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        match guest.receive() {
            GuestMessage::Exited { id, status, .. } => ended.push((id, status)),
            other => panic!("{other:?}"),
        }
    }
    ended.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(ended[0], ("beside".into(), ExitStatus::Signal(9)));
    assert_eq!(ended[1], ("test".into(), ExitStatus::Code(0)));
    guest.hang_up();
}

#[test]
#[ignore = "needs root"]
fn channel_that_closes_ends_programs_and_containers() {
    let mut guest = Guest::start(NEEDS);
    let _streams = guest.begin(spec(&["cat"]));
    exec(
        &mut guest,
        "beside",
        program("sleep 1000"),
        Stdio::default(),
    );
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    guest.hang_up();
}

#[test]
#[ignore = "needs root"]
fn program_of_a_container_that_does_not_run_is_refused() {
    let mut guest = Guest::start(NEEDS);
    exec(&mut guest, "beside", program("true"), Stdio::default());
    match guest.receive() {
        GuestMessage::Failed { kind, message, .. } => {
            assert_eq!(kind, FailureKind::Setup);
            assert!(message.contains("not running"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs root"]
fn archive_is_unpacked_inside_the_container_whatever_its_links_say() {
    let mut guest = Guest::start(NEEDS);
    let outside = tempfile_path("outside");
    let link = format!("ln -s {outside} /tmp/link; cat");
    let _streams = guest.begin(spec(&["sh", "-c", &link]));
    let content = b"from the host";
    let mut archive = tar::encode(&Entry {
        path: b"link/file".to_vec(),
        kind: Kind::File,
        mode: 0o640,
        uid: 1000,
        gid: 1001,
        size: content.len() as u64,
        mtime: 1_000_000_000,
        link: Vec::new(),
        device: (0, 0),
    });
    archive.extend_from_slice(content);
    archive.resize(archive.len() + tar::padding(content.len() as u64), 0);
    archive.extend_from_slice(&tar::END);
    let stdio = Stdio {
        stdin: Some(PORTS[0]),
        ..Stdio::default()
    };
    let path = "/tmp".into();
    // The link is made when a first program has run after it.
    let _ = output(
        &mut guest,
        program("while [ ! -L /tmp/link ]; do sleep 0.01; done"),
    );
    exec(
        &mut guest,
        "unpack",
        Task::Tool(Tool::Unpack { path }),
        stdio,
    );
    let mut input = guest.accept(0);
    input.write_all(&archive).unwrap();
    drop(input);
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    // The link leads to a directory that the container does not have.
    assert_eq!(guest.exit(), ExitStatus::Code(1));
    assert!(!std::path::Path::new(&outside).exists());
}

fn tempfile_path(name: &str) -> String {
    let own = format!("coracle-{name}-{}", std::process::id());
    std::env::temp_dir().join(own).display().to_string()
}
