//! `docker exec`.

use coracle_tests::done;
use rustix::process::Signal;
use serde_json::json;

use super::{Api, Named, clients};

/// One that waits until it is stopped.
const WAITING: [&str; 3] = ["busybox", "sleep", "1000"];

#[test]
fn exec_has_its_own_streams_and_exit_code() {
    let api = Api::start();
    let _container = Named::run(&api, "docker-exec", &WAITING);
    for client in clients() {
        let script = "echo $A; pwd; id -u; echo err >&2; exit 5";
        let arguments = [
            "exec",
            "-e",
            "A=b",
            "-w",
            "/tmp",
            "-u",
            "nobody",
            "docker-exec",
            "sh",
            "-c",
            script,
        ];
        let done = done(&mut api.client(&client, &arguments)).expect(5);
        assert_eq!(done.stdout, "b\n/tmp\n65534\n", "{}", client.display());
        assert_eq!(done.stderr, "err\n", "{}", client.display());
    }
    let arguments = ["exec", "-i", "docker-exec", "md5sum"];
    let done = api.docker_with_input(&arguments, b"").expect(0);
    assert_eq!(done.stdout, "d41d8cd98f00b204e9800998ecf8427e  -\n");
    let _ = api
        .docker(&["exec", "-d", "docker-exec", "touch", "/made"])
        .expect(0);
    let shown = "until [ -e /made ]; do sleep 0.1; done; echo made";
    let done = api
        .docker(&["exec", "docker-exec", "sh", "-c", shown])
        .expect(0);
    assert_eq!(done.stdout, "made\n");
}

#[test]
fn exec_in_a_terminal_is_one_of_the_container() {
    let api = Api::start();
    let _container = Named::run(&api, "docker-exec-terminal", &WAITING);
    let script = "tty; read line; stty size; echo got $line; exit 6";
    let arguments = ["exec", "-it", "docker-exec-terminal", "sh", "-c", script];
    let done = api.docker_in_terminal(&arguments, b"typed\n").expect(6);
    assert!(done.stdout.contains("/dev/pts/"), "{}", done.stdout);
    assert!(done.stdout.contains("31 99"), "{}", done.stdout);
    assert!(done.stdout.contains("got typed\r\n"), "{}", done.stdout);
}

#[test]
fn exit_code_is_known_when_the_stream_ends() {
    let api = Api::start();
    let _container = Named::run(&api, "docker-exec-code", &WAITING);
    for code in 0..30 {
        let script = format!("exit {code}");
        let done = api.docker(&["exec", "docker-exec-code", "sh", "-c", &script]);
        assert_eq!(done.expect(code).stdout, "");
    }
}

#[test]
fn exec_is_made_started_and_looked_at_in_three_requests() {
    let api = Api::start();
    let _container = Named::run(&api, "docker-exec-raw", &WAITING);
    let body = json!({ "Cmd": ["sh", "-c", "echo hi; exit 4"], "AttachStdout": true, "AttachStderr": true });
    let made = api.json(
        "POST",
        "/containers/docker-exec-raw/exec",
        &body.to_string(),
        201,
    );
    let id = made["Id"].as_str().unwrap();
    assert_eq!(id.len(), 64);
    let before = api.json("GET", &format!("/exec/{id}/json"), "", 200);
    assert_eq!(before["Running"], false);
    assert_eq!(before["ExitCode"], json!(null));
    // Without the headers of an upgrade: raw bytes until the connection's end.
    let start = format!("/v1.45/exec/{id}/start");
    let headers = "Content-Type: application/json\r\n";
    let mut raw = api.send("POST", &start, headers, "{}");
    let head = raw.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/vnd.docker.raw-stream\r\n"),
        "{head}"
    );
    assert!(
        !head.contains("chunked") && !head.contains("Content-Length"),
        "{head}"
    );
    assert_eq!(raw.rest(), b"\x01\0\0\0\0\0\0\x03hi\n");
    let after = api.json("GET", &format!("/exec/{id}/json"), "", 200);
    assert_eq!(after["ExitCode"], 4);
    assert_eq!(after["ProcessConfig"]["entrypoint"], "sh");
    assert_eq!(
        after["ProcessConfig"]["arguments"],
        json!(["-c", "echo hi; exit 4"])
    );
    let missing = "f".repeat(64);
    let answer = api.ask("GET", &format!("/exec/{missing}/json"), "");
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("No such exec instance"), "{answer:?}");
}

#[test]
fn missing_program_and_stopped_container_are_told_apart() {
    let api = Api::start();
    let container = Named::run(&api, "docker-exec-missing", &WAITING);
    let _ = api
        .docker(&["exec", "docker-exec-missing", "no-such-program"])
        .expect(127);
    let _ = api
        .docker(&["exec", "docker-exec-missing", "/etc/passwd"])
        .expect(126);
    let _ = container.docker(&["kill"]).expect(0);
    let _ = container.docker(&["wait"]).expect(0);
    let stopped = api
        .docker(&["exec", "docker-exec-missing", "true"])
        .expect(1);
    assert!(stopped.stderr.contains("is not running"), "{stopped:?}");
}

#[test]
fn program_goes_on_when_its_client_is_killed() {
    let api = Api::start();
    let _container = Named::run(&api, "docker-exec-killed", &WAITING);
    let script = "touch /begun; sleep 1; touch /finished";
    let arguments = ["exec", "docker-exec-killed", "sh", "-c", script];
    let child = api.client(&super::newest(), &arguments).spawn().unwrap();
    let until = |file: &str| {
        let script = format!("until [ -e {file} ]; do sleep 0.1; done");
        let _ = api
            .docker(&["exec", "docker-exec-killed", "sh", "-c", &script])
            .expect(0);
    };
    until("/begun");
    coracle_tests::signal(child.id(), Signal::KILL);
    let _ = coracle_tests::wait(child);
    until("/finished");
}

/// Nothing of it is the server's: another one says the same, also of a container that went when it ended.
#[test]
fn exit_code_of_what_ended_with_its_container_is_known_to_every_server() {
    let first = Api::start();
    let flags = [&["--rm"], &WAITING[..]].concat();
    let container = Named::run(&first, "docker-exec-end", &flags);
    let command = ["sh", "-c", "echo up; sleep 1000"];
    let body = json!({ "Cmd": command, "AttachStdout": true }).to_string();
    let made = first.json("POST", "/containers/docker-exec-end/exec", &body, 201);
    let id = made["Id"].as_str().unwrap();
    let headers = "Content-Type: application/json\r\n";
    let mut running = first.send("POST", &format!("/exec/{id}/start"), headers, "{}");
    let head = running.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(running.bytes(11), b"\x01\0\0\0\0\0\0\x03up\n");
    let _ = container.docker(&["kill"]).expect(0);
    running.rest();
    let target = format!("/exec/{id}/json");
    assert_eq!(first.json("GET", &target, "", 200)["ExitCode"], 137);
    drop(first.docker(&["wait", "docker-exec-end"]));
    let second = Api::start();
    let known = second.json("GET", &target, "", 200);
    assert_eq!(
        (&known["Running"], &known["ExitCode"]),
        (&json!(false), &json!(137))
    );
    assert_eq!(known["ProcessConfig"]["entrypoint"], "sh");
}
