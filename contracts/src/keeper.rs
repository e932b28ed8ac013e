//! What commands and a keeper say to each other: packets of JSON on a unix socket, as a monitor and
//! its owner do. Streams travel beside them as descriptors.

use crate::guest::{Process, TerminalSize, Tool};
use serde::{Deserialize, Serialize};

/// Version of these packets. A keeper writes its own into the state of what it keeps, so that a command knows it
/// before it says anything, and a command begins with its own ([`Request::Hello`]). 0 is that of releases which did
/// neither; what they asked for is still answered.
pub const VERSION: u16 = 1;

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each request says what its fields are for")]
pub enum Request {
    /// The first packet of a connection, which has no answer unless the keeper does not know this version. Without
    /// one the version is 0.
    Hello { version: u16 },
    /// Keep a container that does not run, for as long as this or another client is connected that wants to be
    /// attached to it or waits for it; answered by [`Event::Done`]. [`Request::Attach`] and [`Request::Wait`] may
    /// follow, and [`Request::Start`] on any connection.
    Hold { container: String },
    /// Let go of a container that is held and does not run, which is to be removed: its clients are told. Answered
    /// by [`Event::Done`], where it is not held, too.
    Release { container: String },
    /// Of a named host's keeper: start a container that belongs to the host; of any keeper: start one that it
    /// holds. Answered by [`Event::Done`] once the keeper has it, and then as for [`Request::Attach`]; the streams come
    /// where `attach` is given, with input where it is true. With `require_jail` a machine of the container's own does
    /// not run unless its monitor gets all of its jail.
    Start {
        container: String,
        attach: Option<bool>,
        owner: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        require_jail: bool,
    },
    /// Of a named host's keeper: stop all containers, within so many seconds each, and the host. The
    /// keeper is gone when its lock is free.
    StopHost { seconds: Option<u64> },
    /// Be connected to the streams of a container's first process: [`Event::Stream`] for each, [`Event::Done`],
    /// and then [`Event::Exited`]; [`Event::Started`] where it was held before.
    Attach { container: String, input: bool },
    /// Run something more in a container: streams, [`Event::Started`], [`Event::Exited`].
    Exec {
        container: String,
        work: Box<Work>,
        input: bool,
        output: bool,
    },
    /// Create a program that can be run in a container that runs; answered by [`Event::ExecCreated`]. It is there
    /// until the container ends, or until it has ended itself and many others were created since.
    ExecCreate {
        container: String,
        process: Box<Process>,
        streams: ExecStreams,
    },
    /// Run one that was created, which is done once. As [`Request::Exec`]; without streams where `detach` is true. A
    /// terminal has this size from its beginning.
    ExecStart {
        exec: String,
        detach: bool,
        size: Option<TerminalSize>,
    },
    /// Tell how one is: [`Event::ExecState`]. Its end is known here before it is told with [`Event::Exited`].
    ExecInspect { exec: String },
    /// The size of the terminal of one that runs; answered by [`Event::Done`].
    ExecResize { exec: String, size: TerminalSize },
    /// Tell which of a container's have not ended: [`Event::Execs`].
    Execs { container: String },
    /// On a connection that is attached: a signal for the process.
    Forward { signal: u8 },
    /// On a connection that is attached: the person wants it to end, within the grace time.
    End { signal: Option<u8> },
    /// On a connection that is attached: the terminal's size.
    Resize { size: TerminalSize },
    /// On a connection that is attached: the process goes on without this client.
    Detach,
    /// Send a signal to a container's first process; answered by [`Event::Done`].
    Signal { container: String, signal: u8 },
    /// Ask a container to stop, and kill it after so many seconds; answered by [`Event::Exited`].
    Stop {
        container: String,
        signal: Option<u8>,
        seconds: Option<u64>,
    },
    /// Wait for a container's end; answered by [`Event::Exited`].
    Wait {
        container: String,
        #[serde(default, skip_serializing_if = "Until::is_usual")]
        until: Until,
    },
    /// The container's record has another name; answered by [`Event::Done`] when its neighbours know.
    Rename { container: String },
    /// Stop or resume all of its processes; answered by [`Event::Done`].
    Pause { container: String, paused: bool },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a client waits for, in docker's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// It does not run: at once where it does not.
    #[default]
    NotRunning,
    /// Its next end, of a start that may be still to come.
    NextExit,
    /// The end after which it does not start again. A container that is to be removed then is gone when this is
    /// answered; whether another one is has to be seen by its record.
    Removed,
}

impl Until {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What is run beside a container's first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A program.
    Program(Process),
    /// A service of init's.
    Tool(Tool),
}

/// What a keeper tells a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each event says what its fields are for")]
pub enum Event {
    /// A stream is attached: 0 to the process, 1 and 2 from it.
    Stream { index: u8 },
    /// The process has been executed.
    Started,
    /// It has ended, and all of its output is in the streams.
    Exited(Exit),
    /// It could not be started, or its end is not known.
    Failed { message: String, code: u8 },
    /// The request was carried out.
    Done,
    /// The request was not.
    Refused {
        message: String,
        #[serde(default)]
        reason: Reason,
    },
    /// A program was created that can be run.
    ExecCreated { exec: String },
    /// How one is.
    ExecState(Box<ExecState>),
    /// IDs of some.
    Execs { execs: Vec<String> },
}

/// Why a request was not carried out: the kind of error that it is for whoever asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// What was named does not exist.
    NotFound,
    /// The state of what was named does not allow it.
    Conflict,
    /// It is as was asked for already.
    NotModified,
    /// It can never be carried out.
    Invalid,
    /// Something that is needed is not there now.
    Unavailable,
    /// Anything else, and what a later release says.
    #[default]
    #[serde(other)]
    Internal,
}

/// Which streams of a program are for whoever starts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStreams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// How a program is that has an ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecState {
    /// Its ID.
    pub exec: String,
    /// That of its container.
    pub container: String,
    /// It was started, and has not ended.
    pub running: bool,
    /// Its exit code, as docker gives it; 126 or 127 when it could not be started.
    pub exit_code: Option<u8>,
    /// Why it could not be started.
    pub error: String,
    /// Its number on this machine, where it has none: 0.
    pub pid: u32,
    /// What it is.
    pub process: Process,
    /// What whoever starts it gets.
    pub streams: ExecStreams,
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, as docker gives it.
    pub code: u8,
    /// The kernel killed one of its processes for its memory limit.
    pub oom: bool,
    /// What went wrong that it could only see as an I/O error, in words.
    pub warnings: Vec<String>,
    /// It was killed for running too long.
    pub timed_out: bool,
    /// The guest kernel's release, cleaned of what a terminal would obey.
    pub kernel: String,
    /// Steps of its start and end, in nanoseconds of `CLOCK_MONOTONIC`.
    pub timeline: Vec<(String, u64)>,
}
