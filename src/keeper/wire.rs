//! What commands and a keeper say to each other: packets of JSON on a unix socket, as a monitor and
//! its owner do. Streams travel beside them as descriptors.

use coracle_protocol::{Process, TerminalSize, Tool};
use serde::{Deserialize, Serialize};

/// Version of these packets.
pub(crate) const VERSION: u16 = 1;

/// What a command asks for; the first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Of a named host's keeper: start a container that belongs to the host. Answered by
    /// [`Event::Done`] once the keeper has it, and then as for [`Request::Attach`]; the streams come
    /// where `attach` is given, with input where it is true.
    Start {
        container: String,
        attach: Option<bool>,
        owner: bool,
    },
    /// Of a named host's keeper: stop all containers, within so many seconds each, and the host. The
    /// keeper is gone when its lock is free.
    StopHost { seconds: Option<u64> },
    /// Be connected to the streams of a container's first process: [`Event::Stream`] for each,
    /// and then [`Event::Exited`].
    Attach { container: String, input: bool },
    /// Run something more in a container: streams, [`Event::Started`], [`Event::Exited`].
    Exec {
        container: String,
        work: Box<Work>,
        input: bool,
        output: bool,
    },
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
    /// Wait until a container ends; answered by [`Event::Exited`].
    Wait { container: String },
    /// The container's record has another name; answered by [`Event::Done`] when its neighbours know.
    Rename { container: String },
    /// Stop or resume all of its processes; answered by [`Event::Done`].
    Pause { container: String, paused: bool },
}

/// What is run beside a container's first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// A program.
    Program(Process),
    /// A service of init's.
    Tool(Tool),
}

/// What a keeper tells a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
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
    Refused { message: String },
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// The exit code, as docker gives it.
    pub(crate) code: u8,
    /// The kernel killed one of its processes for its memory limit.
    pub(crate) oom: bool,
    /// What went wrong that it could only see as an I/O error, in words.
    pub(crate) warnings: Vec<String>,
    /// It was killed for running too long.
    pub(crate) timed_out: bool,
    /// The guest kernel's release, cleaned of what a terminal would obey.
    pub(crate) kernel: String,
    /// Steps of its start and end, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) timeline: Vec<(String, u64)>,
}
