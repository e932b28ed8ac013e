//! A keeper whose monitor, guest and clients say anything in any order: nothing of it makes the keeper wait or
//! fail, every client that waits is told of one end, and no container has ended well unless its guest said so.

use std::{
    io::{ErrorKind, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use contracts::guest::{
    CONTROL_PORT, ExitStatus, FailureKind, GuestMessage, HostMessage, SECRET_BYTES, Stdio,
    TerminalSize, Tool, VERSION,
    frame::{self, Decoder},
};
use contracts::keeper::{self as wire, Event, Request, Until, Work};
use contracts::monitor::{FromMonitor, Place, Report, StopReason, ToMonitor};
use packets::Socket;
use rustix::{
    io::ioctl_fionbio,
    net::{Shutdown, shutdown},
};

use super::{Keeper, Machine, PIECE, clients::Role};
use crate::host::Host;
use crate::state::{
    Directories,
    container::{Config, Containers, Status},
};
use coracle_platform::fuzzing::Input;
use coracle_platform::sys::Signals;

/// The container that is looked after.
const CONTAINER: &str = include_str!("container.json");

/// Connections of a scene, of clients and of the guest, at most.
const MOST: usize = 32;

/// A command that is connected.
struct Caller {
    socket: Socket,
    /// How often it has asked for something that is answered by an end.
    asked: usize,
    ends: usize,
    /// The ID of what it has created to run beside.
    exec: String,
}

impl Caller {
    /// Takes what it is told.
    fn hear(&mut self) {
        while let Ok(Some((event, _))) = self.socket.receive::<Event>() {
            if let Event::ExecCreated { exec } = &event {
                self.exec.clone_from(exec);
            }
            self.ends += usize::from(matches!(event, Event::Exited(_) | Event::Failed { .. }));
        }
        assert!(
            self.ends <= self.asked,
            "told of an end that nobody asked for"
        );
    }
}

/// The guest's end of its control channel, and what it was told there.
#[derive(Default)]
struct Channel {
    stream: Option<UnixStream>,
    decoder: Decoder,
    /// Whom it may speak of: the container, and what runs beside it.
    names: Vec<String>,
    /// Streams that it was told to connect.
    promised: Vec<Stdio>,
}

impl Channel {
    fn hear(&mut self) {
        let mut piece = [0; 4096];
        while let Some(stream) = &mut self.stream
            && let Ok(length @ 1..) = stream.read(&mut piece)
        {
            self.decoder.push(piece.get(..length).unwrap_or_default());
        }
        while let Some(message) = self.decoder.next_message().expect("the keeper's own words") {
            match message {
                HostMessage::Run(spec) => self.promised.push(spec.stdio),
                HostMessage::Exec { id, stdio, .. } => {
                    self.names.push(id);
                    self.promised.push(stdio);
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, message: &GuestMessage) {
        if let Some(stream) = &mut self.stream {
            let frame = frame::encode(message).expect("a message can be written");
            // One that is full, or that the keeper has closed, takes no more.
            let _ = stream.write(&frame);
        }
    }
}

struct Scene {
    input: Input,
    keeper: Keeper,
    config: Config,
    monitor: Option<Socket>,
    guest: Channel,
    streams: Vec<UnixStream>,
    callers: Vec<Caller>,
    /// The guest has said, in this order: hello, that the container runs, that it ended with 0.
    said: [bool; 3],
    piece: Vec<u8>,
}

/// Plays an input to its end, and then to the end of the container; gives how that ended.
pub fn play(bytes: &[u8]) -> (Status, i32) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let directories = Directories {
        data: directory.path().into(),
        cache: directory.path().into(),
        runtime: directory.path().into(),
    };
    let config: Config = serde_json::from_str(CONTAINER).expect("a container's configuration");
    let container = Containers::new(&directories).create(config.clone());
    let container = container.expect("a container can be made");
    let signals = Signals::new(&[]).expect("signals can be taken");
    let socket = directory.path().join("socket");
    let keeper = Keeper::new(&directories, socket, signals).expect("a keeper can be made");
    let (monitor, control) = Socket::pair().expect("a socket can be made");
    let obeying = obey(&monitor);
    let mut scene = Scene {
        input: Input::new(bytes),
        keeper,
        monitor: Some(monitor),
        guest: Channel {
            names: vec![config.id.clone()],
            ..Channel::default()
        },
        config,
        streams: Vec::new(),
        callers: Vec::new(),
        said: [false; 3],
        piece: vec![0; PIECE],
    };
    let lock = container.keeper_lock().expect("a lock can be taken");
    let number = scene.keeper.take(container.clone(), lock);
    let number = number.expect("a container can be taken over");
    scene.keeper.machine = Some(Machine {
        host: Host::at(control),
        guest: None,
        connected: false,
        greeted: false,
        start_timeout: Duration::from_secs(10),
    });
    scene.call(Role::Attached {
        number,
        owner: true,
    });
    while !scene.keeper.over && scene.step().is_some() {
        scene.turn();
    }
    scene.end();
    let ran = scene.said == [true; 3];
    drop(scene);
    obeying.join().expect("the monitor's thread ends");
    let state = container.state().expect("its state can be read");
    assert!(
        matches!(state.status, Status::Exited | Status::Created),
        "{:?}",
        state.status
    );
    assert!(
        state.status != Status::Exited || state.exit_code != 0 || ran,
        "it ended well, and nobody said so"
    );
    (state.status, state.exit_code)
}

/// Plays an input to a keeper that holds a container which does not run, and never can; gives its state.
pub(crate) fn play_held(bytes: &[u8]) -> Status {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let directories = Directories {
        data: directory.path().into(),
        cache: directory.path().into(),
        runtime: directory.path().into(),
    };
    let mut config: Config = serde_json::from_str(CONTAINER).expect("a container's configuration");
    config.kernel = Some(directory.path().join("missing"));
    let container = Containers::new(&directories).create(config.clone());
    let container = container.expect("a container can be made");
    let signals = Signals::new(&[]).expect("signals can be taken");
    let socket = directory.path().join("socket");
    let keeper = Keeper::new(&directories, socket, signals).expect("a keeper can be made");
    let mut scene = Scene {
        input: Input::new(bytes),
        keeper,
        monitor: None,
        guest: Channel::default(),
        config,
        streams: Vec::new(),
        callers: Vec::new(),
        said: [false; 3],
        piece: vec![0; PIECE],
    };
    let lock = container.keeper_lock().expect("a lock can be taken");
    let number = scene.keeper.hold(container.clone(), lock);
    let number = number.expect("a container can be held");
    scene.call(Role::Holding { number });
    while !scene.keeper.over && scene.step().is_some() {
        scene.turn();
    }
    scene.callers.clear();
    // Each turn takes one of the packets that they had sent.
    for _ in 0..=bytes.len() {
        if !scene.keeper.over {
            scene.turn();
        }
    }
    assert!(scene.keeper.over, "a keeper holds what nobody wants");
    container.state().expect("its state can be read").status
}

/// A monitor that stops when it is told to, whatever else is said in its name.
fn obey(monitor: &Socket) -> thread::JoinHandle<()> {
    let own = monitor.as_fd().try_clone_to_owned();
    let own = Socket::from(own.expect("a descriptor is left"));
    thread::spawn(move || {
        while let Ok(Some((message, _))) = own.receive::<ToMonitor>() {
            if message == ToMonitor::Stop {
                let _ = own.send(&FromMonitor::Stopped(report(0)), None);
                return;
            }
        }
    })
}

fn report(reason: u8) -> Report {
    Report {
        reason: match reason % 5 {
            0 => StopReason::Asked,
            1 => StopReason::GuestReset,
            2 => StopReason::TripleFault,
            3 => StopReason::BootDeadline,
            _ => StopReason::Failed("words".into()),
        },
        console: "console".into(),
        timeline: vec![("step".into(), u64::MAX)],
        failures: vec!["failure".into()],
    }
}

impl Scene {
    /// Has the keeper go on with what is ready.
    fn turn(&mut self) {
        let now = Some(Instant::now());
        let turned = self.keeper.turn(&mut self.piece, now);
        turned.expect("a keeper fails for nobody's words");
        self.guest.hear();
        for caller in &mut self.callers {
            caller.hear();
        }
    }

    /// Does one thing; `None` at the end of the input.
    fn step(&mut self) -> Option<()> {
        match self.input.below(10)? {
            0 => self.monitor_says()?,
            1..=3 => self.guest_says()?,
            4 => self.connect()?,
            5 => {
                let byte = self.input.byte()?;
                let count = self.streams.len().max(1);
                let chosen = usize::from(byte) % count;
                if byte >= 128 && chosen < self.streams.len() {
                    self.streams.swap_remove(chosen);
                } else if let Some(stream) = self.streams.get_mut(chosen) {
                    let _ = stream.write(b"output\n");
                }
            }
            6 | 7 => self.client_asks()?,
            8 => {
                let count = self.callers.len().max(1);
                let chosen = self.input.below(count)?;
                if chosen < self.callers.len() {
                    self.callers.swap_remove(chosen);
                }
            }
            _ => self.time_passes(),
        }
        Some(())
    }

    /// All that is due some time is due now.
    fn time_passes(&mut self) {
        let now = Instant::now();
        for kept in self.keeper.kept.values_mut() {
            kept.life.hurry(now);
        }
    }

    fn monitor_says(&mut self) -> Option<()> {
        let what = self.input.byte()?;
        let Some(monitor) = &self.monitor else {
            return Some(());
        };
        let place = Place {
            disk: 0,
            start: 0,
            length: 4096,
        };
        let message = match what % 8 {
            0..=4 => {
                let (ours, theirs) = UnixStream::pair().ok()?;
                ours.set_nonblocking(true).ok()?;
                let port = CONTROL_PORT;
                let told = monitor.send(
                    &FromMonitor::Connection { port, walls: None },
                    Some(theirs.as_fd()),
                );
                if told.is_ok() && self.guest.stream.is_none() {
                    self.guest.stream = Some(ours);
                }
                return Some(());
            }
            5 => FromMonitor::Extent {
                place,
                refused: None,
            },
            6 => FromMonitor::Stopped(report(what / 8)),
            // Of a connection, without its stream.
            _ if what < 128 => FromMonitor::Connection {
                port: 7,
                walls: None,
            },
            _ => {
                // For the thread that obeys, too.
                let _ = shutdown(monitor, Shutdown::Both);
                self.monitor = None;
                return Some(());
            }
        };
        let _ = monitor.send(&message, None);
        Some(())
    }

    fn guest_says(&mut self) -> Option<()> {
        let what = self.input.below(12)?;
        let count = self.guest.names.len();
        let chosen = self.input.below(count + 1)?;
        let of_container = chosen == 0;
        let id = self.guest.names.get(chosen).cloned();
        let id = id.unwrap_or_else(|| "f".repeat(64));
        let at = u64::from(self.input.byte()?);
        let message = match what {
            0..=2 => {
                self.said[0] = true;
                GuestMessage::Hello {
                    version: if at == 255 { 0 } else { VERSION },
                    kernel: "\u{1b}[2J6.12".into(),
                    init_at: at,
                    at: at * 2,
                }
            }
            3..=5 => {
                self.said[1] |= of_container && self.said[0];
                GuestMessage::Started { id, pid: 1, at }
            }
            6..=8 => {
                let code = u8::try_from(at % 2).unwrap_or_default();
                self.said[2] |= of_container && self.said[1] && code == 0;
                let status = match at {
                    200.. => ExitStatus::Signal(9),
                    _ => ExitStatus::Code(code),
                };
                GuestMessage::Exited {
                    id,
                    status,
                    oom: at % 3 == 0,
                    damaged: at % 5 == 0,
                    at,
                }
            }
            9 => GuestMessage::Failed {
                id,
                kind: FailureKind::NotFound,
                message: "\u{1b}]0;title\u{7}".into(),
            },
            10 => GuestMessage::Forgotten {
                disk: 0,
                partition: 1,
                gone: at % 2 == 0,
            },
            _ => {
                let length = self.input.byte()?;
                let bytes = self.input.piece(length.into());
                if bytes.is_empty() {
                    self.guest.stream = None;
                } else if let Some(stream) = &mut self.guest.stream {
                    let _ = stream.write(&bytes);
                }
                return Some(());
            }
        };
        self.guest.say(&message);
        Some(())
    }

    /// A stream of the guest's, with a proof or without.
    fn connect(&mut self) -> Option<()> {
        let which = self.input.byte()?;
        let count = self.guest.promised.len().max(1);
        let chosen = usize::from(which >> 3) % count;
        let (Some(stdio), Some(monitor)) = (self.guest.promised.get(chosen), &self.monitor) else {
            return Some(());
        };
        let ports = [stdio.stdin, stdio.stdout, stdio.stderr];
        let Some(Some(port)) = ports.get(usize::from(which % 3)) else {
            return Some(());
        };
        if self.streams.len() >= MOST {
            return Some(());
        }
        let (mut ours, theirs) = UnixStream::pair().ok()?;
        ours.set_nonblocking(true).ok()?;
        let secret = match which & 4 {
            0 => *port.secret.bytes(),
            _ => [which; SECRET_BYTES],
        };
        let _ = ours.write(&secret);
        let port = port.number;
        let _ = monitor.send(
            &FromMonitor::Connection { port, walls: None },
            Some(theirs.as_fd()),
        );
        self.streams.push(ours);
        Some(())
    }

    /// One more client.
    fn call(&mut self, role: Role) {
        let (ours, theirs) = Socket::pair().expect("a socket can be made");
        ioctl_fionbio(&ours, true).expect("a socket can be set");
        self.keeper.add_client(theirs, role);
        self.callers.push(Caller {
            socket: ours,
            asked: usize::from(role != Role::New),
            ends: 0,
            exec: String::new(),
        });
    }

    fn client_asks(&mut self) -> Option<()> {
        let count = self.callers.len();
        let chosen = self.input.below(count + 1)?;
        let what = self.input.below(22)?;
        let byte = self.input.byte()?;
        if chosen == count {
            if count < MOST {
                self.call(Role::New);
            }
            return Some(());
        }
        let caller = self.callers.get_mut(chosen)?;
        let container = self.config.id.clone();
        let flag = byte % 2 == 0;
        let request = match what {
            0 => Request::Attach {
                container,
                input: flag,
            },
            1..=2 => Request::Exec {
                container,
                work: Box::new(Work::Program(self.config.spec.process.for_guest())),
                input: flag,
                output: byte % 3 == 0,
            },
            3 => Request::Exec {
                container,
                work: Box::new(Work::Tool(Tool::Freeze(flag))),
                input: false,
                output: flag,
            },
            4 => Request::Forward { signal: byte },
            5 => Request::End {
                signal: flag.then_some(byte),
            },
            6 => Request::Resize {
                size: TerminalSize {
                    rows: byte.into(),
                    columns: 0,
                },
            },
            7 => Request::Signal {
                container,
                signal: byte,
            },
            8 => Request::Stop {
                container,
                signal: flag.then_some(byte),
                seconds: Some(byte.into()),
            },
            9 => Request::Wait {
                container,
                until: match byte % 3 {
                    0 => Until::NotRunning,
                    1 => Until::NextExit,
                    _ => Until::Removed,
                },
            },
            10 => Request::Pause {
                container,
                paused: flag,
            },
            11 => Request::StopHost { seconds: None },
            12 => Request::Start {
                container,
                attach: flag.then_some(flag),
                owner: flag,
            },
            13 => Request::Hello {
                version: u16::from(byte) % (wire::VERSION + 2),
            },
            14 => Request::Hold { container },
            15 => Request::Release { container },
            16 => Request::ExecCreate {
                container,
                process: Box::new(self.config.spec.process.for_guest()),
                streams: wire::ExecStreams {
                    stdin: flag,
                    stdout: byte % 3 == 0,
                    stderr: byte % 5 == 0,
                },
            },
            17 => Request::ExecStart {
                exec: caller.exec.clone(),
                detach: flag,
                size: None,
            },
            18 => Request::ExecInspect {
                exec: caller.exec.clone(),
            },
            19 => Request::ExecResize {
                exec: caller.exec.clone(),
                size: TerminalSize {
                    rows: byte.into(),
                    columns: 0,
                },
            },
            20 => Request::Execs { container },
            _ => {
                let _ = caller.socket.send(&"no request", None);
                return Some(());
            }
        };
        caller.asked += usize::from(matches!(
            request,
            Request::Attach { .. }
                | Request::Exec { .. }
                | Request::Stop { .. }
                | Request::Wait { .. }
                | Request::Hold { .. }
                | Request::Start { .. }
                | Request::ExecStart { .. }
        ));
        let _ = caller.socket.send(&request, None);
        Some(())
    }

    /// The monitor dies, and time passes: the keeper comes to its end by itself.
    fn end(&mut self) {
        if let Some(monitor) = self.monitor.take() {
            let _ = monitor.send(&FromMonitor::Stopped(report(1)), None);
        }
        self.guest.stream = None;
        self.streams.clear();
        for _ in 0..MOST {
            if self.keeper.over {
                break;
            }
            self.time_passes();
            self.turn();
        }
        assert!(self.keeper.over, "the keeper goes on without a machine");
        for caller in &mut self.callers {
            caller.hear();
            let last = caller.socket.receive::<Event>();
            let open = matches!(&last, Err(error) if error.kind() == ErrorKind::WouldBlock);
            assert!(open || matches!(last, Ok(None) | Err(_)), "{last:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeper_stands_noise() {
        coracle_platform::fuzzing::with_noise(crate::fuzzing::keeper);
    }

    #[test]
    fn container_that_is_held_stands_noise_and_stays_as_it_is() {
        coracle_platform::fuzzing::with_noise(|bytes| {
            assert_eq!(play_held(bytes), Status::Created)
        });
    }

    /// The harness reaches what it is for: a container that runs and ends.
    #[test]
    fn container_of_an_honest_guest_ends_well() {
        // The control channel; hello; the container has started, and has ended with 0.
        let honest = [0, 0, 1, 0, 0, 9, 1, 3, 0, 9, 1, 6, 0, 0];
        assert_eq!(play(&honest), (Status::Exited, 0));
        // Without its word that it has ended, nobody knows how.
        assert_eq!(play(&honest[..10]), (Status::Exited, 125));
        assert_eq!(play(&[]), (Status::Created, 125));
    }
}
