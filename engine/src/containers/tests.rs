//! What containers answer in each state, without a keeper.

use std::{path::Path, thread};

use contracts::keeper::{Event as Told, Request};
use tempfile::TempDir;

use super::*;
use crate::{
    Error, ErrorKind, Settings,
    hosts::Host,
    keeper,
    kernel::Unobserved,
    state::{
        Directories, MachineMode,
        container::Status,
        files::Lock,
        host,
        log::{Record, Writer},
    },
};
use packets::Socket;

const CONTAINER: &str = include_str!("../keeper/fuzzing/container.json");

/// An engine with a directory of its own, and what it holds of containers that seem to run.
struct Scene {
    directory: TempDir,
    engine: Engine,
    locks: Vec<Lock>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let below = |name: &str| directory.path().join(name);
        let directories = Directories {
            data: below("data"),
            cache: below("cache"),
            runtime: below("run"),
        };
        Self {
            engine: Engine::open(Settings::new(directories)).unwrap(),
            directory,
            locks: Vec::new(),
        }
    }

    fn containers(&self) -> Containers {
        self.engine.containers()
    }

    fn create(&self, name: &str, id: &str) -> Container {
        let mut config: Config = serde_json::from_str(CONTAINER).unwrap();
        config.name = name.into();
        config.id = format!("{id:0<64}");
        let containers = self.containers();
        containers.with(containers.records.create(config).unwrap())
    }

    fn host(&self, name: &str) -> Host {
        let hosts = self.engine.hosts();
        let config = host::Config {
            version: host::VERSION,
            id: "f".repeat(64),
            name: name.into(),
            created: 0,
            memory: 64 << 20,
            cpus: 1,
            kernel: None,
            machine: MachineMode::default(),
            labels: Default::default(),
            disk: None,
            container_disk: None,
        };
        let record = hosts.records.create(config).unwrap();
        Host {
            engine: self.engine.clone(),
            record,
        }
    }

    /// Writes down where a container is in its life; one that runs has a keeper, which nobody can reach.
    fn set(&mut self, container: &Container, status: Status, exit_code: i32) {
        let mut state = container.state().unwrap();
        state.status = status;
        state.exit_code = exit_code;
        state.socket = self.directory.path().join("nobody");
        // One keeper at a time.
        if status.is_live() && !container.state().unwrap().status.is_live() {
            self.locks.push(container.record.keeper_lock().unwrap());
        }
        container.record.save(&state).unwrap();
    }
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it was done"),
        Err(error) => error.kind(),
    }
}

fn words<T>(result: Result<T>) -> String {
    result
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn container_that_does_not_run_conflicts_with_what_needs_it_to_run() {
    let mut scene = Scene::new();
    let container = scene.create("web", "a");
    for status in [Status::Created, Status::Exited] {
        scene.set(&container, status, 0);
        let exec = ExecRequest {
            command: vec!["sh".into()],
            ..ExecRequest::default()
        };
        for (what, answer) in [
            ("exec", words(container.exec(&exec))),
            ("kill", words(container.kill(15))),
            ("kill at once", words(container.kill(9))),
            ("pause", words(container.pause())),
            ("unpause", words(container.unpause())),
            ("top", words(container.top())),
            ("attach", words(container.attach(AttachOptions::default()))),
        ] {
            let expected = "container web is not running; 'coracle start web' starts it";
            assert_eq!(answer, expected, "{what}");
        }
        assert_eq!(kind(container.exec(&exec)), ErrorKind::Conflict);
        assert_eq!(kind(container.kill(9)), ErrorKind::Conflict);
    }
}

#[test]
fn container_that_runs_is_neither_started_nor_removed() {
    let mut scene = Scene::new();
    let container = scene.create("web", "a");
    scene.set(&container, Status::Running, 0);
    let started = container.start(StartOptions::default(), &mut Unobserved);
    assert_eq!(kind(started), ErrorKind::NotModified);
    let removed = container.remove(RemoveOptions::default());
    assert_eq!(
        removed.as_ref().map_err(Error::to_string),
        Err(
            "cannot remove container web: it is running; stop it first ('coracle stop web'), or use --force"
                .into()
        )
    );
    assert_eq!(kind(removed), ErrorKind::Conflict);
    scene.set(&container, Status::Restarting, 0);
    let attached = container.attach(AttachOptions::default());
    assert_eq!(kind(attached), ErrorKind::Conflict);
}

/// Nobody is to believe that it runs.
#[test]
fn start_tells_that_a_record_is_damaged() {
    let scene = Scene::new();
    let container = scene.create("web", "a");
    let path = container.record.directory().join("state.json");
    for text in ["", "{", "{}"] {
        std::fs::write(&path, text).unwrap();
        let started = container.start(StartOptions::default(), &mut Unobserved);
        assert_eq!(kind(started), ErrorKind::Internal, "{text:?}");
    }
}

/// As one with `--rm` that ends while somebody asks about it.
#[test]
fn what_vanishes_between_two_steps_is_not_found() {
    let scene = Scene::new();
    let container = scene.create("web", "a");
    let host = scene.host("boat");
    for directory in [container.record.directory(), host.record().directory()] {
        std::fs::remove_dir_all(directory).unwrap();
    }
    let containers = scene.containers();
    let answers: [(&str, Result<()>); 10] = [
        (
            "open",
            containers
                .records
                .open(container.id())
                .map(drop)
                .map_err(Error::from),
        ),
        ("state", container.state().map(drop)),
        (
            "start",
            container
                .start(StartOptions::default(), &mut Unobserved)
                .map(drop),
        ),
        ("wait", container.wait(WaitCondition::NextExit).map(drop)),
        ("stop", container.stop(StopOptions::default()).map(drop)),
        ("remove", container.remove(RemoveOptions::default())),
        (
            "attach",
            container.attach(AttachOptions::default()).map(drop),
        ),
        (
            "lock",
            container.record.try_lock().map(drop).map_err(Error::from),
        ),
        ("host", host.state().map(drop)),
        ("host rm", host.remove(false)),
    ];
    for (what, answer) in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
        assert!(error.to_string().starts_with("no such "), "{what}: {error}");
    }
    assert!(containers.list().unwrap().is_empty());
    // One that is there and lacks a file is damaged.
    let damaged = scene.create("two", "b");
    std::fs::remove_file(damaged.record.directory().join("state.json")).unwrap();
    assert_eq!(kind(damaged.state()), ErrorKind::Internal);
}

#[test]
fn host_stays_while_a_later_release_may_have_a_container_in_it() {
    let scene = Scene::new();
    let host = scene.host("boat");
    let container = scene.create("web", "a");
    let path = container.record.directory().join("config.json");
    std::fs::write(&path, r#"{"version": 99, "new": {}}"#).unwrap();
    for force in [false, true] {
        let error = host.remove(force).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("later release"), "{error}");
    }
    assert!(host.record().directory().is_dir());
    // What cannot be read by anybody needs no host.
    std::fs::write(&path, "{").unwrap();
    host.remove(false).unwrap();
    assert!(!host.record().directory().is_dir());
}

/// Its keeper has the lock for as long as any client holds it: it is asked to let go.
#[test]
fn start_that_is_given_up_removes_a_held_container_and_no_other() {
    let mut scene = Scene::new();
    let [kept, held, running] =
        [("kept", "a"), ("held", "b"), ("running", "c")].map(|(name, id)| {
            let mut container = scene.create(name, id);
            container.record.config.remove = name != "kept";
            container
        });
    kept.give_up().unwrap();
    assert!(kept.state().is_ok());
    scene.set(&running, Status::Running, 0);
    running.give_up().unwrap();
    assert!(running.state().is_ok());
    let runtime = &scene.engine.directories().runtime;
    let listener = keeper::listener(&keeper::socket_path(runtime, held.id())).unwrap();
    let lock = held.record.keeper_lock().unwrap();
    let keeper = thread::spawn(move || {
        let link = Socket::from(rustix::net::accept(&listener).unwrap());
        loop {
            if let Request::Release { .. } = link.receive::<Request>().unwrap().unwrap().0 {
                drop(lock);
                return link.send(&Told::Done, None).unwrap();
            }
        }
    });
    held.give_up().unwrap();
    keeper.join().unwrap();
    assert!(held.is_gone());
    held.give_up().unwrap();
}

/// It would build one for minutes, and answer nobody.
#[test]
fn keeper_that_holds_a_container_is_not_asked_before_there_is_a_kernel() {
    let scene = Scene::new();
    let container = scene.create("web", "a");
    let directories = scene.engine.directories();
    // No kernel can be built here.
    std::fs::write(&directories.cache, "").unwrap();
    let path = keeper::socket_path(&directories.runtime, container.id());
    let listener = keeper::listener(&path).unwrap();
    let asked = thread::spawn(move || {
        let link = Socket::from(rustix::net::accept(&listener).unwrap());
        link.receive::<Request>().unwrap().unwrap().0
    });
    let started = container.start(StartOptions::default(), &mut Unobserved);
    assert_eq!(kind(started), ErrorKind::Unavailable);
    let own = keeper::connect(&path, 0).unwrap().unwrap();
    own.send(&Request::Detach, None).unwrap();
    assert!(matches!(asked.join().unwrap(), Request::Detach));
}

#[test]
fn stopping_what_does_not_run_changes_nothing() {
    let mut scene = Scene::new();
    let container = scene.create("web", "a");
    scene.set(&container, Status::Exited, 3);
    let ending = container.stop(StopOptions::default()).unwrap();
    assert!(ending.descriptor().is_none());
    ending.finish().unwrap();
    let waiter = container.wait(WaitCondition::NotRunning).unwrap();
    assert!(waiter.descriptor().is_none());
    assert_eq!(waiter.finish().unwrap().code, 3);
}

#[test]
fn names_say_what_is_wrong_with_them() {
    let scene = Scene::new();
    let mut web = scene.create("web", "a1");
    scene.create("db", "a2");
    assert_eq!(kind(scene.containers().find("cache")), ErrorKind::NotFound);
    assert_eq!(scene.containers().find("a2").unwrap().name(), "db");
    let several = scene.containers().find("a");
    assert!(words(several).contains("is ambiguous"));
    assert_eq!(kind(scene.containers().find("a")), ErrorKind::Invalid);
    assert_eq!(kind(web.rename("db")), ErrorKind::Conflict);
    assert_eq!(kind(web.rename("-")), ErrorKind::Invalid);
    web.rename("www").unwrap();
    assert_eq!(web.name(), "www");
    assert_eq!(scene.containers().find("www").unwrap().id(), web.id());
}

#[test]
fn force_removes_what_is_gone_meanwhile_and_hides_no_other_failure() {
    let scene = Scene::new();
    let container = scene.create("web", "a");
    let force = RemoveOptions { force: true };
    std::fs::write(container.record.directory().join("state.json"), "{").unwrap();
    assert!(words(container.remove(force)).contains("state.json"));
    std::fs::remove_dir_all(container.record.directory()).unwrap();
    assert_eq!(
        kind(container.remove(RemoveOptions::default())),
        ErrorKind::NotFound
    );
    container.remove(force).unwrap();
}

#[test]
fn prune_removes_what_is_meant_and_does_not_run() {
    let mut scene = Scene::new();
    for (name, id) in [("one", "1"), ("two", "2"), ("three", "3")] {
        scene.create(name, id);
    }
    let running = scene.containers().find("two").unwrap();
    scene.set(&running, Status::Running, 0);
    let is_meant = |container: &Container| container.name() != "three";
    let failed = |error| panic!("{error}");
    let removed = scene.containers().prune(is_meant, failed).unwrap();
    assert_eq!(removed, [format!("{:0<64}", "1")]);
    assert_eq!(scene.containers().list().unwrap().len(), 2);
}

#[test]
fn end_that_a_keeper_tells_of_is_waited_for_until_the_record_is_gone() {
    let mut scene = Scene::new();
    let container = scene.create("web", "a");
    scene.set(&container, Status::Exited, 0);
    let (link, keeper) = Socket::pair().unwrap();
    let mut waiter = wait::Waiter::told_by(&container, WaitCondition::Removed, link);
    let exit = Exit {
        code: 7,
        ..Exit::default()
    };
    keeper.send(&Told::Exited(exit), None).unwrap();
    assert_eq!(waiter.check().unwrap(), None);
    assert!(waiter.descriptor().is_some());
    container.remove(RemoveOptions::default()).unwrap();
    assert_eq!(waiter.finish().unwrap().code, 7);
}

fn lines(logs: Logs) -> Vec<String> {
    let text = |record: Result<Record>| String::from_utf8(record.unwrap().bytes).unwrap();
    logs.map(text).collect()
}

fn log(directory: &Path) -> Writer {
    let mut log = Writer::open(directory, 1 << 20).unwrap();
    for (time, text) in [(1, "one\n"), (2, "two\n"), (3, "three\n")] {
        log.write(1, time, text.as_bytes()).unwrap();
    }
    log
}

#[test]
fn logs_are_cut_by_lines_and_times() {
    let scene = Scene::new();
    let container = scene.create("web", "a");
    log(container.record.directory());
    let read = |options: LogOptions| lines(container.logs(options).unwrap());
    let all = LogOptions::default();
    assert_eq!(read(all), ["one\n", "two\n", "three\n"]);
    let tail = Some(1);
    assert_eq!(read(LogOptions { tail, ..all }), ["three\n"]);
    let (since, until) = (Some(2), Some(2));
    assert_eq!(
        read(LogOptions {
            since,
            until,
            ..all
        }),
        ["two\n"]
    );
}

#[test]
fn log_is_followed_until_the_container_ends() {
    let mut scene = Scene::new();
    let container = scene.create("web", "a");
    let mut writer = log(container.record.directory());
    scene.set(&container, Status::Running, 0);
    let options = LogOptions {
        tail: Some(1),
        follow: true,
        ..LogOptions::default()
    };
    let mut logs = container.logs(options).unwrap();
    let next = |logs: &mut Logs| match logs.next_now().unwrap() {
        Next::Piece(record) => String::from_utf8(record.bytes).unwrap(),
        Next::Later => "later".into(),
        Next::End => "end".into(),
    };
    assert_eq!(next(&mut logs), "three\n");
    assert_eq!(next(&mut logs), "later");
    writer.write(1, 4, b"four\n").unwrap();
    assert_eq!(next(&mut logs), "four\n");
    assert_eq!(next(&mut logs), "later");
    let reading = thread::spawn(move || lines(logs));
    writer.write(2, 5, b"five\n").unwrap();
    let mut state = container.state().unwrap();
    state.status = Status::Exited;
    container.record.save(&state).unwrap();
    assert_eq!(reading.join().unwrap(), ["five\n"]);
}
