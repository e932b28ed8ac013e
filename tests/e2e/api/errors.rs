//! What is wrong, in docker's words and by its statuses.

use super::{Api, Named};

#[test]
fn what_is_not_there_is_told_as_docker_tells_it() {
    let api = Api::start();
    for (method, target, status, message) in [
        (
            "GET",
            "/v1.45/containers/nosuch/json",
            404,
            "No such container: nosuch",
        ),
        (
            "POST",
            "/containers/nosuch/start",
            404,
            "No such container: nosuch",
        ),
        (
            "POST",
            "/containers/nosuch/wait",
            404,
            "No such container: nosuch",
        ),
        (
            "POST",
            "/containers/nosuch/attach?stream=1",
            404,
            "No such container: nosuch",
        ),
        (
            "GET",
            "/containers/nosuch/logs?stdout=1",
            404,
            "No such container: nosuch",
        ),
        (
            "DELETE",
            "/containers/nosuch",
            404,
            "No such container: nosuch",
        ),
        (
            "GET",
            "/images/nosuch:1/json",
            404,
            "No such image: nosuch:1",
        ),
        ("GET", "/nothing", 404, "page not found"),
        ("POST", "/v1.45/nothing/at/all", 404, "page not found"),
        ("DELETE", "/info", 404, "page not found"),
        (
            "GET",
            "/v1.99/info",
            400,
            "client version 1.99 is too new. Maximum supported API version is 1.45",
        ),
        (
            "GET",
            "/v1.10/info",
            400,
            "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your \
             client to a newer version",
        ),
    ] {
        let value = api.json(method, target, "", status);
        assert_eq!(value["message"], message, "{target}");
    }
    let create = "/containers/create?name=docker-wrong";
    let value = api.json(
        "POST",
        create,
        r#"{"Image":"nosuch:1","Cmd":["true"]}"#,
        404,
    );
    assert_eq!(value["message"], "No such image: nosuch:1");
    let value = api.json("POST", create, "", 400);
    assert_eq!(
        value["message"],
        "invalid JSON: got EOF while reading request body"
    );
    let value = api.json("POST", create, "{bad}", 400);
    assert!(
        value["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid JSON: ")
    );
    let value = api.json(
        "POST",
        "/containers/create?name=w",
        r#"{"Image":"busybox"}"#,
        400,
    );
    let message = value["message"].as_str().unwrap();
    assert!(
        message.starts_with("Invalid container name (w), only"),
        "{message}"
    );
}

#[test]
fn what_contradicts_the_state_is_a_conflict() {
    let api = Api::start();
    let container = Named::run(&api, "docker-conflict", &["busybox", "sleep", "1000"]);
    let again = api
        .docker(&["run", "--name", "docker-conflict", "busybox", "true"])
        .expect(125);
    let wanted =
        "Conflict. The container name \"/docker-conflict\" is already in use by container \"";
    assert!(again.stderr.contains(wanted), "{}", again.stderr);
    let wanted = "You have to remove (or rename) that container to be able to reuse that name.";
    assert!(again.stderr.contains(wanted), "{}", again.stderr);
    let value = api.json("DELETE", "/containers/docker-conflict", "", 409);
    assert_eq!(
        value["message"],
        "cannot remove container \"/docker-conflict\": container is running: stop the container before removing \
         or force remove"
    );
    let running = api.ask("POST", "/containers/docker-conflict/start", "");
    assert_eq!((running.status, running.body.as_str()), (304, ""));
    let value = api.json(
        "POST",
        "/containers/docker-conflict/kill?signal=NOPE",
        "",
        400,
    );
    let message = value["message"].as_str().unwrap();
    assert!(message.ends_with("invalid signal: NOPE"), "{message}");
    let _ = container.docker(&["stop", "-t", "0"]).expect(0);
    let stopped = api.ask("POST", "/containers/docker-conflict/stop", "");
    assert_eq!((stopped.status, stopped.body.as_str()), (304, ""));
    let value = api.json("POST", "/containers/docker-conflict/kill", "", 409);
    let message = value["message"].as_str().unwrap();
    assert!(message.contains("is not running"), "{message}");
}

#[test]
fn what_cannot_be_had_yet_is_refused_by_its_flag() {
    let api = Api::start();
    for (flags, word) in [
        (
            &["-p", "8080:80"][..],
            "publishing ports is not supported yet (-p, -P)",
        ),
        (
            &["-v", "/tmp:/h"],
            "volumes and bind mounts are not supported yet (-v",
        ),
        (
            &["--mount", "type=bind,src=/tmp,dst=/h"],
            "volumes and bind mounts are not supported yet",
        ),
        (&["--network", "mine"], "network mine not found"),
        (&["--dns", "1.1.1.1"], "--dns"),
        (&["--device", "/dev/null"], "--device"),
    ] {
        let done = api
            .docker(
                &[
                    &["run", "--name", "docker-refused"],
                    flags,
                    &["busybox", "true"],
                ]
                .concat(),
            )
            .expect(125);
        assert!(done.stderr.contains(word), "{flags:?}: {}", done.stderr);
    }
    let left = api
        .docker(&["ps", "-aq", "--filter", "name=docker-refused"])
        .expect(0);
    assert_eq!(left.stdout, "");
}
