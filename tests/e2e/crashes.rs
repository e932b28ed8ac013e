//! Any of our processes may die at any step: the next command tells the truth, and nothing stays.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use coracle_tests::{Detached, Done, coracle, done, signal, times, wait};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

/// Rounds of each kind of death.
fn rounds() -> usize {
    times("CORACLE_TEST_ROUNDS", 4)
}

/// At how many of its calls of each kind a command is killed.
fn depth(usual: usize) -> u32 {
    u32::try_from(times("CORACLE_TEST_DEPTH", usual)).unwrap()
}

fn keeper(container: &Detached) -> u32 {
    container.field(".Coracle.KeeperPid").parse().unwrap()
}

/// Kills a process and waits until it is gone.
fn kill(pid: u32) {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    let watch = pidfd_open(number, PidfdFlags::empty()).unwrap();
    signal(pid, Signal::KILL);
    let mut watched = [rustix::event::PollFd::new(
        &watch,
        rustix::event::PollFlags::IN,
    )];
    let limit = rustix::event::Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut watched, Some(&limit)).unwrap(), 1);
}

#[test]
fn container_of_a_killed_keeper_has_ended_and_can_start_again() {
    let container = Detached::waiting("orphan");
    for _ in 0..rounds() {
        kill(keeper(&container));
        assert_eq!(container.field(".State.Status"), "exited");
        assert_eq!(container.field(".State.ExitCode"), "255");
        let refused = container.exec(&["true"]).expect(1);
        assert!(refused.stderr.contains("not running"), "{refused:?}");
        let _ = container.does(&["start"]).expect(0);
        let _ = container.exec(&["true"]).expect(0);
    }
}

#[test]
fn commands_that_wait_end_when_the_keeper_dies() {
    let container = Detached::waiting("waited");
    let commands = ["wait", "attach"].map(|command| {
        coracle([command, "waited"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    });
    let follow = coracle(["logs", "-f", "waited"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _ = container.exec(&["true"]).expect(0);
    kill(keeper(&container));
    for child in commands {
        let _ = wait(child);
    }
    // What follows a log sees its end by the state, which the next command puts right.
    assert_eq!(container.field(".State.Status"), "exited");
    assert_eq!(wait(follow), 0);
}

#[test]
fn killed_client_of_a_detached_container_leaves_it_alone() {
    let container = Detached::waiting("alone");
    for _ in 0..rounds() {
        let mut exec = coracle(["exec", "alone", "sh", "-c", "echo up; sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0; 3];
        std::io::Read::read_exact(&mut exec.stdout.take().unwrap(), &mut byte).unwrap();
        signal(exec.id(), Signal::KILL);
        assert_eq!(wait(exec), 137);
        let _ = container.exec(&["true"]).expect(0);
    }
    assert_eq!(container.field(".State.Status"), "running");
}

/// A place of its own for a test's containers.
struct Scene {
    place: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let own = Self {
            place: tempfile::tempdir().unwrap(),
        };
        let archive = coracle_tests::sample("busybox");
        let _ = own
            .does(&["load", "-i", archive.to_str().unwrap()])
            .expect(0);
        own
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn does(&self, arguments: &[&str]) -> Done {
        done(coracle(arguments.iter().copied()).env("XDG_DATA_HOME", self.data()))
    }

    /// Runs a command of which each process is killed as it makes a system call for the `when`th
    /// time; true when its first process was.
    fn killed(&self, call: &str, when: u32, arguments: &[&str]) -> bool {
        let inject = format!("inject={call}:signal=KILL:when={when}");
        let mut command = Command::new("strace");
        command
            .args(["-qq", "-f", "-o", "/dev/null", "-e"])
            .arg(format!("trace={call}"))
            .args(["-e", &inject])
            .arg(coracle_tests::program("coracle"))
            .args(arguments)
            .env("XDG_DATA_HOME", self.data())
            .stdin(Stdio::null());
        done(&mut command).code == 137
    }

    /// What is left of its containers: directories, names and sockets.
    fn left(&self) -> Vec<String> {
        let list = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.path().display().to_string())
                .collect()
        };
        let containers = self.data().join("coracle/containers");
        let mut all = list(&containers);
        let stays = ["lock", "names", "events", "events.1"];
        all.retain(|path| !stays.iter().any(|name| Path::new(path).ends_with(name)));
        all.extend(list(&containers.join("names")));
        all
    }

    /// Processes of ours that have one of its files open; a software host's file server has, too.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let program = fs::read_link(process.path().join("exe")).unwrap_or_default();
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("coracle") {
                continue;
            }
            let files = fs::read_dir(process.path().join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
            if targets.any(|target| target.starts_with(self.place.path())) {
                found.push(process.path().display().to_string());
            }
        }
        found
    }

    /// Removes all containers, and checks that nothing is left of them.
    fn is_clean_after_removal(&self) {
        let ids = self
            .does(&["ps", "-a", "-q", "--no-trunc"])
            .expect(0)
            .stdout;
        for id in ids.lines() {
            let _ = self.does(&["rm", "-f", id]).expect(0);
        }
        // The next one that is made sweeps what was not whole.
        let _ = self
            .does(&["create", "--name", "last", "busybox", "true"])
            .expect(0);
        let _ = self.does(&["rm", "last"]).expect(0);
        assert_eq!(self.does(&["ps", "-a", "-q"]).expect(0).stdout, "");
        let mut rest = self.left();
        // A name whose container was never made is free, and taken by who wants it.
        rest.retain(|path| {
            let target = fs::read_link(path);
            target.is_err() || fs::metadata(path).is_ok()
        });
        assert_eq!(rest, Vec::<String>::new());
        assert_eq!(self.processes(), Vec::<String>::new());
    }
}

#[test]
fn create_killed_at_each_step_leaves_nothing() {
    let scene = Scene::new();
    let calls = [
        "mkdir",
        "openat",
        "write",
        "flock",
        "rename",
        "symlink",
        "unlink",
        "close",
        "statx",
        "getdents64",
        "getrandom",
        "readlink",
    ];
    let mut killed = 0;
    for call in calls {
        for when in 1..=depth(6) {
            let arguments = ["create", "--name", "always", "busybox", "true"];
            killed += u32::from(scene.killed(call, when, &arguments));
            let _ = scene.does(&["rm", "-f", "always"]).expect(0);
        }
    }
    assert!(killed >= 24, "only {killed} were killed");
    scene.is_clean_after_removal();
}

#[test]
fn run_and_its_keeper_killed_at_each_step_leave_nothing() {
    let scene = Scene::new();
    // Those of the parent, of the keeper's start, and of its loop.
    let steps = [
        ("close_range", 1),
        ("close_range", 2),
        ("setsid", 1),
        ("dup2", 1),
        ("signalfd4", 2),
        ("flock", 1),
        ("flock", 2),
        ("flock", 3),
        ("bind", 1),
        ("listen", 1),
        ("socketpair", 1),
        ("socketpair", 2),
        ("connect", 1),
        ("memfd_create", 1),
        ("rename", 1),
        ("rename", 2),
        ("rename", 3),
        ("rename", 4),
        ("sendmsg", 1),
        ("sendmsg", 2),
        ("sendmsg", 4),
        ("recvmsg", 1),
        ("recvmsg", 2),
        ("recvmsg", 4),
        ("recvmsg", 6),
        ("sendto", 1),
        ("recvfrom", 1),
        ("recvfrom", 2),
        ("recvfrom", 4),
        ("ppoll", 1),
        ("ppoll", 2),
        ("ppoll", 4),
        ("poll", 2),
        ("unlink", 2),
        ("unlinkat", 1),
        ("rmdir", 1),
        ("exit_group", 1),
    ];
    for (call, when) in steps {
        let arguments = ["run", "--rm", "--name", "always", "busybox", "echo", "said"];
        let _ = scene.killed(call, when, &arguments);
        // Whatever it was in, the next command tells the truth about it and clears it away.
        let list = scene
            .does(&["ps", "-a", "--format", "{{.State}}"])
            .expect(0)
            .stdout;
        assert!(list.lines().count() <= 1, "{call} {when}: {list}");
        let _ = scene.does(&["rm", "-f", "always"]).expect(0);
    }
    scene.is_clean_after_removal();
}

#[test]
fn rename_and_removal_killed_at_each_step_leave_the_truth() {
    let scene = Scene::new();
    let calls = [
        "openat",
        "flock",
        "rename",
        "renameat2",
        "symlink",
        "unlink",
        "unlinkat",
        "rmdir",
        "write",
        "close",
        "getdents64",
        "readlink",
    ];
    let mut killed = 0;
    for call in calls {
        for when in 1..=depth(5) {
            let create = ["create", "--name", "before", "busybox", "true"];
            let id = scene.does(&create).expect(0).stdout;
            let id = id.trim();
            killed += u32::from(scene.killed(call, when, &["rename", "before", "after"]));
            // It has one name, the old one or the new one, and that leads to it.
            let format = ["inspect", "--format", "{{.Name}}", id];
            let name = scene.does(&format).expect(0).stdout;
            let name = name.trim().trim_start_matches('/');
            assert!(["before", "after"].contains(&name), "{call} {when}: {name}");
            let found = scene
                .does(&["inspect", "--format", "{{.Id}}", name])
                .expect(0);
            assert_eq!(found.stdout.trim(), id, "{call} {when}");
            killed += u32::from(scene.killed(call, when, &["rm", name]));
            // It is there as a whole, or gone.
            let listed = scene
                .does(&["ps", "-a", "-q", "--no-trunc"])
                .expect(0)
                .stdout;
            if !listed.is_empty() {
                assert_eq!(scene.does(&["rm", id]).expect(0).stdout.trim(), id);
            }
        }
    }
    assert!(killed >= 40, "only {killed} were killed");
    scene.is_clean_after_removal();
}

#[test]
fn commands_about_a_container_that_runs_can_be_killed_at_each_step() {
    let scene = Scene::new();
    let run = ["run", "-d", "--name", "lives", "busybox", "sleep", "1000"];
    let _ = scene.does(&run).expect(0);
    let commands: [&[&str]; 6] = [
        &["exec", "lives", "echo", "said"],
        &["top", "lives"],
        &["cp", "lives:/etc", "-"],
        &["pause", "lives"],
        &["unpause", "lives"],
        &["logs", "lives"],
    ];
    let calls = [
        ("connect", 1),
        ("sendmsg", 1),
        ("recvmsg", 1),
        ("recvmsg", 2),
        ("close", 9),
    ];
    for command in commands {
        for (call, when) in calls {
            let _ = scene.killed(call, when, command);
        }
    }
    // Whether the pause was the last that it heard, or the end of it.
    let _ = scene.does(&["unpause", "lives"]);
    let said = scene.does(&["exec", "lives", "echo", "said"]).expect(0);
    assert_eq!(said.stdout, "said\n");
    for (call, when) in calls {
        let _ = scene.killed(call, when, &["stop", "-t", "0", "lives"]);
        let _ = scene.does(&["stop", "-t", "0", "lives"]).expect(0);
        let state = ["inspect", "--format", "{{.State.Status}}", "lives"];
        assert_eq!(scene.does(&state).expect(0).stdout, "exited\n");
        let _ = scene.does(&["start", "lives"]).expect(0);
    }
    scene.is_clean_after_removal();
}
