use std::{io::Write, os::unix::net::UnixStream, time::Duration};

use contracts::guest::{FailureKind, GuestMessage, Stdio, Task, Tool, frame};
use contracts::keeper::{Request, Until};
use tempfile::TempDir;

use super::{
    super::{Machine, execs},
    *,
};
use crate::host;
use crate::state::{
    MachineMode,
    container::{Config, Container, Containers, Health, Restart},
    host::{Config as HostConfig, Hosts, VERSION},
};
use coracle_platform::sys::Signals;

const CONTAINER: &str = include_str!("../fuzzing/container.json");

/// A keeper of a named host that is up, with the other ends of its connections.
struct Scene {
    keeper: Keeper,
    containers: Containers,
    guest: UnixStream,
    _monitor: Socket,
    _directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: directory.path().into(),
            cache: directory.path().into(),
            runtime: directory.path().into(),
        };
        let record = Hosts::new(&directories).create(HostConfig {
            version: VERSION,
            id: "1".repeat(64),
            name: "host".into(),
            created: 1,
            memory: 1 << 30,
            cpus: 1,
            kernel: None,
            machine: MachineMode::Auto,
            labels: std::collections::BTreeMap::new(),
            disk: None,
            container_disk: None,
        });
        let record = record.unwrap();
        let signals = Signals::new(&[]).unwrap();
        let socket = directory.path().join("socket");
        let mut keeper = Keeper::new(&directories, socket, signals).unwrap();
        keeper.hosting = Hosting::Named(Box::new(Named {
            state: record.state().unwrap(),
            _lock: record.keeper_lock().unwrap(),
            record,
            shelf: Shelf::default(),
            deadline: None,
            ends: false,
            late_news: 0,
        }));
        let (monitor, control) = Socket::pair().unwrap();
        let (guest, channel) = UnixStream::pair().unwrap();
        let mut machine = Machine::new(host::Host::at(control), Duration::from_secs(10));
        assert!(machine.connect(channel) && machine.greet());
        keeper.machine = Some(machine);
        Self {
            keeper,
            containers: Containers::new(&directories),
            guest,
            _monitor: monitor,
            _directory: directory,
        }
    }

    fn container(&self) -> Container {
        let mut config: Config = serde_json::from_str(CONTAINER).unwrap();
        config.restart = Restart::Always;
        config.id = crate::identifier().unwrap();
        config.name = String::new();
        config.health = Some(Health {
            command: vec!["true".into()],
            interval: 1 << 40,
            timeout: 1 << 40,
            start_period: 0,
            retries: 1,
        });
        self.containers.create(config).unwrap()
    }

    /// A container that runs.
    fn run(&mut self) -> Number {
        let record = self.container();
        let lock = record.keeper_lock().unwrap();
        let number = self.keeper.take(record, lock).unwrap();
        let kept = self.keeper.kept.get_mut(&number).unwrap();
        kept.life.runs();
        kept.state.pid = 7;
        number
    }

    fn stage(&self, number: Number) -> &'static str {
        self.keeper.kept[&number].life.word()
    }

    fn says(&mut self, message: &GuestMessage) {
        let frame = frame::encode(message).unwrap();
        self.guest.write_all(&frame).unwrap();
        self.keeper.guest_messages();
    }
}

/// All that a guest may have to say about a container.
fn news(id: &str) -> [GuestMessage; 4] {
    let id = id.to_owned();
    [
        GuestMessage::OutOfMemory { id: id.clone() },
        GuestMessage::Started {
            id: id.clone(),
            pid: 7,
            at: 1,
        },
        GuestMessage::Exited {
            id: id.clone(),
            status: contracts::guest::ExitStatus::Signal(9),
            oom: false,
            damaged: false,
            at: 1,
        },
        GuestMessage::Failed {
            id,
            kind: FailureKind::Setup,
            message: "too late".into(),
        },
    ]
}

#[test]
fn late_news_of_a_container_that_starts_again_ends_no_host() {
    let mut scene = Scene::new();
    let number = scene.run();
    scene.keeper.force(number);
    scene.keeper.settle();
    assert_eq!(scene.stage(number), "waiting");
    let id = scene.keeper.kept[&number].record.config.id.clone();
    for message in news(&id) {
        scene.says(&message);
        assert!(scene.keeper.guest().is_some(), "{message:?}");
        assert_eq!(scene.stage(number), "waiting");
    }
    scene.keeper.open_streams(number).unwrap();
    scene.keeper.expect_start(number).unwrap();
    for message in news(&id) {
        scene.says(&message);
        assert!(scene.keeper.guest().is_some(), "{message:?}");
        assert_eq!(scene.stage(number), "booting");
    }
    // Its spec was sent, and this is what was left of its earlier start.
    scene.keeper.kept.get_mut(&number).unwrap().life.starts();
    let [memory, _, exited, _] = news(&id);
    for message in [memory, exited.clone()] {
        scene.says(&message);
        assert!(scene.keeper.guest().is_some(), "{message:?}");
        assert_eq!(scene.stage(number), "starting");
    }
    // No end of it is believed.
    for _ in 0..NEWS {
        if scene.keeper.guest().is_some() {
            scene.says(&exited);
        }
    }
    assert!(scene.keeper.guest().is_none());
}

#[test]
fn container_that_cannot_start_again_ends_alone() {
    let mut scene = Scene::new();
    let number = scene.run();
    scene.keeper.force(number);
    scene.keeper.settle();
    let record = scene.keeper.kept[&number].record.clone();
    let log = record.directory().join("log");
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    scene.keeper.start_again(number);
    scene.keeper.settle();
    assert!(scene.keeper.kept.is_empty());
    assert!(!scene.keeper.over && scene.keeper.guest().is_some());
    assert!(record.state().unwrap().error.contains("log"));
}

#[test]
fn container_that_cannot_be_taken_over_is_as_before() {
    let mut scene = Scene::new();
    let record = scene.container();
    let before = record.state().unwrap();
    let log = record.directory().join("log");
    std::fs::create_dir(&log).unwrap();
    let lock = record.keeper_lock().unwrap();
    assert!(scene.keeper.take(record.clone(), lock).is_err());
    assert!(scene.keeper.kept.is_empty());
    assert_eq!(record.state().unwrap(), before);
    std::fs::remove_dir(&log).unwrap();
    let lock = record.try_lock().unwrap();
    assert!(lock.is_some_and(|lock| scene.keeper.take(record, lock).is_ok()));
}

/// A program that ran for the keeper itself answers when the container that it ran in is gone, or has started again.
#[test]
fn late_answer_reaches_no_other_container() {
    let mut scene = Scene::new();
    let first = scene.run();
    let health = |scene: &mut Scene, number| {
        let health = execs::Client::Health(number);
        let task = Task::Tool(Tool::Freeze(false));
        let sent = scene
            .keeper
            .send_exec(health, number, task, Stdio::default());
        sent.unwrap().unwrap()
    };
    let answers = |scene: &mut Scene, id: String| {
        let started = GuestMessage::Started {
            id: id.clone(),
            pid: 8,
            at: 1,
        };
        let exited = GuestMessage::Exited {
            id,
            status: contracts::guest::ExitStatus::Code(0),
            oom: false,
            damaged: false,
            at: 1,
        };
        assert!(scene.keeper.exec_message(&started) && scene.keeper.exec_message(&exited));
    };
    let wellness = |scene: &Scene, number| scene.keeper.kept[&number].state.health;
    let of_first = health(&mut scene, first);
    scene.keeper.force(first);
    scene.keeper.settle();
    // Somebody waits for its end while it waits for its next start.
    let (waiting, theirs) = Socket::pair().unwrap();
    let client = scene.keeper.add_client(theirs, Role::waiting(first));
    scene.keeper.start_again(first);
    let again = *scene.keeper.kept.keys().next().unwrap();
    assert_ne!(again, first);
    assert_eq!(scene.keeper.clients[&client].role, Role::waiting(again));
    answers(&mut scene, of_first);
    assert_eq!(wellness(&scene, again), None);
    // And gone for good.
    let of_again = health(&mut scene, again);
    scene.keeper.on(again, Input::HostEnds);
    scene.keeper.force(again);
    scene.keeper.settle();
    assert!(scene.keeper.kept.is_empty());
    let (event, _) = waiting.receive::<Event>().unwrap().unwrap();
    assert!(matches!(event, Event::Exited(_)), "{event:?}");
    let other = scene.run();
    assert!(other > again);
    answers(&mut scene, of_again);
    assert_eq!(wellness(&scene, other), None);
}

/// Docker's order: attach and wait, then start, all from other connections.
#[test]
fn clients_that_came_before_the_start_lose_nothing() {
    let mut scene = Scene::new();
    let mut record = scene.container();
    record.config.host = Some("1".repeat(64));
    let config = record.directory().join("config.json");
    std::fs::write(config, serde_json::to_vec(&record.config).unwrap()).unwrap();
    let mut piece = vec![0; crate::keeper::PIECE];
    let mut turn = |scene: &mut Scene| {
        scene.keeper.turn(&mut piece, Some(Instant::now())).unwrap();
    };
    let client = |scene: &mut Scene| {
        let (ours, theirs) = Socket::pair().unwrap();
        scene.keeper.add_client(theirs, Role::New);
        ours
    };
    let event = |link: &Socket| link.receive::<Event>().unwrap().unwrap();
    let container = record.config.id.clone();
    let [attached, waiting, starter] = [(); 3].map(|()| client(&mut scene));
    let hold = Request::Hold {
        container: container.clone(),
    };
    for link in [&attached, &waiting] {
        link.send(&hold, None).unwrap();
        turn(&mut scene);
        assert_eq!(event(link).0, Event::Done);
    }
    let attach = Request::Attach {
        container: container.clone(),
        input: false,
    };
    attached.send(&attach, None).unwrap();
    let until = Until::NextExit;
    let wait = Request::Wait {
        container: container.clone(),
        until,
    };
    waiting.send(&wait, None).unwrap();
    let start = Request::Start {
        container: container.clone(),
        attach: None,
        owner: false,
        require_jail: false,
    };
    starter.send(&start, None).unwrap();
    turn(&mut scene);
    assert_eq!(event(&starter).0, Event::Done);
    let streams = [event(&attached), event(&attached)];
    assert_eq!(event(&attached).0, Event::Done);
    let [(_, output), (_, errors)] = streams;
    let number = scene.keeper.number_of(&container).unwrap();
    assert_eq!(scene.stage(number), "starting");
    assert_eq!(record.state().unwrap().status.word(), "running");
    // The guest's end of the streams.
    let kept = scene.keeper.kept.get_mut(&number).unwrap();
    let stdio = kept.streams.stdio();
    // Others in the guest may flood the host with connections.
    assert!(stdio.stdout.unwrap().answered);
    let mut guests = [stdio.stdin, stdio.stdout, stdio.stderr].map(|port| {
        let (guest, ours) = UnixStream::pair().unwrap();
        assert!(kept.streams.connect(port.unwrap().number, ours).is_none());
        guest
    });
    guests[1].write_all(b"first byte").unwrap();
    let [_, started, exited, _] = news(&container);
    scene.says(&started);
    assert_eq!(event(&attached).0, Event::Started);
    assert_eq!(event(&starter).0, Event::Started);
    drop(guests);
    scene.says(&exited);
    turn(&mut scene);
    turn(&mut scene);
    let read = |stream: Option<std::os::fd::OwnedFd>| {
        let mut text = String::new();
        let mut stream = UnixStream::from(stream.unwrap());
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        text
    };
    assert_eq!(
        (read(output), read(errors)),
        ("first byte".into(), String::new())
    );
    for link in [&attached, &waiting, &starter] {
        assert!(matches!(event(link).0, Event::Exited(_)));
    }
}

/// A host that ends holds nothing any more, and its containers are as they were.
#[test]
fn host_that_ends_lets_go_of_what_it_holds() {
    let mut scene = Scene::new();
    let record = scene.container();
    let lock = record.keeper_lock().unwrap();
    let number = scene.keeper.hold(record.clone(), lock).unwrap();
    let (ours, theirs) = Socket::pair().unwrap();
    scene.keeper.add_client(theirs, Role::Holding { number });
    scene.keeper.lost(&anyhow::anyhow!("lost"));
    assert!(scene.keeper.kept.is_empty() && scene.keeper.over);
    let (event, _) = ours.receive::<Event>().unwrap().unwrap();
    assert!(matches!(event, Event::Failed { .. }), "{event:?}");
    assert!(ours.receive::<Event>().unwrap().is_none());
    assert!(record.try_lock().unwrap().is_some());
    assert_eq!(record.state().unwrap().status.word(), "created");
}
