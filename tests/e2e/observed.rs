//! What is told of containers and hosts while they live, and of what they take: events, statistics, the disk.

use std::time::Instant;

use coracle_tests::{Detached, Host, Installation, coracle, done, signal, until};
use rustix::process::Signal;

/// What happened so far, as a format shows it, where the filters hold.
fn events(format: &str, filters: &[&str]) -> Vec<String> {
    let past = ["events", "--since", "1h", "--until", "0s", "--format"];
    let mut command = coracle(past);
    command.arg(format);
    for filter in filters {
        command.args(["--filter", filter]);
    }
    let text = done(&mut command).expect(0).stdout;
    text.lines().map(str::to_owned).collect()
}

#[test]
fn lack_of_memory_is_told_while_the_container_lives() {
    let script = "import os, time\nif os.fork() == 0:\n  x = b'x' * (256 << 20)\nos.wait()\n\
                  print('ready', flush=True)\ntime.sleep(1000)";
    let flags = ["--memory", "64m", "python", "python3", "-c", script];
    let container = Detached::start("starved", &flags);
    container.until_ready();
    until(|| match container.field(".State.OOMKilled").as_str() {
        "true" => Ok(()),
        other => Err(other.into()),
    });
    assert_eq!(container.field(".State.Running"), "true");
    let told = || events("{{.Action}}", &["event=oom", "container=starved"]);
    until(|| match told().len() {
        1 => Ok(()),
        count => Err(format!("{count} events")),
    });
    // It is not what ends it, and is told once.
    let _ = container.does(&["kill"]).expect(0);
    assert_eq!(container.field(".State.OOMKilled"), "true");
    assert_eq!(told().len(), 1);
    let _ = container.does(&["start"]).expect(0);
    container.until_ready();
}

#[test]
fn hosts_have_events_of_their_own() {
    let host = Host::create("told", &["--label", "tenant=red"]);
    let _ = host.does(&["stop"]).expect(0);
    let _ = host.does(&["start"]).expect(0);
    let keeper: u32 = host.field(".State.KeeperPid").parse().unwrap();
    signal(keeper, Signal::KILL);
    until(|| match host.field(".State.Status").as_str() {
        "exited" => Ok(()),
        other => Err(other.into()),
    });
    let _ = host.does(&["rm"]).expect(0);
    let told = events("{{.Action}}", &["type=host", "host=told"]);
    let expected = ["create", "start", "die", "stop", "start", "die", "destroy"];
    assert_eq!(told, expected);
    let label = events("{{.Type}} {{.Actor.Attributes.tenant}}", &["host=told"]);
    assert_eq!(label.first().map(String::as_str), Some("host red"));
    assert_eq!(
        events("{{.Action}}", &["type=container", "host=told"]),
        [""; 0]
    );
}

#[test]
fn hosts_and_sets_stop_at_the_same_time() {
    let hosts = ["together-one", "together-two"].map(|name| Host::create(name, &[]));
    let flags = ["--stop-timeout", "3"];
    let held = ["together-a", "together-b"];
    let _containers: Vec<Detached> = hosts
        .iter()
        .zip(held)
        .map(|(host, name)| host.hold(name, &flags))
        .collect();
    let _ = done(coracle(["host", "stop"]).args(hosts.iter().map(|host| host.name))).expect(0);
    let told = events(
        "{{.Action}} {{.Actor.Attributes.name}}",
        &["type=container"],
    );
    let place = |event: &str| told.iter().position(|one| one == event).unwrap();
    assert!(
        place("kill together-b") < place("die together-a"),
        "{told:?}"
    );

    let host = &hosts[0];
    let _ = host.does(&["start"]).expect(0);
    let scale = |arguments: &[&str]| {
        let mut command = coracle(["host", "scale"]);
        done(
            command
                .args(arguments)
                .arg(host.name)
                .args(["busybox=2"])
                .args(["--", "sleep", "1000"]),
        )
    };
    let _ = scale(&[]).expect(0);
    let mut fewer = coracle(["host", "scale", "--timeout", "1", host.name, "busybox=0"]);
    let removed = done(&mut fewer).expect(0).stdout;
    assert_eq!(removed.matches("removed ").count(), 2, "{removed}");
    let label = "label=coracle.scale=busybox";
    let told = events("{{.Action}}", &[label, "type=container"]);
    // Both are asked, and both killed, before the first is gone.
    let gone = told.iter().position(|one| one == "destroy").unwrap();
    let kills = told.iter().take(gone).filter(|one| *one == "kill").count();
    assert!(kills >= 3, "{told:?}");
}

#[test]
fn statistics_are_measured() {
    let host = Host::create("measured", &[]);
    let one = host.hold("measured-one", &[]);
    let two = host.hold("measured-two", &["--network", "host"]);
    let neighbour = host.hold("measured-three", &[]);
    let shown = |container: &Detached, field: &str| {
        let format = format!("{{{{.{field}}}}}");
        let text = container.does(&["stats", "--no-stream", "--format", &format]);
        text.expect(0).stdout.trim().to_owned()
    };
    let _ = one
        .exec(&["ping", "-c", "2", "-s", "1000", "measured-three"])
        .expect(0);
    for container in [&one, &neighbour] {
        let network = shown(container, "NetIO");
        assert!(network.contains("kB / "), "{network}");
    }
    assert_eq!(shown(&two, "NetIO"), "--");
    // Its own programs were read from the image's layer by the first that used them.
    let read = [&one, &two, &neighbour].map(|container| shown(container, "BlockIO"));
    assert!(
        read.iter().any(|text| !text.starts_with("0B / ")),
        "{read:?}"
    );
    assert!(read.iter().all(|text| text.contains(" / ")), "{read:?}");
}

#[test]
fn containers_and_hosts_are_among_what_takes_the_disk() {
    let host = Host::create("weighed-host", &["--disk", "64m"]);
    let flags = ["--storage-opt", "size=64m", "busybox"];
    let script = [
        "sh",
        "-c",
        "head -c 8000000 /dev/urandom > /file; echo ready; sleep 1000",
    ];
    let container = Detached::start("weighed", &[&flags[..], &script].concat());
    container.until_ready();
    let _ = container.does(&["stop", "-t", "0"]).expect(0);
    let text = done(&mut coracle(["system", "df", "--json"]))
        .expect(0)
        .stdout;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let of = |kind: &str, name: &str| {
        let all = value[kind].as_array().unwrap();
        all.iter().find(|one| one["Name"] == name).unwrap().clone()
    };
    let own = of("Containers", "weighed");
    assert!(own["Size"].as_u64().unwrap() > 8_000_000, "{own}");
    assert_eq!(own["Active"], false);
    let hosts = of("Hosts", host.name);
    assert!(hosts["Size"].as_u64().unwrap() > 40_000, "{hosts}");
    assert_eq!(hosts["Active"], true);
    let text = done(&mut coracle(["df"])).expect(0).stdout;
    let line = |kind: &str| {
        text.lines()
            .find(|line| line.starts_with(kind))
            .unwrap()
            .to_owned()
    };
    assert!(line("Containers").contains("MB"), "{text}");
    // Other tests have hosts, too.
    let hosts = line("Hosts");
    let total: usize = hosts.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(total >= 1, "{text}");
}

#[test]
fn health_command_of_a_millisecond_keeps_nobody_busy() {
    let begun = Instant::now();
    let flags = ["--health-cmd", "exit 1", "--health-interval", "1ms"];
    let rest = ["--health-retries", "1", "busybox", "sleep", "1000"];
    let container = Detached::start("hasty", &[&flags[..], &rest].concat());
    until(|| {
        let failing = container.field(".State.Health.FailingStreak");
        match failing.parse::<u32>() {
            Ok(40..) => Ok(()),
            _ => Err(failing),
        }
    });
    let keeper = container.field(".Coracle.KeeperPid");
    let io = std::fs::read_to_string(format!("/proc/{keeper}/io")).unwrap();
    let written = io
        .lines()
        .find_map(|line| line.strip_prefix("wchar: "))
        .unwrap();
    let written: u64 = written.parse().unwrap();
    // A state has some 1.5 kB, and is written once a second.
    let most = (begun.elapsed().as_secs() + 5) * 4000;
    assert!(written < most, "{written} bytes, {most} are possible");
}

#[test]
fn software_host_that_a_person_stops_stays_down() {
    let installation = Installation::new(None);
    let does = |arguments: &[&str]| installation.run(arguments);
    let flags = ["run", "-d", "--restart", "always", "--name", "policy"];
    let _ = does(&[&flags[..], &["busybox", "sleep", "1000"]].concat()).expect(0);
    if does(&["machine", "status"]).code != 0 {
        // This machine's KVM runs guests: there is none.
        return;
    }
    let stopped = does(&["machine", "stop"]).expect(0);
    assert!(stopped.stderr.contains("policy ended with"), "{stopped:?}");
    // Nobody is left who could start it again.
    until(|| match installation.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    let state = |field: &str| {
        let format = format!("{{{{.State.{field}}}}}");
        let text = does(&["inspect", "--format", &format, "policy"]);
        text.expect(0).stdout.trim().to_owned()
    };
    assert_eq!(state("Status"), "exited");
    assert!(
        state("Error").contains("machine stop"),
        "{}",
        state("Error")
    );
    assert_eq!(does(&["system", "start"]).expect(0).stdout, "policy\n");
    assert_eq!(state("Status"), "running");
    let _ = does(&["rm", "-f", "policy"]).expect(0);
}
