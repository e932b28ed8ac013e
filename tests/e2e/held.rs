//! Clients that come before a container's start, as docker's do.

use std::{
    env,
    path::PathBuf,
    process::{Child, Stdio},
};

use coracle_tests::{Done, coracle, done, signal, until, wait};
use rustix::process::Signal;

/// A container that is created, and removed when this is dropped.
struct Created {
    name: &'static str,
    id: String,
}

impl Created {
    fn new(name: &'static str, flags: &[&str], words: &[&str]) -> Self {
        let mut create = coracle(["create", "--name", name]);
        let made = done(create.args(flags).arg("busybox").args(words)).expect(0);
        let id = made.stdout.trim().to_owned();
        Self { name, id }
    }

    /// Where the keeper listens that holds it.
    fn socket(&self) -> PathBuf {
        let runtime = PathBuf::from(env::var_os("XDG_RUNTIME_DIR").unwrap());
        runtime.join("coracle/keepers").join(&self.id[..32])
    }

    /// A client that is attached to it before it starts.
    fn attached(&self, flags: &[&str]) -> Child {
        let mut attach = coracle(["attach"]);
        attach.args(flags).arg(self.name);
        attach.stdin(Stdio::piped());
        attach.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = attach.spawn().unwrap();
        until(|| match self.socket().exists() {
            true => Ok(()),
            false => Err(format!("nobody holds {}", self.name)),
        });
        child
    }

    fn until_nobody_holds_it(&self) {
        until(|| match self.socket().exists() {
            true => Err(format!("the keeper of {} stays", self.name)),
            false => Ok(()),
        });
    }

    fn does(&self, command: &str) -> Done {
        done(coracle([command]).arg(self.name))
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let _ = done(&mut coracle(["rm", "--force", self.name]));
    }
}

/// What a client says until its end, and how that is.
fn ended(mut child: Child) -> Done {
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn client_that_is_attached_before_the_start_loses_nothing() {
    let script = "echo first; echo second >&2; exit 3";
    let container = Created::new("early", &[], &["sh", "-c", script]);
    let [one, other] = [(); 2].map(|()| container.attached(&[]));
    // It does not run, and so nobody waits.
    assert_eq!(container.does("wait").expect(0).stdout, "0\n");
    assert_eq!(container.does("start").expect(0).stdout, "early\n");
    for client in [one, other] {
        let client = ended(client).expect(3);
        assert_eq!(client.stdout, "first\n");
        assert!(client.stderr.starts_with("second\n"), "{client:?}");
    }
    container.until_nobody_holds_it();
    let logs = container.does("logs").expect(0);
    assert_eq!((&*logs.stdout, &*logs.stderr), ("first\n", "second\n"));
}

#[test]
fn input_of_a_client_that_came_before_the_start_arrives() {
    let container = Created::new("typing", &["-i"], &["cat"]);
    let mut client = container.attached(&[]);
    std::io::Write::write_all(client.stdin.as_mut().unwrap(), b"typed before\n").unwrap();
    let _ = container.does("start").expect(0);
    assert_eq!(ended(client).expect(0).stdout, "typed before\n");
}

#[test]
fn removal_of_a_held_container_ends_its_clients() {
    let container = Created::new("unwanted", &[], &["true"]);
    let client = container.attached(&[]);
    assert_eq!(container.does("rm").expect(0).stdout, "unwanted\n");
    let client = ended(client).expect(125);
    assert!(client.stderr.contains("removed"), "{client:?}");
    assert!(!container.socket().exists());
}

#[test]
fn client_that_vanishes_before_the_start_leaves_nothing() {
    let container = Created::new("left", &[], &["echo", "ran"]);
    let client = container.attached(&[]);
    signal(client.id(), Signal::KILL);
    assert_eq!(wait(client), 137);
    container.until_nobody_holds_it();
    let started = done(&mut coracle(["start", "-a", "left"])).expect(0);
    assert_eq!(started.stdout, "ran\n");
}

#[test]
fn two_starts_of_a_held_container_are_one() {
    let container = Created::new(
        "once",
        &[],
        &["sh", "-c", "echo ran; while :; do sleep 0.1; done"],
    );
    let mut client = container.attached(&[]);
    let starts = [(); 2].map(|()| {
        let mut start = coracle(["start", "once"]);
        start.stdout(Stdio::piped()).stderr(Stdio::piped());
        start.spawn().unwrap()
    });
    for start in starts {
        assert_eq!(ended(start).expect(0).stdout, "once\n");
    }
    let mut said = [0; 4];
    let output = client.stdout.as_mut().unwrap();
    std::io::Read::read_exact(output, &mut said).unwrap();
    let _ = container.does("kill").expect(0);
    assert_eq!((&said, &*ended(client).expect(137).stdout), (b"ran\n", ""));
    assert_eq!(container.does("logs").expect(0).stdout, "ran\n");
}

/// Each of both is whole: the container has run, or was removed before it could.
#[test]
fn start_and_removal_at_once_leave_one_of_both() {
    let container = Created::new("race", &[], &["echo", "ran"]);
    let client = container.attached(&[]);
    let both = ["start", "rm"].map(|command| {
        let mut command = coracle([command, "race"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    let [start, remove] = both.map(ended);
    let client = ended(client);
    match start.code {
        0 => assert_eq!(client.expect(0).stdout, "ran\n"),
        _ => {
            let _ = remove.expect(0);
            let _ = client.expect(125);
        }
    }
    container.until_nobody_holds_it();
}
