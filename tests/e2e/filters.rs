//! Which container or host is meant: filters of lists, ambiguous and unreadable ones, names of the other kind.

use std::fs;

use coracle_tests::{Host, Installation, coracle, done};

/// An installation with these containers, none of which was started.
fn with_containers(containers: &[(&str, &str)]) -> Installation {
    let own = Installation::new(None);
    for (name, image) in containers {
        let _ = own.run(&["create", "--name", name, image]).expect(0);
    }
    own
}

fn listed(own: &Installation, filter: &str) -> Vec<String> {
    let list = ["ps", "-a", "--format", "{{.Names}}", "--filter", filter];
    let mut names: Vec<String> = own
        .run(&list)
        .expect(0)
        .stdout
        .lines()
        .map(Into::into)
        .collect();
    names.sort();
    names
}

#[test]
fn name_is_a_regular_expression() {
    let own = with_containers(&[
        ("web", "busybox"),
        ("myweb", "busybox"),
        ("web2", "busybox"),
    ]);
    assert_eq!(listed(&own, "name=^web$"), ["web"]);
    assert_eq!(listed(&own, "name=^/web$"), ["web"]);
    assert_eq!(listed(&own, "name=web$"), ["myweb", "web"]);
    assert_eq!(listed(&own, "name=^web.?$"), ["web", "web2"]);
    assert_eq!(listed(&own, "name=web"), ["myweb", "web", "web2"]);
    assert_eq!(listed(&own, "name=^(my)?web$"), ["myweb", "web"]);
    let wrong = own.run(&["ps", "--filter", "name=web["]).expect(1);
    assert!(
        wrong.stderr.contains("regular expression"),
        "{}",
        wrong.stderr
    );
    // The same of hosts, also where there are none.
    let wrong = own.run(&["host", "ls", "--filter", "name=web["]).expect(1);
    assert!(
        wrong.stderr.contains("regular expression"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn ancestor_is_an_image_by_name_tag_or_id() {
    let own = Installation::new(None);
    // Another image: the archive's own with another label.
    let _ = own.run(&["tag", "busybox", "busybox:1"]).expect(0);
    let _ = own.run(&["tag", "busybox", "mybusybox"]).expect(0);
    let root = own.path("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "other").unwrap();
    let load = [
        "load",
        "-i",
        root.to_str().unwrap(),
        "--tag",
        "busybox:other",
    ];
    let _ = own.run(&load).expect(0);
    for (name, image) in [
        ("plain", "busybox"),
        ("one", "busybox:1"),
        ("other", "busybox:other"),
    ] {
        let _ = own
            .run(&["create", "--name", name, image, "true"])
            .expect(0);
    }
    // Both names are of one image.
    assert_eq!(listed(&own, "ancestor=busybox"), ["one", "plain"]);
    assert_eq!(listed(&own, "ancestor=busybox:latest"), ["one", "plain"]);
    assert_eq!(listed(&own, "ancestor=mybusybox"), ["one", "plain"]);
    assert_eq!(
        listed(&own, "ancestor=docker.io/library/busybox:1"),
        ["one", "plain"]
    );
    assert_eq!(listed(&own, "ancestor=busybox:other"), ["other"]);
    assert_eq!(listed(&own, "ancestor=busybox:none"), [""; 0]);
    assert_eq!(listed(&own, "ancestor=box"), [""; 0]);
    let id = own
        .run(&["images", "-q", "--no-trunc", "busybox:other"])
        .expect(0);
    let id = id.stdout.trim();
    let digits = id.trim_start_matches("sha256:");
    for value in [id, digits, &digits[..12], &digits[..6]] {
        assert_eq!(listed(&own, &format!("ancestor={value}")), ["other"]);
    }
    // The name is another image's now: what was made by it is still found by it, and by its ID.
    let _ = own.run(&["tag", "busybox:other", "busybox:1"]).expect(0);
    assert_eq!(listed(&own, "ancestor=busybox:1"), ["one", "other"]);
    assert_eq!(listed(&own, "ancestor=busybox"), ["one", "plain"]);
}

#[test]
fn forced_removal_fails_unless_it_is_known_that_nothing_is_there() {
    let own = with_containers(&[("damaged", "busybox")]);
    // Seventeen identifiers: two begin alike.
    for number in 0..17 {
        let name = format!("many{number}");
        let _ = own.run(&["create", "--name", &name, "busybox"]).expect(0);
    }
    let ids = own.run(&["ps", "-aq", "--no-trunc"]).expect(0).stdout;
    let mut digits: Vec<&str> = ids.lines().map(|id| &id[..1]).collect();
    digits.sort_unstable();
    let pair = digits.windows(2).find(|pair| pair[0] == pair[1]).unwrap();
    let damaged = own
        .run(&["inspect", "--format", "{{.Id}}", "damaged"])
        .expect(0);
    let config = own
        .path("data")
        .join("coracle/containers")
        .join(damaged.stdout.trim())
        .join("config.json");
    fs::write(config, "{").unwrap();
    for command in [
        "rm", "kill", "stop", "start", "wait", "pause", "restart", "inspect",
    ] {
        let mut arguments = vec![command];
        if command == "rm" {
            arguments.push("--force");
        }
        arguments.extend([pair[0], "damaged"]);
        let failed = own.run(&arguments).expect(1);
        assert!(
            failed.stderr.contains("ambiguous"),
            "{command}: {}",
            failed.stderr
        );
        assert!(
            failed.stderr.contains("config.json"),
            "{command}: {}",
            failed.stderr
        );
    }
    let left = own.run(&["ps", "-aq"]).expect(0);
    assert_eq!(left.stdout.lines().count(), 18, "nothing was removed");
    // What is not there is as it should be, and said, as docker does.
    let gone = own.run(&["rm", "--force", "nothing", "many0"]).expect(0);
    assert_eq!(gone.stdout, "many0\n");
    assert!(
        gone.stderr.contains("no such container: nothing"),
        "{}",
        gone.stderr
    );
    let gone = own.run(&["host", "rm", "--force", "nothing"]).expect(0);
    assert!(
        gone.stderr.contains("no such host: nothing"),
        "{}",
        gone.stderr
    );
}

#[test]
fn tip_that_leads_nowhere_is_not_given() {
    for arguments in [
        &["run", "-o", "busybox"][..],
        &["ps", "--none"],
        &["rm", "-x"],
    ] {
        let refused = done(&mut coracle(arguments.iter().copied())).expect(125);
        assert!(
            refused.stderr.contains("unexpected argument"),
            "{}",
            refused.stderr
        );
        assert!(!refused.stderr.contains("tip"), "{}", refused.stderr);
        assert!(refused.stderr.contains("--help"), "{}", refused.stderr);
    }
    // A likeness is a tip that helps.
    let refused = done(&mut coracle(["run", "--privilege", "busybox"])).expect(125);
    assert!(
        refused.stderr.contains("--privileged"),
        "{}",
        refused.stderr
    );
}

#[test]
fn name_of_a_host_leads_to_what_is_meant_and_loses_nothing() {
    let host = Host::create("known", &["--memory", "64m"]);
    let refused = done(&mut coracle(["host", "create", "known"])).expect(1);
    assert!(
        refused.stderr.contains("already exists"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("coracle host start known"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("host rm"), "{}", refused.stderr);
    let refused = done(&mut coracle(["inspect", "known"])).expect(1);
    assert!(
        refused.stderr.contains("coracle host inspect known"),
        "{}",
        refused.stderr
    );
    for command in [
        &["stop", "known"][..],
        &["rm", "known"],
        &["exec", "known", "true"],
    ] {
        let refused = done(&mut coracle(command.iter().copied())).expect(1);
        assert!(
            refused.stderr.contains("known is a host"),
            "{}",
            refused.stderr
        );
    }
    // The other way round.
    let container = host.hold("known-container", &[]);
    let refused = done(&mut coracle(["host", "inspect", &container.name])).expect(1);
    assert!(
        refused.stderr.contains("is a container"),
        "{}",
        refused.stderr
    );
    // A list shows the memory as it was given.
    let list = done(&mut coracle(["host", "ls", "--filter", "name=^known$"])).expect(0);
    assert!(list.stdout.contains("64MiB"), "{}", list.stdout);
    let none = done(&mut coracle(["host", "ls", "-q", "--filter", "name=^now$"])).expect(0);
    assert_eq!(none.stdout, "");
}
