//! Lists, and what follows events.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use coracle_tests::{Host, coracle, done};
use rustix::process::Signal;
use serde_json::json;

use super::{Api, Named, clients};

#[test]
fn lists_take_filters_in_both_forms() {
    let api = Api::start();
    let label = "suite=docker-lists";
    let flags = ["--label", label, "busybox", "sleep", "1000"];
    let container = Named::run(&api, "docker-listed", &flags);
    let names = |filters: &serde_json::Value| -> Vec<String> {
        let filters = filters.to_string().replace('"', "%22").replace(' ', "");
        let value = api.json(
            "GET",
            &format!("/containers/json?all=1&filters={filters}"),
            "",
            200,
        );
        let all = value.as_array().unwrap().iter();
        all.map(|one| one["Names"][0].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&json!({ "label": { label: true } })),
        ["/docker-listed"]
    );
    assert_eq!(names(&json!({ "label": [label] })), ["/docker-listed"]);
    assert_eq!(
        names(&json!({ "label": ["suite"], "status": ["running", "exited"] })),
        ["/docker-listed"]
    );
    assert_eq!(
        names(&json!({ "label": [label], "status": ["exited"] })),
        [""; 0]
    );
    assert_eq!(
        names(&json!({ "name": ["^/docker-liste"] })),
        ["/docker-listed"]
    );
    let wrong = api.json(
        "GET",
        "/containers/json?filters=%7B%22nope%22:%5B%22a%22%5D%7D",
        "",
        400,
    );
    assert_eq!(wrong["message"], "invalid filter 'nope'");
    let _ = container.docker(&["kill"]).expect(0);
    let _ = container.docker(&["wait"]).expect(0);
    let running = api
        .docker(&["ps", "-q", "--filter", &format!("label={label}")])
        .expect(0);
    assert_eq!(running.stdout, "");
}

#[test]
fn every_client_lists_and_inspects() {
    let api = Api::start();
    let _container = Named::run(&api, "docker-shown", &["busybox", "sleep", "1000"]);
    for client in clients() {
        let docker =
            |arguments: &[&str]| done(&mut api.client(&client, arguments)).expect(0).stdout;
        assert!(docker(&["version"]).contains("1.45 (minimum version 1.24)"));
        assert!(docker(&["info"]).contains("Server Version"));
        assert!(docker(&["ps"]).contains("docker-shown"));
        assert!(docker(&["images"]).contains("busybox"));
        assert!(docker(&["inspect", "docker-shown"]).contains("\"Name\": \"/docker-shown\""));
        assert!(docker(&["image", "inspect", "busybox"]).contains("busybox:latest"));
    }
    let nothing = api.docker(&["inspect", "docker-nothing"]).expect(1);
    assert!(
        nothing.stderr.contains("No such object: docker-nothing"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn events_begin_with_headers_and_tell_a_life() {
    let api = Api::start();
    let filters = "%7B%22container%22:%5B%22docker-life%22%5D%7D";
    let mut events = api.send("GET", &format!("/v1.45/events?filters={filters}"), "", "");
    let head = events.head();
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let mut client = api.client(&super::newest(), &["events", "--filter", "event=start"]);
    let mut child = client.stdout(Stdio::piped()).spawn().unwrap();
    let _ = api
        .docker(&[
            "run",
            "--rm",
            "--name",
            "docker-life",
            "busybox",
            "sh",
            "-c",
            "exit 4",
        ])
        .expect(4);
    let mut told = Vec::new();
    while told
        .last()
        .is_none_or(|(action, _): &(String, _)| action != "destroy")
    {
        let event: serde_json::Value = serde_json::from_slice(&events.chunk()).unwrap();
        assert_eq!(event["Type"], "container");
        let action = event["Action"].as_str().unwrap().to_owned();
        told.push((action, event["Actor"]["Attributes"]["exitCode"].clone()));
    }
    let actions: Vec<&str> = told.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["create", "attach", "start", "die", "destroy"]);
    assert_eq!(told[3].1, "4");
    drop(events);
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    while !line.contains("docker-life") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0);
    }
    assert!(line.contains("container start"), "{line}");
    coracle_tests::signal(child.id(), Signal::INT);
    let _ = coracle_tests::wait(child);
}

#[test]
fn label_puts_a_container_on_a_host() {
    let api = Api::start();
    let host = Host::create("docker-host", &[]);
    let label = "coracle.host=docker-host";
    let _one = Named::run(
        &api,
        "docker-web",
        &["--label", label, "busybox", "sleep", "1000"],
    );
    let ping = [
        "run",
        "--rm",
        "--label",
        label,
        "busybox",
        "ping",
        "-c1",
        "docker-web",
    ];
    let _ = api.docker(&ping).expect(0);
    assert_eq!(host.containers(), ["docker-web"]);
    let ping = [
        "run",
        "--rm",
        "--label",
        "coracle.host=docker-none",
        "busybox",
        "true",
    ];
    let missing = api.docker(&ping).expect(125);
    assert!(missing.stderr.contains("docker-none"), "{}", missing.stderr);
}

#[test]
fn lists_show_exposed_ports_and_sizes() {
    let api = Api::start();
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "81/tcp": {}},
    });
    let _container = Named::of(&api, "docker-exposed");
    let create = "/containers/create?name=docker-exposed";
    let _ = api.json("POST", create, &body.to_string(), 201);
    let list = |query: &str| {
        let target =
            format!("/containers/json?filters=%7B%22name%22:[%22docker-exposed%22]%7D{query}");
        api.json("GET", &target, "", 200)[0].clone()
    };
    // Of one that does not run, what it wrote is known.
    let sized = list("&all=1&size=1");
    assert_eq!((&sized["SizeRw"], &sized["Ports"]), (&json!(0), &json!([])));
    assert!(sized["SizeRootFs"].as_u64().unwrap() > 1 << 20, "{sized}");
    let _ = api.docker(&["start", "docker-exposed"]).expect(0);
    let running = list("");
    let ports = json!([
        {"PrivatePort": 53, "Type": "udp"}, {"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 81, "Type": "tcp"},
    ]);
    assert_eq!(running["Ports"], ports);
    assert!(running.get("SizeRootFs").is_none(), "{running}");
    let inspected = api.json("GET", "/containers/docker-exposed/json?size=1", "", 200);
    assert_eq!(inspected["SizeRootFs"], sized["SizeRootFs"]);
    // Both commands say so.
    let format = [
        "ps",
        "--filter",
        "name=docker-exposed",
        "--format",
        "{{.Ports}}",
    ];
    let shown = "53/udp, 80-81/tcp\n";
    assert_eq!(api.docker(&format).expect(0).stdout, shown);
    assert_eq!(done(&mut coracle(format)).expect(0).stdout, shown);
}
