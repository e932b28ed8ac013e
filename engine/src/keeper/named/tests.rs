use std::{io::Write, os::unix::net::UnixStream, time::Duration};

use coracle_protocol::{FailureKind, GuestMessage, frame};
use tempfile::TempDir;

use super::{
    super::{Machine, phase::Phase},
    *,
};
use crate::Guest;
use crate::host;
use crate::state::{
    MachineMode,
    container::{Config, Container, Containers, Restart},
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
        keeper.named = Some(Named {
            state: record.state().unwrap(),
            _lock: record.keeper_lock().unwrap(),
            record,
            shelf: Shelf::default(),
            deadline: None,
            ends: false,
            late_news: 0,
        });
        let (monitor, control) = Socket::pair().unwrap();
        let (guest, channel) = UnixStream::pair().unwrap();
        keeper.machine = Some(Machine {
            host: host::Host::at(control),
            guest: Some(Guest::new(channel)),
            connected: true,
            greeted: true,
            start_timeout: Duration::from_secs(10),
        });
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
        self.containers.create(config).unwrap()
    }

    /// A container that runs.
    fn run(&mut self) -> u32 {
        let record = self.container();
        let lock = record.keeper_lock().unwrap();
        let number = self.keeper.take(record, lock).unwrap();
        let kept = self.keeper.kept.get_mut(&number).unwrap();
        kept.phase = Phase::Running;
        kept.state.pid = 7;
        number
    }

    fn phase(&self, number: u32) -> &Phase {
        &self.keeper.kept[&number].phase
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
            status: coracle_protocol::ExitStatus::Signal(9),
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
    scene.keeper.settle().unwrap();
    assert!(matches!(scene.phase(number), Phase::Waiting));
    let id = scene.keeper.kept[&number].record.config.id.clone();
    for message in news(&id) {
        scene.says(&message);
        assert!(scene.keeper.guest().is_some(), "{message:?}");
        assert!(matches!(scene.phase(number), Phase::Waiting));
    }
    scene.keeper.open_streams(number).unwrap();
    for message in news(&id) {
        scene.says(&message);
        assert!(scene.keeper.guest().is_some(), "{message:?}");
        assert!(matches!(scene.phase(number), Phase::Booting(_)));
    }
    // Its spec was sent, and this is what was left of its earlier start.
    scene.keeper.kept.get_mut(&number).unwrap().phase = Phase::Starting;
    let [memory, _, exited, _] = news(&id);
    for message in [memory, exited.clone()] {
        scene.says(&message);
        assert!(scene.keeper.guest().is_some(), "{message:?}");
        assert!(matches!(scene.phase(number), Phase::Starting));
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
    scene.keeper.settle().unwrap();
    let record = scene.keeper.kept[&number].record.clone();
    let log = record.directory().join("log");
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    scene.keeper.start_again(number).unwrap();
    scene.keeper.settle().unwrap();
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
