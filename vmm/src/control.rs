//! How a monitor's owner talks to it: one `SOCK_SEQPACKET` unix socket.
//!
//! Each packet is one message as JSON; a message about a vsock connection carries one end of a
//! stream socket as `SCM_RIGHTS`. The monitor opens no path for it and listens on nothing. When
//! the owner's end closes, for whatever reason, the monitor stops: a guest never outlives the
//! process that asked for it.

use serde::{Deserialize, Serialize};

/// Largest packet in bytes; a report carries at most [`MAX_CONSOLE`] bytes of console, escaped.
pub const MAX_PACKET: usize = 128 << 10;

/// Most bytes of the guest's console that a report carries: the end of a failed boot.
pub const MAX_CONSOLE: usize = 16 << 10;

/// What the owner tells the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToMonitor {
    /// Connect the attached stream to a port on which the guest listens. A refused connection
    /// closes the stream.
    Connect {
        /// Guest port.
        port: u32,
    },
    /// Stop the machine now.
    Stop,
}

/// What the monitor tells its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromMonitor {
    /// The guest connected to a port of the host; the stream is attached.
    Connection {
        /// Host port.
        port: u32,
    },
    /// The machine has stopped; the last message.
    Stopped(Report),
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Why it stopped.
    pub reason: StopReason,
    /// The last bytes of its console, at most [`MAX_CONSOLE`], not valid UTF-8 replaced.
    pub console: String,
    /// When what happened: (step, nanoseconds since the monitor's `main` began).
    pub timeline: Vec<(String, u64)>,
}

/// Why a machine stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The guest asked for a reset or power-off, the way in which it ends in good order.
    GuestReset,
    /// The guest's processor shut down (triple fault), which a panic with no way out also gives.
    TripleFault,
    /// The guest did not open its first vsock connection in time.
    BootDeadline,
    /// The owner asked, or its end of the control socket closed.
    Asked,
    /// The machine could not be built, or KVM refused to go on: words for a person.
    Failed(String),
}
