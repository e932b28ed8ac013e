//! What runs beside a container's first process.

use std::io::Write;

use contracts::guest::{
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
        group: false,
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

/// Descriptors or memory may be short for a moment: others have their turn before all tries are used up.
#[test]
#[ignore = "needs root"]
fn stream_that_cannot_be_connected_for_a_moment_is_not_lost() {
    let mut guest = Guest::start(NEEDS);
    guest.send(&HostMessage::Run(Box::new(spec(&["echo", "output"]))));
    let _others = [0, 2].map(|index| guest.accept(index));
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    guest.at_once(|guest| {
        guest.hide(1);
        guest.refuse(1);
        guest.send(&HostMessage::Time(1));
    });
    assert!(guest.refuse_until_told(1).is_none());
    assert_eq!(guest.read_stream(1), "output\n");
    assert_eq!(guest.exit(), ExitStatus::Code(0));
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
        attributes: vec![],
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
        Task::Tool(Tool::Unpack {
            path,
            follow: false,
        }),
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

#[test]
#[ignore = "needs root"]
fn program_ends_with_its_output_although_a_child_holds_the_pipe() {
    let mut guest = Guest::start(NEEDS);
    let _streams = guest.begin(spec(&["cat"]));
    // The second child writes for as long as anybody reads.
    let script = "sleep 1000 & yes & dd if=/dev/zero bs=1000 count=500 2>/dev/null | tr '\\0' a; \
                  echo END; kill %2";
    let (text, status) = output(&mut guest, program(script));
    assert_eq!(text.bytes().filter(|byte| *byte == b'a').count(), 500_000);
    assert!(text.contains("END\n"));
    assert_eq!(status, ExitStatus::Code(0));
    let (text, status) = output(&mut guest, program("sleep 1000 & exit 3"));
    assert_eq!((text.as_str(), status), ("", ExitStatus::Code(3)));
}

#[test]
#[ignore = "needs root"]
fn kill_of_a_program_with_a_group_takes_all_that_it_started() {
    let mut guest = Guest::start(NEEDS);
    let _streams = guest.begin(spec(&["cat"]));
    // The second has another parent and session.
    let script = "sleep 1234 & setsid sh -c 'sleep 2345 & ' & echo started; wait; sleep 1000";
    guest.send(&HostMessage::Exec {
        id: "health".into(),
        container: "test".into(),
        task: Box::new(program(script)),
        stdio: Stdio {
            stdout: Some(PORTS[1]),
            ..Stdio::default()
        },
        group: true,
    });
    let mut line = [0; 8];
    std::io::Read::read_exact(&mut guest.accept(1), &mut line).unwrap();
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    let listed = "until [ $(ps | grep -c 'sleep [12][23][34][45]$') = 2 ]; do sleep 0.01; done";
    let _ = output(&mut guest, program(listed));
    guest.send(&HostMessage::Signal {
        id: "health".into(),
        signal: 9,
    });
    assert_eq!(guest.exit(), ExitStatus::Signal(9));
    let gone = "while ps | grep -q 'sleep [12][23][34][45]$'; do sleep 0.01; done";
    let _ = output(&mut guest, program(gone));
    guest.hang_up();
}

/// The answer of a service, and how it ends.
fn service(guest: &mut Guest, tool: Tool) -> (Vec<u8>, ExitStatus) {
    let stdio = Stdio {
        stdout: Some(PORTS[1]),
        ..Stdio::default()
    };
    exec(guest, "service", Task::Tool(tool), stdio);
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut guest.accept(1), &mut answer).unwrap();
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    (answer, guest.exit())
}

#[test]
#[ignore = "needs root"]
fn services_work_on_a_container_that_is_frozen() {
    let mut guest = Guest::start(NEEDS);
    let script = "echo content > /tmp/file; echo ready; cat; :";
    let mut streams = guest.begin(spec(&["sh", "-c", script]));
    assert_eq!(streams.line(), "ready");
    for frozen in [false, true] {
        let _ = service(&mut guest, Tool::Freeze(frozen));
        let path = || "/tmp/file".to_owned();
        let (look, _) = service(&mut guest, Tool::Look { path: path() });
        assert_eq!(look, b"file\n");
        let pack = Tool::Pack {
            path: path(),
            follow: false,
        };
        let (archive, status) = service(&mut guest, pack);
        assert_eq!(status, ExitStatus::Code(0));
        assert_eq!(&archive[512..520], b"content\n");
        let (list, _) = service(&mut guest, Tool::Processes);
        assert!(String::from_utf8_lossy(&list).contains("\tsh -c"));
        let (statistics, _) = service(&mut guest, Tool::Statistics);
        assert!(statistics.starts_with(b"==> "));
    }
    guest.hang_up();
}

#[test]
#[ignore = "needs root"]
fn service_is_no_more_than_the_container_while_it_works() {
    let mut guest = Guest::start(NEEDS);
    guest.add_file("large", &"x".repeat(8 << 20), 0o600);
    let _streams = guest.begin(spec(&["cat"]));
    let stdio = Stdio {
        stdout: Some(PORTS[1]),
        ..Stdio::default()
    };
    let pack = Tool::Pack {
        path: "/large".into(),
        follow: false,
    };
    let before = guest.children();
    exec(&mut guest, "pack", Task::Tool(pack), stdio);
    // Nobody reads, so that it stays.
    let stream = guest.accept(1);
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    let pid = guest
        .children()
        .into_iter()
        .find(|pid| !before.contains(pid))
        .unwrap();
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let status = read("status");
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
    };
    // DAC_OVERRIDE and DAC_READ_SEARCH.
    for name in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(line(name), "0000000000000006", "{name}");
    }
    assert_eq!(
        (line("CapInh:"), line("NoNewPrivs:"), line("Seccomp:")),
        ("0000000000000000", "1", "2")
    );
    assert!(
        read("cgroup").trim().ends_with("/test"),
        "{}",
        read("cgroup")
    );
    assert_eq!(read("environ"), "");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // The standard ones, one more of standard output, the root, the file's directory and the file.
    assert!(open.count() <= 7);
    drop(stream);
    let _ = guest.exit();
}

#[test]
#[ignore = "needs root"]
fn archive_brings_attributes_and_follows_a_link_that_is_its_name() {
    let mut guest = Guest::start(NEEDS);
    guest.add_link("tmp/link", "../far");
    let _streams = guest.begin(spec(&["cat"]));
    let mut entry = Entry {
        path: b"link".to_vec(),
        kind: Kind::File,
        mode: 0o4755,
        uid: 1000,
        gid: 1001,
        size: 0,
        mtime: 1_000_000_000,
        link: Vec::new(),
        device: (0, 0),
        attributes: vec![],
    };
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    tar::keep(&mut entry, tar::CAPABILITY.as_bytes(), &capability);
    let archive = [tar::encode(&entry), tar::END.to_vec()].concat();
    let stdio = Stdio {
        stdin: Some(PORTS[0]),
        ..Stdio::default()
    };
    let unpack = Tool::Unpack {
        path: "/tmp".into(),
        follow: true,
    };
    exec(&mut guest, "unpack", Task::Tool(unpack), stdio);
    guest.accept(0).write_all(&archive).unwrap();
    assert!(matches!(guest.receive(), GuestMessage::Started { .. }));
    assert_eq!(guest.exit(), ExitStatus::Code(0));
    let (text, _) = output(
        &mut guest,
        program("stat -c '%n %u %a %Y' /far; readlink /tmp/link"),
    );
    assert_eq!(text, "/far 1000 4755 1000000000\n../far\n");
    let pack = Tool::Pack {
        path: "/tmp/link".into(),
        follow: true,
    };
    let (archive, _) = service(&mut guest, pack);
    let record = [&b"SCHILY.xattr.security.capability="[..], &capability].concat();
    assert!(archive.windows(record.len()).any(|part| part == record));
}

/// Bit of `CAP_SYS_PTRACE`, with which a container may look into every process that it sees.
const SYS_PTRACE: u64 = 1 << 19;

#[test]
#[ignore = "needs root"]
fn program_is_confined_from_the_first_moment_in_which_the_container_sees_it() {
    let mut guest = Guest::start(NEEDS);
    // Reading it takes a while, in which nothing may be seen.
    let line = "filler:x:4000:4000:a user who is only in the way:/nowhere:/bin/sh\n";
    let passwd = "root:x:0:0::/:\napp:x:1000:1001::/:\n".to_owned() + &line.repeat(200_000);
    guest.add_file("etc/passwd", &passwd, 0o644);
    let mut container = spec(&["sh", "-c", WATCH]);
    container.process.capabilities |= SYS_PTRACE;
    let mut streams = guest.begin(container);
    assert_eq!(streams.line(), "ready");
    let traced = |script: &str| match program(script) {
        Task::Program(process) => Task::Program(Process {
            capabilities: process.capabilities | SYS_PTRACE,
            ..process
        }),
        Task::Tool(_) => unreachable!(),
    };
    for _ in 0..5 {
        let _ = output(&mut guest, traced("true"));
    }
    let _ = output(&mut guest, traced("touch /tmp/end"));
    assert_eq!(streams.line(), "done");
}

/// Tells of each process with other capabilities or another filter than this shell's.
const WATCH: &str = r#"
    look() {
        while read -r key value; do
            case $key in CapBnd:|Seccomp:) printf '%s' "$key$value ";; esac
        done < $1
    } 2>/dev/null
    chmod 1777 /tmp
    own=$(look /proc/self/status)
    echo ready
    while [ ! -e /tmp/end ]; do
        for status in /proc/[0-9]*/status; do
            one=$(look $status)
            case $one in "$own"|"") ;; *) echo "$status: $one, not $own";; esac
        done
    done
    echo done"#;

#[test]
#[ignore = "needs root"]
fn tracing_container_never_sees_another_root_than_its_own() {
    let mut guest = Guest::start(NEEDS);
    let secret = tempfile_path("secret");
    std::fs::write(&secret, "the machine's own").unwrap();
    // The process that comes next is looked at all the time.
    let script = format!(
        "chmod 1777 /tmp; echo ready; while [ ! -e /tmp/end ]; do
            read a b c d last < /proc/loadavg
            for next in $last $((last + 1)) $((last + 2)); do
                [ -e /proc/$next/root{secret} ] && echo seen
            done
        done; echo done"
    );
    let mut container = spec(&["sh", "-c", &script]);
    container.process.capabilities |= SYS_PTRACE;
    let mut streams = guest.begin(container);
    assert_eq!(streams.line(), "ready");
    for _ in 0..100 {
        let _ = output(&mut guest, program("true"));
    }
    let _ = output(&mut guest, program("touch /tmp/end"));
    assert_eq!(streams.line(), "done");
    std::fs::remove_file(&secret).unwrap();
}

#[test]
#[ignore = "needs root"]
fn init_of_a_container_has_nothing_of_the_guests() {
    let mut guest = Guest::start(NEEDS);
    // Another container was told this before, and it is in the memory of the guest's init.
    let mut other = spec(&["true"]);
    let secret = "SECRET=marmalade-and-toast";
    other.process.env.push(secret.into());
    let _ = guest.run(other, b"");
    // Split, so that the script does not find itself.
    let script = "cat /proc/1/maps > /tmp/maps; while read -r range flags rest; do
            case $flags in r*) ;; *) continue;; esac
            case $rest in *vvar*|*vsyscall*) continue;; esac
            from=$((0x${range%-*} / 4096)); to=$((0x${range#*-} / 4096))
            dd if=/proc/1/mem bs=4096 skip=$from count=$((to - from)) 2>/dev/null
        done < /tmp/maps | grep -c -a 'marmalade-and''-toast'; ls /proc/1/fd | wc -l; readlink /proc/1/root";
    let mut container = spec(&["sh", "-c", script]);
    container.process.init = true;
    container.process.capabilities |= SYS_PTRACE;
    let ended = guest.run(container, b"");
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(
        text,
        "0\n0\n/\n",
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[test]
#[ignore = "needs root"]
fn working_directory_of_a_program_is_not_made() {
    let mut guest = Guest::start(NEEDS);
    let _streams = guest.begin(spec(&["cat"]));
    let Task::Program(mut process) = program("true") else {
        unreachable!()
    };
    process.cwd = "/absent".into();
    exec(
        &mut guest,
        "beside",
        Task::Program(process),
        Stdio::default(),
    );
    match guest.receive() {
        GuestMessage::Failed { kind, message, .. } => {
            assert_eq!(kind, FailureKind::NotExecutable);
            assert!(message.contains("/absent: no such file"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let (text, _) = output(&mut guest, program("ls -d /absent 2>&1 || :"));
    assert!(text.contains("No such file"), "{text}");
}

#[test]
#[ignore = "needs root"]
fn working_directory_is_made_where_links_lead() {
    let mut guest = Guest::start(NEEDS);
    guest.add_link("dangling", "../far/away");
    let mut container = spec(&["sh", "-c", "pwd -P"]);
    container.process.cwd = "/dangling/and/on".into();
    let ended = guest.run(container, b"");
    assert_eq!(ended.stdout, b"/far/away/and/on\n");
}

#[test]
#[ignore = "needs root"]
fn programs_of_a_container_that_ends_leave_no_process_behind() {
    let mut guest = Guest::start(NEEDS);
    for _ in 0..10 {
        let streams = guest.begin(spec(&["cat"]));
        for id in ["one", "two", "three"] {
            exec(&mut guest, id, program("sleep 1000"), Stdio::default());
        }
        // Some are on their way.
        drop(streams);
        let mut ended = 0;
        while ended < 4 {
            match guest.receive() {
                GuestMessage::Started { .. } => {}
                GuestMessage::Exited { .. } | GuestMessage::Failed { .. } => ended += 1,
                other => panic!("{other:?}"),
            }
        }
        guest.settle();
        assert_eq!(guest.children(), Vec::<String>::new());
    }
}
