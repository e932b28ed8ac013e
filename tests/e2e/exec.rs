//! Programs beside a container's first process, and services about it.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::Instant,
};

use coracle_tests::{
    Detached, Host, PATIENCE, coracle, done, done_with_input, run, signal, until, wait,
};
use rustix::process::Signal;

#[test]
fn program_runs_in_the_container_with_its_limits_and_its_own_exit_code() {
    let flags = [
        "-e",
        "A=1",
        "--cap-drop",
        "CHOWN",
        "busybox",
        "sleep",
        "1000",
    ];
    let container = Detached::start("inside", &flags);
    let text = container
        .exec(&["sh", "-c", "echo $A $B; exit 7"])
        .expect(7)
        .stdout;
    assert_eq!(text, "1\n");
    let mut with = coracle(["exec", "-e", "B=2", "-w", "/tmp", "-u", "nobody", "inside"]);
    let text = done(with.args(["sh", "-c", "echo $A $B $PWD; id -u"]))
        .expect(0)
        .stdout;
    assert_eq!(text, "1 2 /tmp\n65534\n");
    let status = container
        .exec(&["cat", "/proc/self/status"])
        .expect(0)
        .stdout;
    // Without CHOWN, bit 0.
    let bounding = status.lines().find(|line| line.starts_with("CapBnd:"));
    assert!(bounding.unwrap().ends_with("0425fa"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let group = container
        .exec(&["cat", "/proc/self/cgroup"])
        .expect(0)
        .stdout;
    assert_eq!(group, "0::/\n");
    let first = container.exec(&["cat", "/proc/1/cmdline"]).expect(0).stdout;
    assert_eq!(first, "sleep\x001000\0");
}

#[test]
fn missing_program_and_stopped_container_are_told_apart() {
    let container = Detached::waiting("outside");
    let _ = container.exec(&["no-such-program"]).expect(127);
    let _ = container.exec(&["/etc/passwd"]).expect(126);
    let _ = container.does(&["stop"]).expect(0);
    let stopped = container.exec(&["true"]).expect(1);
    assert!(stopped.stderr.contains("not running"), "{stopped:?}");
}

#[test]
fn input_and_output_are_whole() {
    let _container = Detached::waiting("piped");
    let input: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let mut command = coracle(["exec", "-i", "piped", "md5sum"]);
    let inside = done_with_input(&mut command, &input).expect(0).stdout;
    let outside = done_with_input(
        std::process::Command::new("md5sum").stdin(Stdio::null()),
        &input,
    );
    assert_eq!(inside, outside.stdout);
}

#[test]
fn terminal_of_a_program_is_one_of_the_container() {
    let _container = Detached::waiting("typed");
    let line = format!(
        "stty rows 31 cols 99; {} exec -it typed sh -c 'tty; stty size; exit 6'",
        coracle_tests::program("coracle").display()
    );
    let mut command = std::process::Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let done = done(command.stdin(Stdio::piped())).expect(6);
    assert!(done.stdout.contains("/dev/pts/"), "{}", done.stdout);
    assert!(done.stdout.contains("31 99"), "{}", done.stdout);
}

#[test]
fn detached_program_goes_on_and_ends_with_the_container() {
    let container = Detached::waiting("busy");
    let _ = done(&mut coracle(["exec", "-d", "busy", "sleep", "1234"])).expect(0);
    let top = container.does(&["top"]).expect(0).stdout;
    assert!(top.contains("sleep 1234"), "{top}");
    assert!(top.starts_with("UID"), "{top}");
    let _ = container.does(&["stop", "-t", "0"]).expect(0);
    assert_eq!(container.field(".State.Status"), "exited");
}

#[test]
fn use_is_told_in_numbers() {
    let container = Detached::waiting("counted");
    let text = container
        .does(&["stats", "--no-stream", "--format", "json"])
        .expect(0)
        .stdout;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["Name"], "counted");
    assert!(value["MemCharged"].as_u64().unwrap() > 100_000, "{text}");
    assert!(
        value["PIDs"].as_str().unwrap().parse::<u32>().unwrap() >= 1,
        "{text}"
    );
    assert!(value["CPUPerc"].as_str().unwrap().ends_with('%'), "{text}");
}

#[test]
fn changed_files_are_listed() {
    let container = Detached::waiting("changed");
    let script = "echo x > /root/new; rm /bin/vi; chmod 600 /etc/passwd; mkdir /opt";
    let _ = container.exec(&["sh", "-c", script]).expect(0);
    let text = container.does(&["diff"]).expect(0).stdout;
    for line in [
        "A /root/new",
        "D /bin/vi",
        "C /etc/passwd",
        "A /opt",
        "C /bin",
    ] {
        assert!(
            text.lines().any(|own| own == line),
            "{line} is missing:\n{text}"
        );
    }
    assert!(!text.contains("/etc/hosts"), "{text}");
}

#[test]
fn program_ends_although_a_child_in_the_background_holds_its_output() {
    let container = Detached::waiting("holding");
    let begun = Instant::now();
    let script = "sleep 1000 & echo first; exit 3";
    assert_eq!(
        container.exec(&["sh", "-c", script]).expect(3).stdout,
        "first\n"
    );
    assert!(begun.elapsed() < PATIENCE);
    let top = container.does(&["top"]).expect(0).stdout;
    assert!(top.contains("sleep 1000"), "{top}");
}

#[test]
fn one_signal_ends_the_command_although_the_program_takes_no_notice() {
    let _container = Detached::waiting("deaf");
    let script = "trap '' TERM HUP; echo ready; while :; do sleep 1; done";
    for (number, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut command = coracle(["exec", "deaf", "sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        signal(child.id(), number);
        assert_eq!(wait(child), code);
    }
}

#[test]
fn working_directory_that_is_not_there_is_an_error_and_is_not_made() {
    let container = Detached::waiting("placed");
    let done = done(&mut coracle(["exec", "-w", "/not/there", "placed", "pwd"])).expect(126);
    assert!(done.stderr.contains("/not/there"), "{done:?}");
    let _ = container.exec(&["ls", "/not"]).expect(1);
    // For a new container it is made.
    let text = run(["--rm", "-w", "/var/new", "busybox", "pwd"]);
    assert_eq!(text.expect(0).stdout, "/var/new\n");
}

#[test]
fn services_work_on_a_paused_container_and_programs_do_not() {
    let container = Detached::waiting("still");
    let _ = container
        .exec(&["sh", "-c", "echo content > /root/file"])
        .expect(0);
    let _ = container.does(&["pause"]).expect(0);
    let _ = container.does(&["stats", "--no-stream"]).expect(0);
    assert!(container.does(&["top"]).expect(0).stdout.contains("sleep"));
    assert!(
        container
            .does(&["diff"])
            .expect(0)
            .stdout
            .contains("A /root/file")
    );
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    let _ = done(coracle(["cp", "still:/root/file"]).arg(&file)).expect(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "content\n");
    let _ = done(coracle(["cp"]).arg(&file).arg("still:/root/back")).expect(0);
    let refused = container.exec(&["true"]).expect(1);
    assert!(refused.stderr.contains("paused"), "{refused:?}");
    let _ = container.does(&["unpause"]).expect(0);
    assert_eq!(
        container.exec(&["cat", "/root/back"]).expect(0).stdout,
        "content\n"
    );
}

#[test]
fn health_command_that_runs_out_of_time_takes_its_children_along() {
    // Its child is nobody's, in a session of its own.
    let command = "setsid sh -c 'sleep 4321 & '; sleep 1000";
    let flags = [
        "--health-cmd",
        command,
        "--health-interval",
        "1s",
        "--health-timeout",
        "2s",
        "--health-retries",
        "1",
        "busybox",
        "sleep",
        "1000",
    ];
    let container = Detached::start("sickly", &flags);
    until(|| match container.field(".State.Health.Status").as_str() {
        "unhealthy" => Ok(()),
        other => Err(other.into()),
    });
    // Of all that ran out of time nothing is left but what the present one may have.
    until(|| {
        let top = container.does(&["top"]).expect(0).stdout;
        match top.matches("sleep 4321").count() {
            0 | 1 => Ok(()),
            _ => Err(top),
        }
    });
}

#[test]
fn program_enters_a_container_that_has_shared_out_its_control_group() {
    let script = "cd /sys/fs/cgroup; mkdir inner; echo 1 > inner/cgroup.procs; \
                  echo +pids > cgroup.subtree_control; echo ready; exec sleep 1000";
    let flags = ["--privileged", "busybox", "sh", "-c", script];
    let container = Detached::start("parted", &flags);
    container.until_ready();
    let _ = container.exec(&["true"]).expect(0);
    assert!(
        container
            .does(&["top"])
            .expect(0)
            .stdout
            .contains("sleep 1000")
    );
    let _ = done(&mut coracle(["cp", "parted:/etc/passwd", "-"])).expect(0);
}

/// Opens the root of the process that comes next, over and over, and tells what it finds there.
const PEEP: &str = r#"
import os, sys
own = os.stat("/")
os.write(1, b"ready\n")
seen = set()
while not os.path.exists("/tmp/end"):
    with open("/proc/loadavg") as load:
        last = int(load.read().split()[-1])
    for pid in (last, last + 1, last + 2, last + 3):
        try:
            other = os.stat(f"/proc/{pid}/root/")
        except OSError:
            continue
        if (other.st_dev, other.st_ino) != (own.st_dev, own.st_ino):
            seen.add(pid)
            names = os.listdir(f"/proc/{pid}/root/")
            print("another root:", pid, names, flush=True)
            sys.exit(1)
print("none", flush=True)
"#;

fn never_sees_another_root(start: impl Fn(&[&str]) -> Detached) {
    let container = start(&["--cap-add", "SYS_PTRACE", "python", "python3", "-c", PEEP]);
    container.until_ready();
    for _ in 0..20 {
        let _ = container.exec(&["/bin/true"]).expect(0);
    }
    let _ = container.exec(&["touch", "/tmp/end"]).expect(0);
    until(|| match container.field(".State.Status").as_str() {
        "exited" => Ok(()),
        other => Err(other.into()),
    });
    let log = container.does(&["logs"]).expect(0).stdout;
    assert_eq!(log, "ready\nnone\n");
}

#[test]
fn tracing_container_never_sees_the_root_of_its_hosts_init() {
    let host = Host::create("traced", &[]);
    never_sees_another_root(|flags| host.start("peeping", flags));
}

#[test]
fn tracing_container_without_a_machine_never_sees_the_machines_root() {
    never_sees_another_root(|flags| {
        Detached::start("bare", &[&["--isolation", "namespace"], flags].concat())
    });
}
