use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::Instant,
};

use contracts::guest::Port;
use contracts::keeper::{Exit, Reason, Request, VERSION, Work};
use packets::Socket;
use rustix::io::ioctl_fionbio;

use super::*;
use crate::{
    keeper::{PIECE, execs::tests::keeper},
    state::{
        Directories,
        container::{Config, Containers, Status},
    },
};

const CONTAINER: &str = include_str!("../fuzzing/container.json");

/// A keeper that holds a container, and its clients.
struct Scene {
    keeper: Keeper,
    record: Container,
    clients: Vec<Socket>,
    /// What a client was told, with streams by their index.
    streams: Vec<(usize, u8, UnixStream)>,
    _directory: tempfile::TempDir,
}

impl Scene {
    /// One whose first client is the one that it was started by.
    fn new() -> Self {
        let (directory, mut keeper) = keeper();
        let path = directory.path();
        let directories = Directories {
            data: path.into(),
            cache: path.into(),
            runtime: path.into(),
        };
        let mut config: Config = serde_json::from_str(CONTAINER).unwrap();
        // Nothing boots here.
        config.kernel = Some(path.join("missing"));
        let record = Containers::new(&directories).create(config).unwrap();
        let lock = record.keeper_lock().unwrap();
        let number = keeper.hold(record.clone(), lock).unwrap();
        let (ours, theirs) = Socket::pair().unwrap();
        ioctl_fionbio(&ours, true).unwrap();
        keeper.add_client(theirs, Role::Holding { number });
        Self {
            keeper,
            record,
            clients: vec![ours],
            streams: Vec::new(),
            _directory: directory,
        }
    }

    fn id(&self) -> String {
        self.record.config.id.clone()
    }

    fn client(&mut self) -> usize {
        let (ours, theirs) = Socket::pair().unwrap();
        ioctl_fionbio(&ours, true).unwrap();
        self.keeper.add_client(theirs, Role::New);
        self.clients.push(ours);
        self.clients.len() - 1
    }

    /// Has the keeper do what there is to do.
    fn turn(&mut self) {
        let mut piece = vec![0; PIECE];
        for _ in 0..4 {
            if !self.keeper.over {
                self.keeper.turn(&mut piece, Some(Instant::now())).unwrap();
            }
        }
    }

    /// A client asks for something; what it is told.
    fn asks(&mut self, client: usize, request: &Request) -> Vec<Event> {
        self.clients[client].send(request, None).unwrap();
        self.turn();
        self.told(client)
    }

    fn told(&mut self, client: usize) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            match self.clients[client].receive::<Event>() {
                Ok(Some((Event::Stream { index }, Some(stream)))) => {
                    self.streams.push((client, index, stream.into()));
                }
                Ok(Some((event, _))) => all.push(event),
                Ok(None) => return all,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return all;
                }
            }
        }
    }

    fn attach(&mut self) -> usize {
        let client = self.client();
        let container = self.id();
        let input = true;
        let told = self.asks(client, &Request::Attach { container, input });
        assert_eq!(told, [Event::Done]);
        client
    }

    fn wait(&mut self, until: Until) -> (usize, Vec<Event>) {
        let client = self.client();
        let container = self.id();
        let told = self.asks(client, &Request::Wait { container, until });
        (client, told)
    }

    /// A client ends without a word.
    fn vanishes(&mut self, client: usize) {
        let (gone, _) = Socket::pair().unwrap();
        self.clients[client] = gone;
        self.streams.retain(|(own, _, _)| *own != client);
        self.turn();
    }

    /// What comes out of the container's standard input, when the guest connects to it.
    fn typed(&mut self) -> String {
        let kept = self.keeper.kept.values_mut().next().unwrap();
        let Port {
            number: port,
            answered,
            ..
        } = kept.streams.stdio().stdin.unwrap();
        // Nobody else is in its guest yet.
        assert!(!answered);
        let (mut guest, ours) = UnixStream::pair().unwrap();
        guest.set_nonblocking(true).unwrap();
        assert!(kept.streams.connect(port, ours).is_none());
        self.turn();
        let mut text = Vec::new();
        let _ = guest.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    }
}

fn exited(told: &[Event]) -> Option<u8> {
    match told {
        [Event::Exited(Exit { code, .. })] => Some(*code),
        _ => None,
    }
}

fn refused(told: &[Event]) -> &str {
    match told {
        [Event::Refused { message, .. }] => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn container_is_held_until_its_last_client_leaves() {
    let mut scene = Scene::new();
    let attached = scene.attach();
    let (waiting, told) = scene.wait(Until::NextExit);
    assert_eq!(told, []);
    scene.vanishes(0);
    scene.vanishes(attached);
    assert!(!scene.keeper.over && scene.keeper.socket.exists());
    scene.vanishes(waiting);
    assert!(scene.keeper.over && !scene.keeper.socket.exists());
    assert!(scene.record.try_lock().unwrap().is_some());
    assert_eq!(scene.record.state().unwrap().status, Status::Created);
}

#[test]
fn only_who_waits_for_no_running_container_is_answered_at_once() {
    let mut scene = Scene::new();
    assert_eq!(exited(&scene.wait(Until::NotRunning).1), Some(0));
    assert_eq!(scene.wait(Until::NextExit).1, []);
    assert_eq!(scene.wait(Until::Removed).1, []);
}

#[test]
fn what_needs_a_container_that_runs_is_refused() {
    let mut scene = Scene::new();
    let container = scene.id();
    let client = scene.client();
    let process = scene.record.config.spec.process.for_guest();
    let asked = [
        Request::Exec {
            container: container.clone(),
            work: Box::new(Work::Program(process)),
            input: false,
            output: true,
        },
        Request::Signal {
            container: container.clone(),
            signal: 9,
        },
        Request::Stop {
            container: container.clone(),
            signal: None,
            seconds: Some(0),
        },
        Request::Pause {
            container,
            paused: true,
        },
    ];
    for request in asked {
        let told = scene.asks(client, &request);
        assert!(refused(&told).contains("not running"), "{request:?}");
    }
    assert!(!scene.keeper.over);
}

#[test]
fn removal_is_told_to_all_who_hold_the_container() {
    let mut scene = Scene::new();
    let attached = scene.attach();
    let waiting = [Until::NextExit, Until::Removed].map(|until| scene.wait(until).0);
    let container = scene.id();
    let remover = scene.client();
    let told = scene.asks(remover, &Request::Release { container });
    assert_eq!(told, [Event::Done]);
    for client in waiting {
        assert_eq!(exited(&scene.told(client)), Some(0));
    }
    for client in [0, attached] {
        let told = scene.told(client);
        assert!(
            matches!(&told[..], [Event::Failed { message, code: 125 }] if message.contains("removed"))
        );
    }
    assert!(scene.keeper.over);
    assert!(scene.record.try_lock().unwrap().is_some());
}

#[test]
fn start_that_cannot_be_leaves_the_container_held() {
    let mut scene = Scene::new();
    let attached = scene.attach();
    let starter = scene.client();
    let start = Request::Start {
        container: scene.id(),
        attach: None,
        owner: false,
        require_jail: false,
    };
    let told = scene.asks(starter, &start);
    assert!(refused(&told).contains("kernel"), "{told:?}");
    assert_eq!(scene.told(attached), []);
    // Nor when it cannot be taken over.
    scene.record.config.kernel = None;
    let number = *scene.keeper.kept.keys().next().unwrap();
    std::fs::create_dir(scene.record.directory().join("log")).unwrap();
    assert!(scene.keeper.begin(number).is_err());
    assert!(scene.keeper.is_held(number));
    let state = scene.record.state().unwrap();
    assert_eq!((state.status, state.keeper), (Status::Created, 0));
    std::fs::remove_dir(scene.record.directory().join("log")).unwrap();
    scene.keeper.begin(number).unwrap();
    assert_eq!(scene.record.state().unwrap().status, Status::Running);
    assert_eq!(scene.record.state().unwrap().wire, VERSION);
    // A second one comes too late, and so does a removal.
    assert!(refused(&scene.asks(starter, &start)).contains("running already"));
    let container = scene.id();
    let told = scene.asks(starter, &Request::Release { container });
    assert!(refused(&told).contains("running"));
}

/// Whoever began to hold it may not have asked for that.
#[test]
fn start_that_wants_all_of_the_jail_gets_it_of_a_keeper_that_did_not() {
    let mut scene = Scene::new();
    let starter = scene.client();
    for require_jail in [true, false] {
        let start = Request::Start {
            container: scene.id(),
            attach: None,
            owner: false,
            require_jail,
        };
        let told = scene.asks(starter, &start);
        assert!(refused(&told).contains("kernel"), "{told:?}");
        assert!(scene.keeper.require_jail);
    }
}

/// A front of another kind may not have seen to the kernel.
#[test]
fn keeper_builds_no_kernel() {
    let mut scene = Scene::new();
    let mut config = scene.record.config.clone();
    config.kernel = None;
    let text = serde_json::to_vec(&config).unwrap();
    std::fs::write(scene.record.directory().join("config.json"), text).unwrap();
    // Nor can one be built here.
    scene.keeper.directories.cache = scene.record.directory().join("config.json");
    let start = Request::Start {
        container: scene.id(),
        attach: None,
        owner: false,
        require_jail: false,
    };
    let starter = scene.client();
    match &scene.asks(starter, &start)[..] {
        [Event::Refused { message, reason }] => {
            assert_eq!(*reason, Reason::Unavailable);
            assert!(message.contains("coracle kernel build"), "{message}");
        }
        other => panic!("not refused: {other:?}"),
    }
    let number = *scene.keeper.kept.keys().next().unwrap();
    assert!(scene.keeper.is_held(number));
}

#[test]
fn renamed_container_starts_by_its_new_name() {
    let mut scene = Scene::new();
    let containers = scene.keeper.containers.clone();
    containers.rename(&mut scene.record, "other").unwrap();
    let number = *scene.keeper.kept.keys().next().unwrap();
    assert!(scene.keeper.start_held(number).is_err());
    assert_eq!(scene.keeper.kept[&number].record.config.name, "other");
}

#[test]
fn what_a_client_typed_that_vanished_before_the_start_is_forgotten() {
    let mut scene = Scene::new();
    let first = scene.attach();
    let input = |scene: &Scene, client: usize| {
        let all = scene.streams.iter();
        all.clone()
            .find(|(own, index, _)| *own == client && *index == 0)
            .map(|(_, _, stream)| stream.try_clone().unwrap())
            .unwrap()
    };
    input(&scene, first).write_all(b"gone").unwrap();
    scene.turn();
    scene.vanishes(first);
    let second = scene.attach();
    let mut typing = input(&scene, second);
    typing.write_all(b"typed").unwrap();
    typing.shutdown(std::net::Shutdown::Write).unwrap();
    scene.turn();
    assert_eq!(scene.typed(), "typed");
}

#[test]
fn earlier_clients_are_understood_and_later_ones_are_told_what_to_do() {
    let mut scene = Scene::new();
    let container = scene.id();
    // As a command of the first releases says it, which knew of no versions.
    let bare = scene.client();
    let wait = format!(r#"{{"wait":{{"container":"{container}"}}}}"#);
    rustix::io::write(&scene.clients[bare], wait.as_bytes()).unwrap();
    scene.turn();
    assert_eq!(exited(&scene.told(bare)), Some(0));
    let own = scene.client();
    let version = VERSION;
    assert_eq!(scene.asks(own, &Request::Hello { version }), []);
    let until = Until::NotRunning;
    let wait = Request::Wait { container, until };
    assert_eq!(exited(&scene.asks(own, &wait)), Some(0));
    let later = scene.client();
    let version = VERSION + 1;
    let told = scene.asks(later, &Request::Hello { version });
    assert!(refused(&told).contains("earlier release"), "{told:?}");
    assert_eq!(scene.asks(later, &wait), []);
}
