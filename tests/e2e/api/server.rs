//! The server itself: where it listens, for whom, and until when.

use std::{
    fs,
    os::unix::{fs::MetadataExt, net::UnixStream},
    process::{Command, Stdio},
};

use coracle_tests::{coracle, done};

use super::{Api, newest};

#[test]
fn socket_is_the_user_s_alone_and_goes_with_the_server() {
    let api = Api::start();
    let socket = api.socket();
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    let second = coracle(["api", "--socket", socket.to_str().unwrap()]);
    let second = done(&mut { second }).expect(1);
    assert!(
        second.stderr.contains("a server listens at"),
        "{}",
        second.stderr
    );
    let ping = api.ask("HEAD", "/_ping", "");
    assert_eq!(ping.status, 200);
    for header in [
        "Api-Version: 1.45",
        "Ostype: linux",
        "Swarm: inactive",
        "Cache-Control: no-cache",
    ] {
        assert!(ping.head.contains(header), "{}", ping.head);
    }
    assert_eq!(api.ask("GET", "/_ping", "").body, "OK");
    let directory = api.directory.path().to_owned();
    drop(api);
    assert!(!socket.exists(), "{}", directory.display());
}

#[test]
fn command_gets_a_server_of_its_own_and_gives_its_exit_code() {
    let docker = newest();
    let script = format!(
        "{} version --format '{{{{.Server.APIVersion}}}}'; exit 9",
        docker.display()
    );
    let mut command = coracle(["api", "--", "sh", "-c", &script]);
    let done = done(&mut command).expect(9);
    assert_eq!(done.stdout, "1.45\n", "{}", done.stderr);
}

#[test]
fn server_ends_when_nobody_has_connected_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let mut command = coracle(["api", "--idle", "1", "--socket", socket.to_str().unwrap()]);
    let _ = done(&mut command).expect(0);
    assert!(!socket.exists());
}

#[test]
fn server_takes_the_socket_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    // As systemd does.
    let starter = "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); \
        s.fileno() == 3 or os.dup2(s.fileno(), 3); os.set_inheritable(3, True); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); \
        os.execv(sys.argv[2], sys.argv[2:])";
    let program = coracle_tests::program("coracle");
    let child = Command::new("python3")
        .args(["-c", starter])
        .arg(&socket)
        .arg(program)
        .args(["api", "--idle", "1"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // It has a file before it is listened on. The server stays for as long as somebody is connected.
    let mut connection = None;
    coracle_tests::until(|| {
        let connected = UnixStream::connect(&socket);
        connection = Some(connected.map_err(|error| error.to_string())?);
        Ok(())
    });
    let mut client = Command::new(newest());
    client
        .args(["version", "--format", "{{.Server.APIVersion}}"])
        .env("DOCKER_HOST", format!("unix://{}", socket.display()));
    assert_eq!(done(&mut client).expect(0).stdout, "1.45\n");
    drop(connection);
    assert_eq!(coracle_tests::wait(child), 0);
    // It is not the server's to remove.
    assert!(socket.exists());
}
