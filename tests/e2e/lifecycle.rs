//! Containers that outlive the command that started them.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use coracle_tests::{Detached, PATIENCE, coracle, done, done_with_input, run, until, wait};
use serde_json::Value;

#[test]
fn detached_container_lives_and_dies_as_dockers() {
    let name = "life";
    let container = Detached::waiting(name);
    let list = done(&mut coracle(["ps"])).expect(0).stdout;
    let line = list.lines().find(|line| line.ends_with(name)).unwrap();
    assert!(line.contains("Up ") && line.contains("busybox"), "{list}");
    assert!(list.starts_with("CONTAINER ID  IMAGE"), "{list}");
    let _ = container.does(&["rm"]).expect(1);
    assert_eq!(container.does(&["stop"]).expect(0).stdout, "life\n");
    assert_eq!(container.field(".State.Status"), "exited");
    assert_eq!(container.field(".State.ExitCode"), "0");
    assert_eq!(container.does(&["wait"]).expect(0).stdout, "0\n");
    assert_eq!(container.does(&["start"]).expect(0).stdout, "life\n");
    assert_eq!(container.field(".State.Running"), "true");
    assert_eq!(container.does(&["kill"]).expect(0).stdout, "life\n");
    assert_eq!(container.does(&["wait"]).expect(0).stdout, "137\n");
    assert_eq!(container.does(&["rm"]).expect(0).stdout, "life\n");
    let gone = container
        .does(&["inspect", "--type", "container"])
        .expect(1);
    assert!(gone.stderr.contains("no such container"), "{gone:?}");
}

#[test]
fn created_container_runs_when_it_is_started() {
    let made = done(&mut coracle([
        "create",
        "-i",
        "--name",
        "made",
        "busybox",
        "sh",
        "-c",
        "cat; exit 3",
    ]));
    let id = made.expect(0).stdout.trim().to_owned();
    let short = id.get(..12).unwrap();
    let list = done(&mut coracle([
        "ps",
        "-a",
        "--filter",
        "status=created",
        "-q",
    ]))
    .expect(0);
    assert!(list.stdout.lines().any(|line| line == short), "{list:?}");
    let mut start = coracle(["start", "-a", "-i", short]);
    let started = done_with_input(&mut start, b"hello\n").expect(3);
    assert_eq!(started.stdout, "hello\n");
    assert_eq!(
        done(&mut coracle(["rm", &id])).expect(0).stdout,
        format!("{id}\n")
    );
}

#[test]
fn foreground_container_stays_unless_it_is_to_be_removed() {
    let listed = |name: &str| {
        let filter = format!("name={name}");
        done(&mut coracle(["ps", "-a", "-q", "--filter", &filter]))
            .expect(0)
            .stdout
    };
    let _ = run(["--name", "stays", "busybox", "echo", "said"]).expect(0);
    assert_eq!(listed("stays").lines().count(), 1);
    assert_eq!(
        done(&mut coracle(["logs", "stays"])).expect(0).stdout,
        "said\n"
    );
    let _ = done(&mut coracle(["rm", "stays"])).expect(0);
    let _ = run(["--rm", "--name", "goes", "busybox", "true"]).expect(0);
    assert_eq!(listed("goes"), "");
}

#[test]
fn logs_tell_streams_apart_and_keep_every_byte() {
    let script = r"printf 'one\ntwo\n'; printf 'bad\n' >&2; printf '\000\377'";
    let _ = run(["--name", "logged", "busybox", "sh", "-c", script]).expect(0);
    let mut command = coracle(["logs", "logged"]);
    command.stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"one\ntwo\n\0\xff");
    assert_eq!(output.stderr, b"bad\n");
    let tail = done(&mut coracle(["logs", "--tail", "1", "-t", "logged"])).expect(0);
    assert!(
        tail.stdout.starts_with("20") && tail.stdout.contains("Z "),
        "{tail:?}"
    );
    let none = done(&mut coracle(["logs", "--until", "1h", "logged"])).expect(0);
    assert_eq!(none.stdout, "");
    let _ = done(&mut coracle(["rm", "logged"])).expect(0);
}

#[test]
fn followed_log_ends_with_its_container() {
    let script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; echo last";
    let container = Detached::shell("followed", script);
    let mut follow = coracle(["logs", "-f", "followed"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    // Whoever tells the container to end may end with it.
    let _ = container.exec(&["touch", "/go"]);
    assert_eq!(lines.next().unwrap().unwrap(), "last");
    assert!(lines.next().is_none());
    assert_eq!(wait(follow), 0);
}

#[test]
fn log_flood_leaves_no_more_than_its_limit() {
    let flags = ["--log-opt", "max-size=256k", "busybox", "sh", "-c"];
    let script = "yes 0123456789 | head -c 5000000; echo end";
    let arguments = ["--name", "flood"].iter().chain(&flags).copied();
    let _ = run(arguments.chain([script])).expect(0);
    let text = done(&mut coracle(["logs", "flood"])).expect(0).stdout;
    assert!(text.len() <= 512 << 10, "{} bytes are kept", text.len());
    assert!(text.ends_with("end\n"));
    let _ = done(&mut coracle(["rm", "flood"])).expect(0);
}

#[test]
fn attached_client_sees_the_output_and_the_exit_code() {
    let script = "while [ ! -e /go ]; do sleep 0.05; done; echo seen; exit 4";
    let container = Detached::shell("watched", script);
    let attached = coracle(["attach", "watched"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // It is connected when the keeper has taken what it asked for, before what is asked for next.
    let _ = container.exec(&["true"]).expect(0);
    let _ = container.exec(&["touch", "/go"]).expect(0);
    let output = attached.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"seen\n");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn detach_keys_leave_the_container_running() {
    let coracle_program = coracle_tests::program("coracle");
    let line = format!(
        "{} run -it --name left busybox sh -c 'echo up; while :; do sleep 0.1; done'",
        coracle_program.display()
    );
    let mut script = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let container = Detached {
        name: "left".into(),
    };
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("up") {}
    let mut keys = script.stdin.take().unwrap();
    std::io::Write::write_all(&mut keys, b"\x10\x11").unwrap();
    assert_eq!(wait(script), 0);
    assert_eq!(container.field(".State.Status"), "running");
}

#[test]
fn names_are_unique_and_can_be_changed() {
    let container = Detached::waiting("first");
    let taken = run(["--name", "first", "busybox", "true"]).expect(125);
    assert!(taken.stderr.contains("in use"), "{taken:?}");
    let _ = done(&mut coracle(["rename", "first", "second"])).expect(0);
    assert_eq!(
        done(&mut coracle(["inspect", "-f", "{{.Name}}", "second"])).stdout,
        "/second\n"
    );
    let _ = container
        .does(&["inspect", "--type", "container"])
        .expect(1);
    let _ = done(&mut coracle(["kill", "second"])).expect(0);
    let _ = done(&mut coracle(["wait", "second"])).expect(0);
    let filter = "container=second";
    let past = [
        "events", "--since", "1h", "--until", "0s", "--filter", filter,
    ];
    let events = done(&mut coracle(past)).expect(0).stdout;
    // The keeper knew the container by its first name.
    assert!(
        events.contains("container die") && events.contains("name=second"),
        "{events}"
    );
    let _ = done(&mut coracle(["rm", "-f", "second"])).expect(0);
}

#[test]
fn policy_starts_a_container_again_until_it_is_enough() {
    let container = Detached {
        name: "again".into(),
    };
    let arguments = ["-d", "--restart", "on-failure:2", "--name", "again"];
    let _ = run(arguments
        .into_iter()
        .chain(["busybox", "sh", "-c", "echo run; exit 3"]))
    .expect(0);
    let mut follow = coracle(["logs", "-f", "again"]);
    assert_eq!(done(&mut follow).expect(0).stdout, "run\nrun\nrun\n");
    assert_eq!(container.field(".RestartCount"), "2");
    assert_eq!(container.field(".State.ExitCode"), "3");
}

#[test]
fn container_that_restarts_is_not_up_until_it_runs() {
    let flags = ["--restart", "always", "busybox", "sh", "-c", "exit 3"];
    let container = Detached::start("restarts", &flags);
    until(|| {
        let exec = container.exec(&["true"]);
        match exec
            .stderr
            .contains("is restarting, wait until the container is running")
        {
            true => Ok(()),
            false => Err(exec.stderr),
        }
    });
    until(|| {
        let list = done(&mut coracle(["ps", "--format", "{{.Names}} {{.Status}}"])).expect(0);
        match list
            .stdout
            .lines()
            .any(|line| line.starts_with("restarts Restarting (3) "))
        {
            true => Ok(()),
            false => Err(list.stdout),
        }
    });
    let _ = container.does(&["kill"]).expect(0);
    assert_eq!(container.field(".State.Status"), "exited");
    let _ = container.does(&["rm"]).expect(0);
}

/// What happened to some containers of a name's beginning, in order: `ACTION NAME`.
fn events_of(beginning: &str, filters: &[&str]) -> Vec<String> {
    let past = ["events", "--since", "1h", "--until", "0s", "--format"];
    let mut command = coracle(past);
    command.arg("{{.Action}} {{.Actor.Attributes.name}}");
    for filter in filters {
        command.args(["--filter", filter]);
    }
    let text = done(&mut command).expect(0).stdout;
    let own = text.lines().filter(|line| line.contains(beginning));
    own.map(str::to_owned).collect()
}

#[test]
fn containers_stop_at_the_same_time() {
    let names = ["same-one", "same-two"];
    let flags = ["--stop-timeout", "15", "busybox", "sleep", "1000"];
    let _containers = names.map(|name| Detached::start(name, &flags));
    let place = |events: &[String], event: &str| {
        let place = events.iter().position(|one| one == event);
        place.unwrap_or_else(|| panic!("no {event:?}: {events:?}"))
    };
    for command in ["restart", "stop"] {
        let before = events_of("same-", &[]).len();
        let done = done(coracle([command]).args(names)).expect(0);
        assert_eq!(done.stdout, "same-one\nsame-two\n");
        let events = events_of("same-", &[]).split_off(before);
        // Both were asked before one of them had ended.
        let asked = events
            .iter()
            .take(2)
            .all(|event| event.starts_with("kill "));
        assert!(asked, "{command}: {events:?}");
    }
    let _ = done(coracle(["start"]).args(names)).expect(0);
    let before = events_of("same-", &[]).len();
    let _ = done(coracle(["rm", "-f"]).args(names)).expect(0);
    let events = events_of("same-", &[]).split_off(before);
    assert!(
        place(&events, "kill same-two") < place(&events, "destroy same-one"),
        "{events:?}"
    );
}

#[test]
fn end_of_a_container_whose_keeper_was_killed_is_told_once() {
    let container = Detached::start("unseen", &["busybox", "sleep", "1000"]);
    let keeper = container.field(".Coracle.KeeperPid").parse().unwrap();
    coracle_tests::signal(keeper, rustix::process::Signal::KILL);
    until(|| match container.field(".State.Status").as_str() {
        "exited" => Ok(()),
        other => Err(other.into()),
    });
    let _ = done(&mut coracle(["ps", "-a"])).expect(0);
    let events = events_of("unseen", &["event=die"]);
    assert_eq!(events, ["die unseen"]);
}

#[test]
fn stopped_container_is_not_started_again_by_its_policy() {
    let flags = ["--restart", "unless-stopped", "busybox", "sleep", "1000"];
    let container = Detached::start("steady", &flags);
    let _ = container.does(&["stop", "-t", "0"]).expect(0);
    assert_eq!(container.field(".State.Status"), "exited");
    assert_eq!(done(&mut coracle(["system", "start"])).expect(0).stdout, "");
}

#[test]
fn paused_container_does_nothing_and_goes_on_after() {
    let container = Detached::shell("frozen", "while :; do echo x; sleep 0.05; done");
    let _ = container.does(&["pause"]).expect(0);
    assert_eq!(container.field(".State.Status"), "paused");
    let refused = container.exec(&["true"]).expect(1);
    assert!(refused.stderr.contains("paused"), "{refused:?}");
    let before = container.does(&["logs"]).expect(0).stdout.len();
    let after = container.does(&["logs"]).expect(0).stdout.len();
    assert_eq!(before, after);
    let _ = container.does(&["unpause"]).expect(0);
    assert_eq!(container.field(".State.Status"), "running");
    let _ = container.exec(&["true"]).expect(0);
}

#[test]
fn health_is_what_the_command_says() {
    let flags = [
        "--health-cmd",
        "echo looked; test -e /well || { echo no >&2; exit 3; }",
        "--health-interval",
        "200ms",
    ];
    let rest = ["--health-retries", "1", "busybox", "sleep", "1000"];
    let since = done(&mut coracle(["events", "--since", "0s", "--until", "0s"])).expect(0);
    assert_eq!(since.stdout, "");
    let container = Detached::start(
        "patient",
        &flags.iter().chain(&rest).copied().collect::<Vec<_>>(),
    );
    // Each change is an event.
    let filter = format!("container={}", container.field(".Id"));
    let mut events = coracle(["events", "--since", "10m", "--filter", &filter])
        .args(["--format", "{{.Action}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "health_status: unhealthy" {}
    let _ = container.exec(&["touch", "/well"]).expect(0);
    while lines.next().unwrap().unwrap() != "health_status: healthy" {}
    assert_eq!(container.field(".State.Health.Status"), "healthy");
    // Both of the last runs are noted before that is told.
    let log = container.field("json .State.Health.Log");
    let log: Vec<Value> = serde_json::from_str(&log).unwrap();
    assert!((2..=5).contains(&log.len()), "{log:?}");
    let [.., bad, good] = log.as_slice() else {
        unreachable!()
    };
    assert_eq!(
        (&good["ExitCode"], &good["Output"]),
        (&0.into(), &"looked\n".into())
    );
    // Two streams, of which either may come first.
    let mut written: Vec<&str> = bad["Output"].as_str().unwrap().lines().collect();
    written.sort_unstable();
    assert_eq!(
        (&bad["ExitCode"], &written[..]),
        (&3.into(), &["looked", "no"][..])
    );
    assert!(bad["End"].as_str() <= good["Start"].as_str(), "{log:?}");
    coracle_tests::signal(events.id(), rustix::process::Signal::TERM);
    assert_eq!(wait(events), 143);
}

#[test]
fn prune_removes_what_does_not_run() {
    let _ = run(["--name", "pruned", "--label", "prune=1", "busybox", "true"]).expect(0);
    let mut prune = coracle(["container", "prune", "-f", "--filter", "label=prune=1"]);
    let text = done(&mut prune).expect(0).stdout;
    assert!(text.contains("Deleted Containers:"), "{text}");
    let _ = done(&mut coracle(["inspect", "pruned"])).expect(1);
}

#[test]
fn image_of_a_container_is_kept() {
    let _ = run(["--name", "user", "busybox", "true"]).expect(0);
    let refused = done(&mut coracle(["rmi", "busybox"])).expect(1);
    assert!(
        refused.stderr.contains("is used by container"),
        "{refused:?}"
    );
    let _ = done(&mut coracle(["rm", "user"])).expect(0);
}

#[test]
fn list_whose_reader_goes_away_ends_without_a_word() {
    let mut list = coracle(["ps", "--all"]);
    let list = list.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut list = list.spawn().unwrap();
    drop(list.stdout.take());
    let mut words = String::new();
    let mut errors = list.stderr.take().unwrap();
    errors.read_to_string(&mut words).unwrap();
    let _ = list.wait().unwrap();
    assert_eq!(words, "");
}

#[test]
fn keeper_of_an_idle_container_is_small_and_sleeps() {
    let container = Detached::start("idle", &["busybox", "sleep", "1000"]);
    let keeper = container.field(".Coracle.KeeperPid");
    let of_keeper = |file| std::fs::read_to_string(format!("/proc/{keeper}/{file}")).unwrap();
    let rollup = of_keeper("smaps_rollup");
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    let private: u64 = lines
        .map(|line| {
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum();
    assert!(
        private <= 2048,
        "{private} KiB are the keeper's own:\n{rollup}"
    );
    // It waits by ppoll(2), call 271, and its third argument says that it does so for ever.
    let begun = std::time::Instant::now();
    loop {
        let call = of_keeper("syscall");
        let fields: Vec<&str> = call.split_whitespace().collect();
        if let ["271", _, _, "0x0", ..] = fields[..] {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the keeper does this: {call}");
    }
}

#[test]
fn clock_of_a_guest_that_went_wrong_is_right_when_it_goes_on() {
    let container = Detached::start(
        "clock",
        &[
            "--privileged",
            "busybox",
            "sh",
            "-c",
            "date -s '2001-01-01 00:00:00' > /dev/null; year=$(date +%Y); echo ready; echo $year; sleep 1000",
        ],
    );
    container.until_ready();
    let seconds = || container.exec(&["date", "+%s"]).expect(0).stdout;
    let _ = container.does(&["pause"]).expect(0);
    let _ = container.does(&["unpause"]).expect(0);
    let before = std::time::SystemTime::now();
    let guests: u64 = seconds().trim().parse().unwrap();
    let since_1970 = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let after = since_1970(std::time::SystemTime::now());
    assert!(
        (since_1970(before) - 1..=after + 1).contains(&guests),
        "{guests}"
    );
    assert_eq!(container.does(&["logs"]).expect(0).stdout, "ready\n2001\n");
}
