//! The networks of a container that has a host of its own.

use coracle_tests::{Detached, run};

fn output(network: &[&str], script: &str) -> String {
    let command = ["busybox", "sh", "-c", script];
    let arguments = network.iter().chain(&command).copied();
    run(arguments).expect(0).stdout
}

const INTERFACES: &str = "tail -n +3 /proc/net/dev | cut -d : -f 1 | tr -d ' ' | sort";

#[test]
fn default_is_a_loopback_alone() {
    for network in [&[][..], &["--network", "none"], &["--net=none"]] {
        assert_eq!(output(network, INTERFACES), "lo\n");
    }
}

#[test]
fn guests_own_network_has_a_loopback_that_is_up() {
    let script = format!("{INTERFACES}; ping -c 1 127.0.0.1 | grep -c ' 0% packet loss'");
    assert_eq!(output(&["--network", "host"], &script), "lo\n1\n");
}

#[test]
fn bridge_gives_dockers_address_and_route() {
    let script = format!(
        "{INTERFACES}; cat /sys/class/net/eth0/address; ip -4 -o addr show eth0 | tr -s ' ' | cut -d ' ' -f 4; \
         cat /proc/net/route | cut -f 1-4 | tail -n +2; grep 172.17 /etc/hosts; \
         ping -c 1 -W 5 172.17.0.1 | grep -c ' 0% packet loss'"
    );
    let arguments = [
        "--network",
        "bridge",
        "--hostname",
        "box",
        "--name",
        "net-bridge",
    ];
    let mut with_rm = vec!["--rm", "--network-alias", "other"];
    with_rm.extend(arguments);
    let text = output(&with_rm, &script);
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "eth0",
        "lo",
        "02:42:ac:11:00:02",
        "172.17.0.2/16",
        // Destination, gateway and flags: a gateway that is up, and the network itself.
        "eth0\t00000000\t010011AC\t0003",
        "eth0\t000011AC\t00000000\t0001",
    ];
    assert_eq!(lines.get(..6), Some(&expected[..]), "{text}");
    let hosts = lines.get(6).copied().unwrap_or_default();
    assert!(hosts.starts_with("172.17.0.2\tbox net-bridge "), "{hosts}");
    assert!(hosts.ends_with(" other"), "{hosts}");
    assert_eq!(lines.get(7..), Some(&["1"][..]), "{text}");
}

#[test]
fn inspect_shows_the_address_for_as_long_as_the_container_is_up() {
    let own = Detached::start(
        "net-inspect",
        &["--network", "bridge", "busybox", "sleep", "1000"],
    );
    assert_eq!(own.field(".NetworkSettings.IPAddress"), "172.17.0.2");
    assert_eq!(
        own.field(".NetworkSettings.Networks.bridge.Gateway"),
        "172.17.0.1"
    );
    assert_eq!(
        own.field(".NetworkSettings.MacAddress"),
        "02:42:ac:11:00:02"
    );
    assert_eq!(own.field(".HostConfig.NetworkMode"), "bridge");
    let _ = own.does(&["kill"]).expect(0);
    let _ = own.does(&["wait"]).expect(0);
    assert_eq!(own.field(".NetworkSettings.IPAddress"), "");
}

#[test]
fn wishes_that_contradict_each_other_are_refused_in_words() {
    for (arguments, words) in [
        (&["--network", "mine"][..], "container:NAME"),
        (&["--network-alias", "db"], "--network bridge"),
        (
            &["--network", "container:nobody"],
            "no such container: nobody",
        ),
        (
            &["--network", "bridge", "--network-alias", "a b"],
            "invalid network alias",
        ),
        (
            &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
            "not the container's own",
        ),
        (&["--network", "host", "--userns", "private"], "--userns"),
    ] {
        let done = run(arguments.iter().copied().chain(["busybox", "true"])).expect(125);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
}
