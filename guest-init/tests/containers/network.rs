//! The network among containers of one guest. The server has a network namespace of its own.

use contracts::guest::{
    ContainerSpec, ExitStatus, FailureKind, GuestMessage, HostMessage, Interface, Network, Stdio,
    Task,
};

use crate::{
    NEEDS,
    support::{Guest, PORTS, spec},
};

/// A container on the bridge, at 172.17.0.`last`; `name` is all its names.
fn on_bridge(name: &str, last: u8, script: &str) -> ContainerSpec {
    let mut spec = spec(&["sh", "-c", script]);
    spec.id = name.into();
    spec.network = Network::Bridge(Interface {
        address: [172, 17, 0, last],
        prefix: 16,
        gateway: [172, 17, 0, 1],
        names: vec![name.into()],
    });
    spec
}

fn joining(name: &str, script: &str) -> ContainerSpec {
    let mut spec = spec(&["sh", "-c", script]);
    spec.id = "joining".into();
    spec.network = Network::Container(name.into());
    spec
}

fn output(guest: &mut Guest, spec: ContainerSpec) -> String {
    let ended = guest.run(spec, b"");
    let text = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        (&*errors, ended.status),
        ("", ExitStatus::Code(0)),
        "{text}"
    );
    text
}

/// What a script says beside the first process of a container.
fn beside(guest: &mut Guest, container: &str, script: &str) -> String {
    let stdio = Stdio {
        stdout: Some(PORTS[1]),
        ..Stdio::default()
    };
    guest.send(&HostMessage::Exec {
        id: "beside".into(),
        container: container.into(),
        task: Box::new(Task::Program(spec(&["sh", "-c", script]).process)),
        stdio,
        group: false,
    });
    let text = guest.read_stream(1);
    assert!(matches!(guest.receive(), GuestMessage::Started { id, .. } if id == "beside"));
    assert_eq!(guest.exit(), ExitStatus::Code(0));
    text
}

fn end(guest: &mut Guest, id: &str) {
    guest.send(&HostMessage::Signal {
        id: id.into(),
        signal: 9,
    });
    assert_eq!(guest.exit(), ExitStatus::Signal(9));
    guest.settle();
}

const SHOW: &str = "cat /sys/class/net/eth0/address /sys/class/net/eth0/operstate; \
                    ip -4 -o addr show eth0; ip route; ls /sys/class/net; \
                    cat /proc/net/if_inet6 | wc -l; tail -n 1 /etc/hosts";

#[test]
#[ignore = "needs root"]
fn container_on_the_bridge_has_dockers_interface_and_route() {
    let mut guest = Guest::start(NEEDS);
    let text = output(&mut guest, on_bridge("web", 2, SHOW));
    let expected = [
        "02:42:ac:11:00:02",
        "up",
        "inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0",
        "default via 172.17.0.1 dev eth0",
        "172.17.0.0/16 dev eth0 scope link  src 172.17.0.2",
        "eth0",
        "lo",
        // The loopback's: no link-local address waits for routers.
        "1",
        "172.17.0.2\tweb",
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, wanted) in lines.iter().zip(expected) {
        assert!(line.contains(wanted), "{line} is not {wanted}");
    }
}

#[test]
#[ignore = "needs root"]
fn bridge_works_with_a_user_namespace() {
    let mut guest = Guest::start(NEEDS);
    let mut spec = on_bridge(
        "web",
        2,
        "ping -c 1 -W 5 172.17.0.1 | grep -c ' 0% packet loss'",
    );
    spec.user_namespace = true;
    assert_eq!(output(&mut guest, spec), "1\n");
}

#[test]
#[ignore = "needs root"]
fn neighbour_is_reached_by_its_name() {
    let mut guest = Guest::start(NEEDS);
    let serve = "echo hello >/tmp/page; httpd -p 8080 -h /tmp; echo ready; cat";
    let mut streams = guest.begin(on_bridge("web", 2, serve));
    assert_eq!(streams.line(), "ready");
    let client = on_bridge("client", 3, "wget -qO- http://web:8080/page");
    assert_eq!(output(&mut guest, client), "hello\n");
}

#[test]
#[ignore = "needs root"]
fn neighbours_names_come_and_go_in_the_file_of_who_stays() {
    let mut guest = Guest::start(NEEDS);
    let _streams = guest.begin(on_bridge("stays", 2, "exec cat"));
    let show = "tail -n +7 /etc/hosts";
    assert_eq!(beside(&mut guest, "stays", show), "172.17.0.2\tstays\n");

    let _others = guest.begin(on_bridge("goes", 3, "exec cat"));
    let both = "172.17.0.2\tstays\n172.17.0.3\tgoes\n";
    assert_eq!(beside(&mut guest, "stays", show), both);
    let swapped = "172.17.0.3\tgoes\n172.17.0.2\tstays\n";
    assert_eq!(beside(&mut guest, "goes", show), swapped);

    end(&mut guest, "goes");
    assert_eq!(beside(&mut guest, "stays", show), "172.17.0.2\tstays\n");
}

#[test]
#[ignore = "needs root"]
fn what_a_container_writes_into_its_file_reaches_no_neighbour() {
    let mut guest = Guest::start(NEEDS);
    let _evil = guest.begin(on_bridge("evil", 2, "exec cat"));
    let _other = guest.begin(on_bridge("other", 3, "exec cat"));
    let poison =
        "for i in 1 2 3 4; do echo 172.17.0.2 other bank; done >/etc/hosts; wc -l </etc/hosts";
    assert_eq!(beside(&mut guest, "evil", poison), "4\n");
    assert_eq!(
        beside(&mut guest, "other", "grep -c bank /etc/hosts || :"),
        "0\n"
    );

    let third = on_bridge("third", 4, "grep -c bank /etc/hosts || :");
    assert_eq!(output(&mut guest, third), "0\n");
    // What it wrote into its own file is its own.
    assert_eq!(beside(&mut guest, "evil", "grep -c bank /etc/hosts"), "4\n");
}

#[test]
#[ignore = "needs root"]
fn container_keeps_its_own_lines_and_neighbours_follow_a_new_name() {
    let mut guest = Guest::start(NEEDS);
    let _stays = guest.begin(on_bridge("stays", 2, "exec cat"));
    let add = "echo 10.0.0.1 mine >>/etc/hosts; sed -n '$=' /etc/hosts";
    assert_eq!(beside(&mut guest, "stays", add), "8\n");
    let _other = guest.begin(on_bridge("other", 3, "exec cat"));
    let show = "tail -n +7 /etc/hosts";
    let mine = "172.17.0.2\tstays\n10.0.0.1 mine\n";
    let text = beside(&mut guest, "stays", show);
    assert_eq!(text, format!("{mine}172.17.0.3\tother\n"));

    let names = ["new", "alias"].map(String::from).to_vec();
    guest.send(&HostMessage::Names {
        id: "other".into(),
        names,
    });
    // No name of anybody: nothing is changed.
    guest.send(&HostMessage::Names {
        id: "other".into(),
        names: vec!["evil\n10.0.0.9 bank".into()],
    });
    let text = beside(&mut guest, "stays", show);
    assert_eq!(text, format!("{mine}172.17.0.3\tnew alias\n"));
    let text = beside(&mut guest, "other", show);
    assert_eq!(text, "172.17.0.2\tstays\n172.17.0.3\tnew alias\n");

    end(&mut guest, "other");
    assert_eq!(beside(&mut guest, "stays", show), mine);
}

#[test]
#[ignore = "needs root"]
fn nothing_of_a_container_that_has_ended_stays_on_the_bridge() {
    let mut guest = Guest::start(NEEDS);
    for _ in 0..3 {
        let text = output(&mut guest, on_bridge("web", 2, "ls /sys/class/net"));
        assert_eq!(text, "eth0\nlo\n");
        guest.settle();
        assert_eq!(guest.interfaces(), ["coracle0", "lo"]);
    }
}

#[test]
#[ignore = "needs root"]
fn container_without_network_makes_no_bridge() {
    let mut guest = Guest::start(NEEDS);
    let text = output(&mut guest, spec(&["ls", "/sys/class/net"]));
    assert_eq!(text, "lo\n");
    assert_eq!(guest.interfaces(), ["lo"]);
}

#[test]
#[ignore = "needs root"]
fn container_of_the_guests_network_has_its_loopback_up() {
    let mut guest = Guest::start(NEEDS);
    let mut spec = spec(&[
        "sh",
        "-c",
        "ls /sys/class/net; ping -c 1 127.0.0.1 | grep -c ' 0% packet loss'",
    ]);
    spec.network = Network::Host;
    assert_eq!(output(&mut guest, spec), "lo\n1\n");
}

#[test]
#[ignore = "needs root"]
fn joining_container_shares_interface_names_and_files() {
    let mut guest = Guest::start(NEEDS);
    let mut web = on_bridge(
        "web",
        2,
        "httpd -p 127.0.0.1:8080 -h /etc; echo ready; exec cat",
    );
    web.resolv_conf = Some("nameserver 10.1.1.1\n".into());
    let mut streams = guest.begin(web);
    assert_eq!(streams.line(), "ready");
    let script = "ls /sys/class/net; tail -n 1 /etc/hosts; cat /etc/resolv.conf; \
                  wget -qO- http://127.0.0.1:8080/hostname";
    let text = output(&mut guest, joining("web", script));
    assert_eq!(
        text,
        "eth0\nlo\n172.17.0.2\tweb\nnameserver 10.1.1.1\nbox\n"
    );
}

#[test]
#[ignore = "needs root"]
fn joining_a_container_that_does_not_run_is_refused_in_words() {
    let mut guest = Guest::start(NEEDS);
    let (kind, message) = guest.failure(joining("web", "true"));
    assert_eq!(kind, FailureKind::Setup);
    assert_eq!(
        message,
        "cannot join network of a non running container: web"
    );
}

#[test]
#[ignore = "needs root"]
fn address_is_free_again_although_somebody_holds_the_namespace() {
    let mut guest = Guest::start(NEEDS);
    let _web = guest.begin(on_bridge("web", 2, "exec cat"));
    let _joined = guest.begin(joining("web", "exec cat"));
    end(&mut guest, "web");
    assert_eq!(guest.interfaces(), ["coracle0", "lo"]);
    assert_eq!(beside(&mut guest, "joining", "ls /sys/class/net"), "lo\n");

    let next = on_bridge(
        "next",
        2,
        "ping -c 1 -W 5 172.17.0.1 | grep -c ' 0% packet loss'",
    );
    assert_eq!(output(&mut guest, next), "1\n");
}

#[test]
#[ignore = "needs root"]
fn address_of_another_container_is_refused_and_nothing_is_left() {
    let mut guest = Guest::start(NEEDS);
    let _web = guest.begin(on_bridge("web", 2, "exec cat"));
    let (kind, message) = guest.failure(on_bridge("other", 2, "true"));
    assert_eq!(kind, FailureKind::Setup);
    assert_eq!(
        message,
        "cannot give out address 172.17.0.2: another container has it"
    );
    assert_eq!(guest.interfaces().len(), 3, "{:?}", guest.interfaces());
}

#[test]
#[ignore = "needs root"]
fn name_that_would_be_a_line_of_its_own_is_refused() {
    let mut guest = Guest::start(NEEDS);
    let (kind, message) = guest.failure(on_bridge("a\n1.2.3.4 bank", 2, "true"));
    assert_eq!(kind, FailureKind::Setup, "{message}");
    let mut spec = on_bridge("web", 2, "true");
    let Network::Bridge(interface) = &mut spec.network else {
        panic!("no bridge");
    };
    interface.names = vec!["a\n1.2.3.4 bank".into()];
    let (kind, message) = guest.failure(spec);
    assert_eq!(kind, FailureKind::Setup);
    assert!(message.contains("these names"), "{message}");
}

#[test]
#[ignore = "needs root"]
fn network_of_others_and_own_user_namespace_are_refused_together() {
    let mut guest = Guest::start(NEEDS);
    let mut spec = spec(&["true"]);
    spec.network = Network::Host;
    spec.user_namespace = true;
    let (kind, message) = guest.failure(spec);
    assert_eq!(kind, FailureKind::Setup);
    assert!(message.contains("--userns private"), "{message}");
}

#[test]
#[ignore = "needs root"]
fn failure_before_the_program_frees_the_interface() {
    let mut guest = Guest::start(NEEDS);
    let mut missing = on_bridge("web", 2, "");
    missing.process.args = vec!["no-such-program".into()];
    let (kind, _) = guest.failure(missing);
    assert_eq!(kind, FailureKind::NotFound);
    // Its streams were connected all the same.
    drop([0, 1, 2].map(|index| guest.accept(index)));
    guest.settle();
    assert_eq!(guest.interfaces(), ["coracle0", "lo"]);
    let text = output(&mut guest, on_bridge("web", 2, "echo here"));
    assert_eq!(text, "here\n");
}
