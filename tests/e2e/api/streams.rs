//! Connections that become streams, byte by byte.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use serde_json::json;

use super::{Api, Connection, Named};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/// Makes a container, which is not started.
fn create(api: &Api, name: &str, body: &serde_json::Value) -> String {
    let target = format!("/v1.45/containers/create?name={name}");
    let made = api.json("POST", &target, &body.to_string(), 201);
    made["Id"].as_str().unwrap().to_owned()
}

fn start(api: &Api, name: &str) {
    let answer = api.ask("POST", &format!("/containers/{name}/start"), "");
    assert_eq!(answer.status, 204, "{answer:?}");
}

fn attach(api: &Api, name: &str, query: &str, headers: &str) -> Connection {
    let target = format!("/v1.45/containers/{name}/attach?{query}");
    api.send("POST", &target, headers, "")
}

#[test]
fn attach_and_wait_come_before_the_start() {
    let api = Api::start();
    let name = "docker-before";
    let _named = Named::of(&api, name);
    let _ = create(
        &api,
        name,
        &json!({ "Image": "busybox", "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 9"] }),
    );
    let mut attached = attach(&api, name, "stream=1&stdout=1&stderr=1", UPGRADE);
    let head = attached.head();
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/vnd.docker.multiplexed-stream\r\n"),
        "{head}"
    );
    // The headers are there before anything has happened.
    let wait = format!("/v1.45/containers/{name}/wait?condition=next-exit");
    let mut waiting = api.send("POST", &wait, "Connection: close\r\n", "");
    let head = waiting.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    start(&api, name);
    let mut frames = attached.rest();
    // Which of the two streams comes first is not said.
    let out = b"\x01\0\0\0\0\0\0\x04out\n";
    let err = b"\x02\0\0\0\0\0\0\x04err\n";
    assert_eq!(frames.len(), out.len() + err.len());
    if !frames.starts_with(out) {
        frames.rotate_left(err.len());
    }
    assert_eq!(frames, [&out[..], err].concat());
    assert_eq!(waiting.chunk(), b"{\"StatusCode\":9}\n");
}

#[test]
fn half_closed_client_gets_what_follows_and_its_body_is_no_input() {
    let api = Api::start();
    let name = "docker-half";
    let _named = Named::of(&api, name);
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "cat; sleep 1; echo after"],
        "OpenStdin": true, "StdinOnce": true, "AttachStdin": true,
    });
    let _ = create(&api, name, &body);
    let query = "stream=1&stdin=1&stdout=1&stderr=1";
    // In the other form, with a body of the request's own and bytes that come with it.
    let mut stream = api.connect();
    let request = format!(
        "POST /v1.45/containers/{name}/attach?{query} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\n\r\n{{}}early "
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut attached = Connection {
        reader: std::io::BufReader::new(stream.try_clone().unwrap()),
        stream,
    };
    let head = attached.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    start(&api, name);
    attached.stream.write_all(b"late\n").unwrap();
    attached.stream.shutdown(Shutdown::Write).unwrap();
    let mut text = Vec::new();
    let frames = attached.rest();
    let mut frames = &frames[..];
    while let [1, 0, 0, 0, a, b, c, d, rest @ ..] = frames {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        text.extend_from_slice(&rest[..length]);
        frames = &rest[length..];
    }
    assert_eq!(String::from_utf8_lossy(&text), "early late\nafter\n");
    assert!(frames.is_empty());
}

#[test]
fn stream_ends_with_the_program_while_the_client_could_send_more() {
    let api = Api::start();
    let name = "docker-open";
    let _named = Named::of(&api, name);
    let body = json!({
        "Image": "busybox", "Cmd": ["echo", "over"], "OpenStdin": true, "StdinOnce": true,
    });
    let _ = create(&api, name, &body);
    let mut attached = attach(&api, name, "stream=1&stdin=1&stdout=1", UPGRADE);
    let _ = attached.head();
    start(&api, name);
    assert_eq!(attached.rest(), b"\x01\0\0\0\0\0\0\x05over\n");
}

#[test]
fn client_that_vanishes_does_not_end_the_container() {
    let api = Api::start();
    let name = "docker-vanish";
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let container = Named::run(&api, name, &["busybox", "sh", "-c", script]);
    let mut attached = attach(&api, name, "logs=1&stream=1&stdout=1&stderr=1", UPGRADE);
    let _ = attached.head();
    let mut frame = [0; 14];
    attached.reader.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x01\0\0\0\0\0\0\x06ready\n");
    drop(attached);
    let mut following = api.send(
        "GET",
        &format!("/containers/{name}/logs?follow=1&stdout=1"),
        "",
        "",
    );
    let head = following.head();
    assert!(
        head.contains("Content-Type: application/vnd.docker.multiplexed-stream\r\n"),
        "{head}"
    );
    assert_eq!(following.chunk(), b"\x01\0\0\0\0\0\0\x06ready\n");
    drop(following);
    let _ = container.docker(&["stop"]).expect(0);
    assert_eq!(container.docker(&["wait"]).expect(0).stdout, "3\n");
}

#[test]
fn log_has_frames_times_and_an_end() {
    let api = Api::start();
    let name = "docker-log";
    let script = "echo one; echo two >&2; echo three";
    let container = Named::run(&api, name, &["busybox", "sh", "-c", script]);
    let _ = container.docker(&["wait"]).expect(0);
    let done = container.docker(&["logs", "-f"]).expect(0);
    assert_eq!((&*done.stdout, &*done.stderr), ("one\nthree\n", "two\n"));
    let lines = Named::run(
        &api,
        "docker-lines",
        &["busybox", "sh", "-c", "echo one; echo two"],
    );
    let _ = lines.docker(&["wait"]).expect(0);
    let done = lines
        .docker(&["logs", "--tail", "1", "--timestamps"])
        .expect(0);
    let (time, line) = done.stdout.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.len() == 30, "{time}");
    assert_eq!(line, "two\n");
    assert_eq!(
        container
            .docker(&["logs", "--since", "1s", "--until", "2000-01-01T00:00:00Z"])
            .expect(0)
            .stdout,
        ""
    );
}
