//! Containers of one named host talk to each other, and to nobody else.

use coracle_tests::{Detached, Host, run, times};

/// A container with a web server, whose page says its name; it listens when this returns.
fn server(host: &Host, name: &str, flags: &[&str]) -> Detached {
    // It goes into the background when it listens.
    let serve = "httpd -p 8080 -h /tmp; echo ready; exec sleep 100000";
    let script = format!("echo {name} >/tmp/page; {serve}");
    let command = ["busybox", "sh", "-c", &script];
    let own = host.start(name, &[flags, &command].concat());
    own.until_ready();
    own
}

/// What a script writes in a container that goes with it.
fn output(host: &Host, flags: &[&str], script: &str) -> String {
    let command = ["busybox", "sh", "-c", script];
    host.run(&[&["--rm"], flags, &command].concat())
        .expect(0)
        .stdout
}

/// Fetches a server's page.
fn fetch(server: &str) -> String {
    format!("wget -qO- http://{server}:8080/page")
}

#[test]
fn neighbour_is_reached_by_name_by_short_identifier_and_by_alias() {
    let host = Host::create("near", &[]);
    let web = server(&host, "web-near", &["--network-alias", "pages"]);
    assert_eq!(output(&host, &[], &fetch("web-near")), "web-near\n");
    let id = web.field(".Id");
    for name in ["pages", &id[..12]] {
        let script = format!("wget -qO- http://{name}:8080/page");
        assert_eq!(output(&host, &[], &script), "web-near\n");
    }
    // And by its address, as `inspect` tells it.
    let address = web.field(".NetworkSettings.IPAddress");
    let script = format!("wget -qO- http://{address}:8080/page");
    assert_eq!(output(&host, &[], &script), "web-near\n");
}

#[test]
fn containers_that_come_and_go_are_known_to_who_stays() {
    let host = Host::create("coming", &[]);
    let stays = host.start("stays", &["busybox", "sleep", "1000"]);
    let web = server(&host, "web-coming", &[]);
    assert_eq!(
        stays
            .exec(&["sh", "-c", &fetch("web-coming")])
            .expect(0)
            .stdout,
        "web-coming\n"
    );
    let _ = web.does(&["rm", "--force"]).expect(0);
    let names = stays.exec(&["cat", "/etc/hosts"]).expect(0).stdout;
    assert!(!names.contains("web-coming"), "{names}");
    // Whoever comes next has the lowest address that is free, and the old name is its own.
    let again = server(&host, "web-coming", &[]);
    assert_eq!(again.field(".NetworkSettings.IPAddress"), "172.17.0.3");
    assert_eq!(
        stays
            .exec(&["sh", "-c", &fetch("web-coming")])
            .expect(0)
            .stdout,
        "web-coming\n"
    );
}

#[test]
fn own_lines_stay_and_a_new_name_is_followed() {
    let host = Host::create("names", &[]);
    let stays = host.hold("stays-names", &[]);
    let _ = stays
        .exec(&["sh", "-c", "echo 10.0.0.1 mine >>/etc/hosts"])
        .expect(0);
    let other = host.hold("other-names", &[]);
    let hosts = || stays.exec(&["cat", "/etc/hosts"]).expect(0).stdout;
    let text = hosts();
    assert!(text.contains("10.0.0.1 mine\n"), "{text}");
    assert!(text.contains("other-names"), "{text}");
    let renamed = Detached {
        name: "renamed-names".into(),
    };
    let _ = coracle_tests::done(&mut coracle_tests::coracle([
        "rename",
        &other.name,
        &renamed.name,
    ]))
    .expect(0);
    let text = hosts();
    assert!(!text.contains("other-names"), "{text}");
    assert!(text.contains("renamed-names"), "{text}");
    let _ = renamed.does(&["rm", "--force"]).expect(0);
    let text = hosts();
    assert!(text.contains("10.0.0.1 mine\n"), "{text}");
    assert!(!text.contains("renamed-names"), "{text}");
}

#[test]
fn container_that_shares_a_network_has_its_interface_and_names() {
    let host = Host::create("sharing", &[]);
    let web = server(&host, "web-sharing", &["--hostname", "front"]);
    let script = "hostname; wget -qO- http://127.0.0.1:8080/page; cat /etc/hosts";
    let text = output(&host, &["--network", "container:web-sharing"], script);
    let (start, hosts) = text.split_at("front\nweb-sharing\n".len());
    assert_eq!(start, "front\nweb-sharing\n");
    assert_eq!(web.exec(&["cat", "/etc/hosts"]).expect(0).stdout, hosts);
}

#[test]
fn container_without_a_network_reaches_no_neighbour() {
    let host = Host::create("alone", &[]);
    let _web = server(&host, "web-alone", &[]);
    let script = format!(
        "{} 2>/dev/null || echo alone; wc -l </proc/net/route",
        fetch("web-alone")
    );
    assert_eq!(output(&host, &["--network", "none"], &script), "alone\n1\n");
}

#[test]
fn containers_of_two_hosts_do_not_reach_each_other() {
    let (one, two) = (Host::create("one", &[]), Host::create("two", &[]));
    let web = server(&one, "web-one", &[]);
    // The same address, in another guest.
    assert_eq!(web.field(".NetworkSettings.IPAddress"), "172.17.0.2");
    let script = format!(
        "{} 2>/dev/null || echo alone; grep -c 172.17.0.2 /etc/hosts",
        fetch("web-one")
    );
    assert_eq!(output(&two, &[], &script), "alone\n1\n");
    let joining = [
        "--host=two",
        "--network",
        "container:web-one",
        "busybox",
        "true",
    ];
    let done = run(joining).expect(125);
    assert!(done.stderr.contains("another host"), "{}", done.stderr);
}

#[test]
fn guests_own_network_sees_the_bridge_and_its_containers() {
    let host = Host::create("inside", &[]);
    let web = server(&host, "web-inside", &[]);
    let address = web.field(".NetworkSettings.IPAddress");
    let script = format!(
        "ls -d /sys/class/net/coracle0; wget -qO- http://{address}:8080/page; \
         cat /proc/sys/net/ipv4/ip_forward"
    );
    let text = output(&host, &["--network", "host"], &script);
    assert_eq!(text, "/sys/class/net/coracle0\nweb-inside\n0\n");
}

#[test]
fn addresses_and_ports_are_free_again_after_many_containers() {
    let host = Host::create("many", &[]);
    for _ in 0..times("CORACLE_TEST_STARTS", 20) {
        let script = "ip -4 -o addr show eth0 | tr -s ' ' | cut -d ' ' -f 4";
        assert_eq!(output(&host, &[], script), "172.17.0.2/16\n");
    }
    let ports = output(&host, &["--network", "host"], "ls /sys/class/net");
    assert_eq!(ports, "coracle0\nlo\n");
}
