use std::{io::Write, os::unix::net::UnixStream, time::Duration};

use contracts::guest::{ExitStatus, FailureKind, GuestMessage, Port, frame};
use contracts::keeper::{ExecState, Exit, Reason};
use packets::Socket;

use super::*;
use crate::host;
use crate::keeper::{
    Machine, client,
    execs::{
        MAX_EXECS, NO_OUTPUT,
        tests::{keeper, running},
    },
};
use crate::state::{
    Directories,
    container::{Config, Containers, Status},
};

const CONTAINER: &str = include_str!("../fuzzing/container.json");

/// In the environment of each program here.
const SECRET: &str = "swordfish";

/// A keeper whose container runs, and the other ends of what it is connected to.
struct Scene {
    keeper: Keeper,
    number: Number,
    container: String,
    guest: UnixStream,
    decoder: frame::Decoder,
    _monitor: Socket,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (directory, mut keeper) = keeper();
        let path = directory.path();
        let directories = Directories {
            data: path.into(),
            cache: path.into(),
            runtime: path.into(),
        };
        let config: Config = serde_json::from_str(CONTAINER).unwrap();
        let record = Containers::new(&directories).create(config).unwrap();
        let lock = record.keeper_lock().unwrap();
        let container = record.config.id.clone();
        let number = keeper.take(record, lock).unwrap();
        keeper.kept.get_mut(&number).unwrap().life.runs();
        let (monitor, control) = Socket::pair().unwrap();
        let (guest, channel) = UnixStream::pair().unwrap();
        guest.set_nonblocking(true).unwrap();
        let mut machine = Machine::new(host::Host::at(control), Duration::from_secs(10));
        assert!(machine.connect(channel) && machine.greet());
        keeper.machine = Some(machine);
        Self {
            keeper,
            number,
            container,
            guest,
            decoder: frame::Decoder::default(),
            _monitor: monitor,
            _directory: directory,
        }
    }

    /// A client that has asked for something.
    fn asks(&mut self, request: Request) -> Socket {
        let (ours, theirs) = Socket::pair().unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let client = self.keeper.add_client(theirs, Role::New);
        ours.send(&request, None).unwrap();
        self.keeper.hear(client);
        ours
    }

    /// The same, and what it is told at once.
    fn told(&mut self, request: Request) -> Event {
        let link = self.asks(request);
        event(&link).unwrap()
    }

    fn create(&mut self, streams: ExecStreams) -> String {
        let kept = &self.keeper.kept[&self.number];
        let mut process = kept.record.config.spec.process.for_guest();
        process.env.push(format!("PASSWORD={SECRET}"));
        let created = self.told(Request::ExecCreate {
            container: self.container.clone(),
            process: Box::new(process),
            streams,
        });
        let Event::ExecCreated { exec } = created else {
            panic!("not created: {created:?}");
        };
        exec
    }

    fn start(&mut self, exec: &str, detach: bool) -> Socket {
        let exec = exec.to_owned();
        self.asks(Request::ExecStart {
            exec,
            detach,
            size: None,
        })
    }

    fn inspect(&mut self, exec: &str) -> ExecState {
        let exec = exec.to_owned();
        match self.told(Request::ExecInspect { exec }) {
            Event::ExecState(state) => *state,
            other => panic!("no state: {other:?}"),
        }
    }

    /// What the guest was told last to run, with its ports.
    fn asked(&mut self) -> (String, [Option<Port>; 3]) {
        let mut piece = [0; 1 << 16];
        while let Ok(length @ 1..) = std::io::Read::read(&mut self.guest, &mut piece) {
            self.decoder.push(&piece[..length]);
        }
        let mut last = None;
        while let Some(message) = self.decoder.next_message::<HostMessage>().unwrap() {
            if let HostMessage::Exec { id, stdio, .. } = message {
                last = Some((id, [stdio.stdin, stdio.stdout, stdio.stderr]));
            }
        }
        last.unwrap()
    }

    fn says(&mut self, message: &GuestMessage) {
        let frame = frame::encode(message).unwrap();
        self.guest.write_all(&frame).unwrap();
        self.keeper.guest_messages();
    }

    fn started(&mut self, exec: &str) {
        let id = exec.to_owned();
        self.says(&GuestMessage::Started { id, pid: 9, at: 1 });
    }

    fn exited(&mut self, exec: &str, code: u8) {
        self.says(&GuestMessage::Exited {
            id: exec.to_owned(),
            status: ExitStatus::Code(code),
            oom: false,
            damaged: false,
            at: 1,
        });
    }
}

fn event(link: &Socket) -> Option<Event> {
    link.receive::<Event>()
        .ok()
        .flatten()
        .map(|(event, _)| event)
}

fn reason(event: &Event) -> Reason {
    match event {
        Event::Refused { reason, .. } => *reason,
        other => panic!("not refused: {other:?}"),
    }
}

const OUTPUT: ExecStreams = ExecStreams {
    stdin: false,
    stdout: true,
    stderr: false,
};

#[test]
fn end_is_known_before_it_is_told() {
    let mut scene = Scene::new();
    let exec = scene.create(OUTPUT);
    assert_eq!(exec[..32], scene.container[..32]);
    let link = scene.start(&exec, false);
    let (id, ports) = scene.asked();
    assert_eq!(id, exec);
    assert_eq!(ports.map(|port| port.is_some()), [false, true, false]);
    scene.started(&exec);
    assert_eq!(event(&link), Some(Event::Started));
    let running = scene.inspect(&exec);
    assert_eq!((running.running, running.exit_code), (true, None));
    assert_eq!((running.pid, &running.container), (9, &scene.container));
    // Its output is still to come, and so nobody is told yet.
    scene.exited(&exec, 7);
    assert_eq!(event(&link), None);
    let ended = scene.inspect(&exec);
    assert_eq!((ended.running, ended.exit_code), (false, Some(7)));
    let (_guest, stream) = UnixStream::pair().unwrap();
    scene.keeper.connect_exec(ports[1].unwrap().number, &stream);
    assert_eq!(event(&link), Some(Event::Stream { index: 1 }));
    assert!(matches!(
        event(&link),
        Some(Event::Exited(Exit { code: 7, .. }))
    ));
}

/// A guest that lies: its programs end well, and what they wrote is nowhere.
#[test]
fn program_whose_output_is_lost_has_not_ended_well() {
    let lost =
        |state: &ExecState| (state.exit_code, state.error.as_str()) == (Some(125), NO_OUTPUT);
    let mut scene = Scene::new();
    let [late, last] = [(); 2].map(|()| {
        let exec = scene.create(OUTPUT);
        let link = scene.start(&exec, false);
        scene.started(&exec);
        assert_eq!(event(&link), Some(Event::Started));
        scene.exited(&exec, 0);
        (exec, link)
    });
    // One is waited for long enough, and the guest goes before that has become of the other.
    scene.keeper.give_up_streams(&late.0);
    assert!(matches!(
        event(&late.1),
        Some(Event::Failed { code: 125, .. })
    ));
    assert!(lost(&scene.inspect(&late.0)));
    assert_eq!(event(&last.1), None);
    scene.keeper.force(scene.number);
    scene.keeper.settle();
    assert!(matches!(
        event(&last.1),
        Some(Event::Failed { code: 125, .. })
    ));
    for exec in [&late.0, &last.0] {
        assert!(lost(
            &client::exec_inspect(exec, &scene.keeper.directories).unwrap()
        ));
    }
}

#[test]
fn program_that_cannot_be_started_has_dockers_code_and_its_error() {
    let mut scene = Scene::new();
    for (kind, code) in [
        (FailureKind::NotFound, 127),
        (FailureKind::NotExecutable, 126),
    ] {
        let exec = scene.create(OUTPUT);
        let link = scene.start(&exec, false);
        scene.says(&GuestMessage::Failed {
            id: exec.clone(),
            kind,
            message: "no such program".into(),
        });
        let told = event(&link).unwrap();
        assert!(matches!(told, Event::Failed { code: own, .. } if own == code));
        let state = scene.inspect(&exec);
        assert_eq!(state.exit_code, Some(code));
        assert_eq!(state.error, "no such program");
    }
}

#[test]
fn second_start_is_refused_and_so_is_what_needs_one_that_runs() {
    let mut scene = Scene::new();
    let exec = scene.create(ExecStreams::default());
    let size = TerminalSize {
        rows: 1,
        columns: 1,
    };
    let resize = |exec: &str| Request::ExecResize {
        exec: exec.to_owned(),
        size,
    };
    assert_eq!(reason(&scene.told(resize(&exec))), Reason::Conflict);
    let link = scene.start(&exec, true);
    scene.started(&exec);
    assert_eq!(event(&link), Some(Event::Started));
    assert_eq!(scene.told(resize(&exec)), Event::Done);
    for code in [None, Some(0)] {
        let again = scene.start(&exec, false);
        assert_eq!(reason(&event(&again).unwrap()), Reason::Conflict);
        if code.is_none() {
            scene.exited(&exec, 0);
        }
    }
    let unknown = scene.start(&"f".repeat(64), false);
    assert_eq!(reason(&event(&unknown).unwrap()), Reason::NotFound);
}

#[test]
fn detached_program_goes_on_without_its_client_and_its_end_is_known() {
    let mut scene = Scene::new();
    let exec = scene.create(OUTPUT);
    let container = scene.container.clone();
    let execs = |scene: &mut Scene| match scene.told(Request::Execs {
        container: container.clone(),
    }) {
        Event::Execs { execs } => execs,
        other => panic!("no list: {other:?}"),
    };
    assert_eq!(execs(&mut scene), std::slice::from_ref(&exec));
    let link = scene.start(&exec, true);
    assert_eq!(scene.asked().1, [None; 3]);
    drop(link);
    let last = *scene.keeper.clients.keys().last().unwrap();
    scene.keeper.hear(last);
    scene.started(&exec);
    scene.exited(&exec, 3);
    assert_eq!(scene.inspect(&exec).exit_code, Some(3));
    assert_eq!(execs(&mut scene), Vec::<String>::new());
}

#[test]
fn container_that_is_paused_or_has_ended_has_no_execs() {
    let mut scene = Scene::new();
    let exec = scene.create(OUTPUT);
    let kept = scene.keeper.kept.get_mut(&scene.number).unwrap();
    kept.state.status = Status::Paused;
    let start = scene.start(&exec, false);
    assert_eq!(reason(&event(&start).unwrap()), Reason::Conflict);
    let kept = scene.keeper.kept.get_mut(&scene.number).unwrap();
    kept.state.status = Status::Running;
    // It was not used up.
    let start = scene.start(&exec, false);
    assert_eq!(event(&start), None);
    scene.keeper.force(scene.number);
    scene.keeper.settle();
    let gone = scene.told(Request::ExecInspect { exec });
    assert_eq!(reason(&gone), Reason::NotFound);
}

/// Docker's command sees the end of the streams, and asks for the exit code then.
#[test]
fn program_that_ends_with_its_container_is_known_to_have_been_killed() {
    // By the machine's end, and by that of a container whose machine stays.
    for guest_stays in [false, true] {
        let mut scene = Scene::new();
        let [over, running, created] = [(); 3].map(|()| scene.create(OUTPUT));
        let link = scene.start(&over, true);
        scene.started(&over);
        scene.exited(&over, 3);
        drop(link);
        let link = scene.start(&running, true);
        scene.started(&running);
        assert_eq!(event(&link), Some(Event::Started));
        let record = scene.keeper.kept[&scene.number].record.clone();
        let directories = scene.keeper.directories.clone();
        if guest_stays {
            scene.keeper.end_sessions(scene.number);
        } else {
            scene.keeper.force(scene.number);
            scene.keeper.settle();
            let told = event(&link).unwrap();
            assert!(
                matches!(told, Event::Exited(Exit { code: 137, .. })),
                "{told:?}"
            );
        }
        drop(scene.keeper.kept.remove(&scene.number));
        let written = std::fs::read_to_string(record.directory().join("execs.json")).unwrap();
        assert!(!written.contains(SECRET), "{written}");
        for (exec, code) in [(&over, 3), (&running, 137)] {
            let state = client::exec_inspect(exec, &directories).unwrap();
            assert_eq!((state.running, state.exit_code), (false, Some(code)));
            assert_eq!(state.container, record.config.id);
        }
        let unknown = client::exec_inspect(&created, &directories).unwrap_err();
        assert_eq!(unknown.kind(), crate::ErrorKind::NotFound);
        let containers = Containers::new(&directories);
        let lock = record.keeper_lock().unwrap();
        containers.remove(&record, &lock).unwrap();
        let after = client::exec_inspect(&running, &directories).unwrap();
        assert_eq!(after.exit_code, Some(137));
        let events = std::fs::read_to_string(directories.data.join("containers/events")).unwrap();
        let died = events.lines().filter(|line| line.contains("exec_die"));
        assert_eq!(died.count(), 2, "{events}");
    }
}

/// Docker's clients are told so by a status of its own.
#[test]
fn what_a_containers_state_does_not_allow_is_a_conflict() {
    let mut scene = Scene::new();
    let container = scene.container.clone();
    for (status, paused) in [(Status::Paused, true), (Status::Running, false)] {
        let kept = scene.keeper.kept.get_mut(&scene.number).unwrap();
        kept.state.status = status;
        let told = scene.told(Request::Pause {
            container: container.clone(),
            paused,
        });
        assert_eq!(reason(&told), Reason::Conflict, "{told:?}");
    }
    let stdio = contracts::guest::Stdio::default();
    for number in 0..MAX_EXECS {
        let one = running(&number.to_string(), 0, stdio);
        scene.keeper.execs.push(one);
    }
    let exec = scene.create(OUTPUT);
    let link = scene.start(&exec, false);
    assert_eq!(reason(&event(&link).unwrap()), Reason::Conflict);
    // It was not used up.
    assert_eq!(scene.inspect(&exec).exit_code, None);
    assert!(!scene.inspect(&exec).running);
}

/// A keeper of today says why by a kind, and one of before did not.
#[test]
fn refusal_without_a_reason_is_understood() {
    let event: Event = serde_json::from_str(r#"{"refused":{"message":"no"}}"#).unwrap();
    assert_eq!(reason(&event), Reason::Internal);
    let later = r#"{"refused":{"message":"no","reason":"moon"}}"#;
    let event: Event = serde_json::from_str(later).unwrap();
    assert_eq!(reason(&event), Reason::Internal);
}
