//! What a command and the broker say to each other: one request, one reply, JSON packets.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::relay::Size;

/// Version of these messages: a broker outlives the command that started it, and may meet newer
/// ones.
pub(super) const VERSION: u32 = 1;

/// What a command asks of the broker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How it is.
    Status,
    /// Stop the machine; the connection closes when it is gone.
    Stop,
    /// Start a monitor with the attached file as its plan; afterwards, the connection is its
    /// control socket.
    Monitor {
        /// The program's path.
        program: String,
    },
    /// Start a shell; afterwards, the connection is as for [`super::relay::Purpose::Shell`].
    Shell {
        /// The kind of terminal (`TERM`).
        term: String,
        /// The terminal's size.
        size: Size,
    },
}

/// A request and the version of its sender.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// `VERSION`.
    pub version: u32,
    /// The request, looked at when the version is known to be ours.
    pub request: serde_json::Value,
}

/// What the broker answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done, or begins.
    Done,
    /// How it is.
    Status(super::Status),
    /// It cannot be done: words for a person.
    Failed(String),
}

/// What a broker that starts tells who started it, until it serves.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The machine is up and takes connections.
    Ready,
    /// It could not be started: words for a person.
    Failed(String),
}

/// The request in an envelope.
///
/// # Errors
/// When the sender is of another version.
pub(super) fn open(envelope: Envelope) -> Result<Request> {
    if envelope.version != VERSION {
        bail!(
            "the software host was started by another version of coracle; end it with 'coracle \
             machine stop' of that version, and try again"
        );
    }
    serde_json::from_value(envelope.request).context("invalid request")
}
