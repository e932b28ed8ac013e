//! What runs beside a container's first process: its streams are its client's own.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::Result;
use contracts::guest::{
    ExitStatus, FailureKind, GuestMessage, HostMessage, Port, Stdio, Task, Tool,
};
use contracts::keeper::{Event, Exit, Reason, Work};

use super::{Keeper, Number, clients::conflict};
use crate::state::container::Status;
use coracle_platform::clock;

/// Most processes that run beside the containers of a keeper: each has descriptors and a place in
/// the guest's memory.
pub(super) const MAX_EXECS: usize = 1024;

/// Exit codes of docker's for a program that could not be started.
pub(super) const NOT_EXECUTABLE: u8 = 126;
pub(super) const NOT_FOUND: u8 = 127;
pub(super) const FAILED: u8 = 125;

/// Something that runs beside a container's first process.
pub(super) struct Exec {
    id: String,
    client: Client,
    /// The ports that the guest has still to connect to.
    stdio: Stdio,
    started: bool,
    /// How it ended, and until when its streams are waited for. Where the guest runs in a software
    /// host they come by other ways than its words, and may be later.
    end: Option<(Event, Instant)>,
}

/// How long the streams of what has ended may be on their way: a thousand times what they take.
const LATE_STREAMS: Duration = Duration::from_secs(10);

/// What is said of a process that has ended, while the guest has never connected its output.
pub(super) const NO_OUTPUT: &str = "its output is lost: the guest has not connected it";

/// Who is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// A command.
    Command(u64),
    /// A command that wants the container paused, or not, and is told when it is.
    Pause {
        client: u64,
        number: Number,
        paused: bool,
    },
    /// The keeper itself wants to know whether a container is well.
    Health(Number),
    /// Nobody any more.
    None,
}

impl Exec {
    /// Output was promised, and the guest has not connected it.
    fn lacks_output(&self) -> bool {
        self.stdio.stdout.is_some() || self.stdio.stderr.is_some()
    }
}

impl Keeper {
    /// Runs something in a container for a client.
    pub(super) fn exec(
        &mut self,
        client: u64,
        number: Number,
        work: Work,
        input: bool,
        output: bool,
    ) -> Result<()> {
        let terminal = matches!(&work, Work::Program(process) if process.terminal.is_some());
        let stdio = self.promise(input, output, output && !terminal)?;
        let task = match work {
            Work::Program(process) => Task::Program(process),
            Work::Tool(tool) => Task::Tool(tool),
        };
        self.send_exec(Client::Command(client), number, task, stdio)
            .map(drop)
    }

    /// Stops or resumes a container's processes for a client.
    pub(super) fn pause(&mut self, client: u64, number: Number, paused: bool) -> Result<()> {
        let Some(kept) = self.kept.get(&number) else {
            return Ok(());
        };
        if paused == (kept.state.status == Status::Paused) {
            return Err(conflict(if paused {
                "the container is paused already"
            } else {
                "the container is not paused"
            }));
        }
        let client = Client::Pause {
            client,
            number,
            paused,
        };
        let task = Task::Tool(Tool::Freeze(paused));
        self.send_exec(client, number, task, Stdio::default())
            .map(drop)
    }

    /// Has the guest run something in a container that runs; gives its identifier.
    pub(super) fn send_exec(
        &mut self,
        client: Client,
        number: Number,
        task: Task,
        stdio: Stdio,
    ) -> Result<Option<String>> {
        self.send_exec_as(crate::identifier()?, client, number, task, stdio)
    }

    /// The same with an identifier.
    pub(super) fn send_exec_as(
        &mut self,
        id: String,
        client: Client,
        number: Number,
        task: Task,
        stdio: Stdio,
    ) -> Result<Option<String>> {
        if self.execs.len() >= MAX_EXECS {
            return Err(conflict(format!(
                "too many exec sessions: the maximum is {MAX_EXECS}"
            )));
        }
        let Some(kept) = self.kept.get(&number) else {
            return Ok(None);
        };
        let message = HostMessage::Exec {
            id: id.clone(),
            container: kept.record.config.id.clone(),
            task: Box::new(task),
            stdio,
            // One that takes too long is killed with all that it has started.
            group: matches!(client, Client::Health(_)),
        };
        self.execs.push(Exec {
            id: id.clone(),
            client,
            stdio,
            started: false,
            end: None,
        });
        self.say(&HostMessage::Time(clock::wall()));
        self.say(&message);
        Ok(Some(id))
    }

    /// The process of a client, as the guest knows it.
    pub(super) fn exec_of(&self, client: u64) -> Option<String> {
        let exec = self.execs.iter();
        exec.clone()
            .find(|exec| exec.client == Client::Command(client))
            .map(|exec| exec.id.clone())
    }

    /// A client is gone; what it runs goes on, and finds its streams closed.
    pub(super) fn drop_exec_of(&mut self, client: u64) {
        for exec in &mut self.execs {
            if exec.client == Client::Command(client) {
                exec.client = Client::None;
            }
        }
    }

    /// The guest's connection to a port that was promised to a client, proved to be init's.
    pub(super) fn connect_exec(&mut self, port: u32, stream: &UnixStream) {
        let found = self.execs.iter_mut().find_map(|exec| {
            let stdio = &mut exec.stdio;
            let ports = [&mut stdio.stdin, &mut stdio.stdout, &mut stdio.stderr];
            let is_own = |own: &Option<Port>| own.is_some_and(|own| own.number == port);
            let (index, promised) = (0..).zip(ports).find(|(_, own)| is_own(own))?;
            // A second connection to a port is closed.
            *promised = None;
            Some((exec.client, index))
        });
        match found {
            Some((Client::Command(client), index)) => {
                let given = self.give(client, index, stream);
                if given.is_err() {
                    self.drop_client(client, false);
                }
            }
            Some((Client::Health(number), index)) => self.take_probe(number, index, stream),
            _ => {}
        }
        self.settle_execs();
    }

    /// A port that was promised to one of them, while a connection to it is waited for.
    pub(super) fn promised_to_exec(&self, port: u32) -> Option<Port> {
        let ports = |exec: &Exec| [exec.stdio.stdin, exec.stdio.stdout, exec.stdio.stderr];
        let mut all = self.execs.iter().flat_map(ports).flatten();
        all.find(|own| own.number == port)
    }

    /// News of something that runs beside a container; false when there is no such process.
    pub(super) fn exec_message(&mut self, message: &GuestMessage) -> bool {
        let id = match message {
            GuestMessage::Started { id, .. }
            | GuestMessage::Exited { id, .. }
            | GuestMessage::Failed { id, .. } => id,
            GuestMessage::Hello { .. }
            | GuestMessage::OutOfMemory { .. }
            | GuestMessage::Forgotten { .. } => return false,
        };
        let Some(index) = self.execs.iter().position(|exec| exec.id == *id) else {
            return false;
        };
        if let GuestMessage::Started { pid, .. } = message {
            let Some(exec) = self.execs.get_mut(index) else {
                return false;
            };
            if std::mem::replace(&mut exec.started, true) {
                return false;
            }
            self.sessions.started(&exec.id, *pid);
            if let Client::Command(client) = exec.client {
                self.tell(client, &Event::Started);
            }
            return true;
        }
        let event = match message {
            GuestMessage::Failed { kind, message, .. } => Event::Failed {
                message: crate::clean(message),
                code: code_of(*kind),
            },
            GuestMessage::Exited { status, oom, .. } => Event::Exited(Exit {
                code: status.code(),
                oom: *oom,
                ..Exit::default()
            }),
            GuestMessage::Hello { .. }
            | GuestMessage::Started { .. }
            | GuestMessage::OutOfMemory { .. }
            | GuestMessage::Forgotten { .. } => return true,
        };
        if let Some(exec) = self.execs.get_mut(index) {
            if let Event::Failed { .. } = event {
                // They may never have been connected.
                exec.stdio = Stdio::default();
            }
            // An end follows a start; it has failed before that, or later for a stream that could not be connected.
            let too_early = matches!(message, GuestMessage::Exited { .. }) && !exec.started;
            if exec.end.is_some() || too_early {
                return false;
            }
            let id = exec.id.clone();
            exec.end = Some((event.clone(), Instant::now() + LATE_STREAMS));
            // Before anybody is told, who may ask at once.
            self.session_ended(&id, &event);
        }
        self.settle_execs();
        true
    }

    /// When the next of those whose streams are late is given up.
    pub(super) fn late_exec(&self) -> Option<Instant> {
        let ends = self.execs.iter().filter_map(|exec| exec.end.as_ref());
        ends.map(|(_, until)| *until).min()
    }

    /// Tells the ends of those that have all their streams, or have waited for them long enough.
    pub(super) fn settle_execs(&mut self) {
        let now = Instant::now();
        let over = |exec: &mut Exec| {
            let complete = exec.stdio == Stdio::default();
            (exec.end.as_ref()).is_some_and(|(_, until)| complete || *until <= now)
        };
        let over: Vec<Exec> = self.execs.extract_if(.., over).collect();
        for exec in over {
            let late = exec.lacks_output();
            match exec.end {
                Some((Event::Exited(_), _)) if late => {
                    let event = self.without_output(&exec.id);
                    self.end_exec(exec.client, event);
                }
                Some((event, _)) => self.end_exec(exec.client, event),
                None => {}
            }
        }
    }

    fn end_exec(&mut self, client: Client, event: Event) {
        match client {
            Client::Command(client) => self.tell(client, &event),
            Client::Pause {
                client,
                number,
                paused,
            } => self.paused(client, number, paused, event),
            Client::Health(number) => self.probed(number, event),
            Client::None => {}
        }
    }

    fn paused(&mut self, client: u64, number: Number, paused: bool, event: Event) {
        let done = matches!(event, Event::Exited(Exit { code: 0, .. }));
        if let (true, Some(kept)) = (done, self.kept.get_mut(&number)) {
            kept.state.status = if paused {
                Status::Paused
            } else {
                Status::Running
            };
            kept.save();
            self.journal(number, if paused { "pause" } else { "unpause" }, &[]);
        }
        let answer = match event {
            _ if done => Event::Done,
            Event::Failed { message, .. } => Event::Refused {
                message,
                reason: Reason::Internal,
            },
            _ => Event::Refused {
                message: "the guest kernel cannot pause processes".into(),
                reason: Reason::Unavailable,
            },
        };
        self.tell(client, &answer);
    }

    /// The guest is gone, and all that ran in it.
    pub(super) fn end_execs(&mut self) {
        for exec in std::mem::take(&mut self.execs) {
            if exec.end.is_none() {
                // Before anybody is told, who may ask at once.
                self.session_ended(&exec.id, &killed());
            }
            let late = exec.lacks_output();
            let end = match exec.end {
                Some((Event::Exited(Exit { code: 0, .. }), _)) if late => {
                    self.without_output(&exec.id)
                }
                Some((event, _)) => event,
                None => killed(),
            };
            if let Client::Command(client) | Client::Pause { client, .. } = exec.client {
                self.tell(client, &end);
            }
        }
    }

    /// What is told of something whose output never came: it must not seem to have ended well without any. Nor for
    /// docker's clients, which ask for the code by its ID.
    fn without_output(&mut self, id: &str) -> Event {
        self.sessions.amend(id, FAILED, NO_OUTPUT);
        Event::Failed {
            message: NO_OUTPUT.into(),
            code: FAILED,
        }
    }
}

/// What is told of something that ends with its guest.
pub(super) fn killed() -> Event {
    Event::Exited(Exit {
        code: ExitStatus::Signal(9).code(),
        ..Exit::default()
    })
}

/// Docker's exit code for what could not be started.
pub(super) fn code_of(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::NotFound => NOT_FOUND,
        FailureKind::NotExecutable => NOT_EXECUTABLE,
        FailureKind::Setup => FAILED,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use packets::Socket;

    use super::*;
    use crate::keeper::clients::Role;
    use crate::state::Directories;
    use coracle_platform::sys::Signals;

    impl Keeper {
        /// The streams of something that has ended have been late for too long.
        pub(in crate::keeper) fn give_up_streams(&mut self, id: &str) {
            let exec = self.execs.iter_mut().find(|exec| exec.id == id).unwrap();
            exec.end.as_mut().unwrap().1 = Instant::now();
            self.settle_execs();
        }
    }

    /// A keeper that holds nothing yet, and the directory of its user.
    pub(in crate::keeper) fn keeper() -> (tempfile::TempDir, Keeper) {
        let directory = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: directory.path().into(),
            cache: directory.path().into(),
            runtime: directory.path().into(),
        };
        let socket = directory.path().join("socket");
        let signals = Signals::new(&[]).unwrap();
        let keeper = Keeper::new(&directories, socket, signals).unwrap();
        (directory, keeper)
    }

    /// What a client runs, which waits for these streams.
    pub(in crate::keeper) fn running(id: &str, client: u64, stdio: Stdio) -> Exec {
        Exec {
            id: id.into(),
            client: Client::Command(client),
            stdio,
            started: true,
            end: None,
        }
    }

    #[test]
    fn what_has_ended_without_its_output_has_failed() {
        let (_directory, mut keeper) = keeper();
        let (ours, theirs) = Socket::pair().unwrap();
        let client = keeper.add_client(theirs, Role::Running);
        let stdio = keeper.promise(false, true, false).unwrap();
        keeper.execs.push(Exec {
            end: Some((Event::Exited(Exit::default()), Instant::now())),
            ..running("lost", client, stdio)
        });
        keeper.settle_execs();
        let (event, _) = ours.receive::<Event>().unwrap().unwrap();
        let message = NO_OUTPUT.into();
        assert_eq!(event, Event::Failed { message, code: 125 });
    }

    #[test]
    fn end_waits_for_streams_that_come_late() {
        let (_directory, mut keeper) = keeper();
        let (ours, theirs) = Socket::pair().unwrap();
        let client = keeper.add_client(theirs, Role::Running);
        let stdio = Stdio {
            stdout: Some(Port {
                answered: true,
                number: 7,
                secret: contracts::guest::Secret::new([1; contracts::guest::SECRET_BYTES]),
            }),
            ..Stdio::default()
        };
        keeper.execs.push(running("late", client, stdio));
        let exited = GuestMessage::Exited {
            id: "late".into(),
            status: ExitStatus::Code(3),
            oom: false,
            damaged: false,
            at: 0,
        };
        assert!(keeper.exec_message(&exited));
        let (_guest, stream) = UnixStream::pair().unwrap();
        keeper.connect_exec(7, &stream);
        let (event, descriptor) = ours.receive::<Event>().unwrap().unwrap();
        assert_eq!(
            (event, descriptor.is_some()),
            (Event::Stream { index: 1 }, true)
        );
        let (event, _) = ours.receive::<Event>().unwrap().unwrap();
        assert!(matches!(event, Event::Exited(Exit { code: 3, .. })));
        assert!(keeper.execs.is_empty());
    }
}
