//! What host and guest say to each other on the control channel.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::spec::{ContainerSpec, Stdio, Task, TerminalSize};

extern crate alloc;

/// Longest text in bytes that the host takes from a guest's message (identifiers, kernel version,
/// failure texts): a hostile guest's words must not fill a terminal or a log.
pub const MAX_TEXT: usize = 4096;

/// What the host tells the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostMessage {
    /// Run a container; answered by `Started` or `Failed`, and then `Exited`.
    Run(Box<ContainerSpec>),
    /// Run something beside the first process of a container that runs; answered by `Started` or
    /// `Failed`, and then `Exited`, with its own identifier.
    Exec {
        /// Identifier of what is run, like a container's; no other may have it.
        id: String,
        /// The container.
        container: String,
        /// What is run.
        task: Box<Task>,
        /// Where its standard streams go.
        stdio: Stdio,
        /// A program gets a control group of its own in the container's: the signal KILL ends all that
        /// it has started, too.
        group: bool,
    },
    /// What time it is: nanoseconds since 1970 on the host's `CLOCK_REALTIME`. The guest's own clock was
    /// right when it booted, and may have been stopped or set since; it is set where it is off by more
    /// than the message can have taken.
    Time(u64),
    /// Send a signal to the first process of a container, or to what runs beside it.
    Signal {
        /// The container, or what runs beside its first process.
        id: String,
        /// Signal number as on Linux, 1 to 64.
        signal: u8,
    },
    /// As `Signal`, from a person who wants to interrupt: a first process that leaves the signal to its
    /// default ends by it, as it would without a namespace of its own, in which the kernel spares it.
    Interrupt {
        /// The container, or what runs beside its first process.
        id: String,
        /// Signal number as on Linux, 1 to 64.
        signal: u8,
        /// It had the signal before: only whether it leaves it to the default now counts, such as a shell that
        /// caught it to end by it, or has become another program.
        again: bool,
    },
    /// The user's terminal has a new size.
    Resize {
        /// The container, or what runs beside its first process.
        id: String,
        /// The new size.
        size: TerminalSize,
    },
    /// A container on the bridge is known to its neighbours by these names from now on; see
    /// [`super::is_name`]. Others are not changed.
    Names {
        /// The container.
        id: String,
        /// Its names, its host name first; at most [`super::MAX_NAMES`].
        names: Vec<String>,
    },
    /// Let go of a partition that was made for a layer; answered by `Forgotten`.
    Forget {
        /// Index of the disk.
        disk: u8,
        /// Number of the partition.
        partition: u8,
    },
    /// End: kill what runs, flush disks, stop the machine.
    Shutdown,
}

/// What the guest tells the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestMessage {
    /// First message of a control channel: init is ready for work.
    Hello {
        /// [`super::VERSION`] of the guest.
        version: u16,
        /// The guest kernel's release, as `uname -r`.
        kernel: String,
        /// Guest's `CLOCK_MONOTONIC` when init's `main` began, in nanoseconds.
        init_at: u64,
        /// Guest's `CLOCK_MONOTONIC` now, in nanoseconds.
        at: u64,
    },
    /// The container's process has been executed.
    Started {
        /// The container.
        id: String,
        /// The first process's number in the guest's own PID namespace.
        pid: u32,
        /// Guest's `CLOCK_MONOTONIC` just before `execve`, in nanoseconds.
        at: u64,
    },
    /// The container's first process has ended and its streams are flushed.
    Exited {
        /// The container.
        id: String,
        /// How it ended.
        status: ExitStatus,
        /// The kernel killed a process of the container because its memory limit was reached.
        oom: bool,
        /// A block of a layer was read that is not what its tree of hashes says.
        damaged: bool,
        /// Guest's `CLOCK_MONOTONIC` when the exit was seen, in nanoseconds.
        at: u64,
    },
    /// The kernel killed a process of a container that lives because its memory limit was reached; at most
    /// once a second.
    OutOfMemory {
        /// The container.
        id: String,
    },
    /// Whether a partition is gone.
    Forgotten {
        /// Index of the disk.
        disk: u8,
        /// Number of the partition.
        partition: u8,
        /// It is gone; if not, something still uses it, and the host may ask again later.
        gone: bool,
    },
    /// The container could not be started; or it was, and ended since a stream of it could not be connected.
    Failed {
        /// The container.
        id: String,
        /// What kind of failure, for the exit code.
        kind: FailureKind,
        /// What was tried, on what, and why it failed.
        message: String,
    },
}

/// Why a container could not be started, as docker's exit codes tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The program does not exist in the container: exit code 127.
    NotFound,
    /// The program exists and cannot be executed: exit code 126.
    NotExecutable,
    /// Anything else: exit code 125.
    Setup,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited by itself with this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}

impl ExitStatus {
    /// The exit code that a shell or docker gives: the code, or 128 plus the signal (1 to 64).
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal.min(64)),
        }
    }
}

/// A message whose content breaks the contract.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MessageError {
    /// A text is longer than [`MAX_TEXT`].
    #[error("the guest sent a text of {0} bytes where {MAX_TEXT} are allowed")]
    TextTooLong(usize),
}

impl GuestMessage {
    /// Checks the limits that decoding alone does not.
    ///
    /// # Errors
    /// When a text is longer than [`MAX_TEXT`].
    pub fn check(&self) -> Result<(), MessageError> {
        let (first, second) = match self {
            Self::Hello { kernel, .. } => (kernel.len(), 0),
            Self::Started { id, .. } | Self::Exited { id, .. } | Self::OutOfMemory { id } => {
                (id.len(), 0)
            }
            Self::Forgotten { .. } => (0, 0),
            Self::Failed { id, message, .. } => (id.len(), message.len()),
        };
        match first.max(second) {
            length if length > MAX_TEXT => Err(MessageError::TextTooLong(length)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_of_a_signal_is_128_plus_its_number() {
        assert_eq!(ExitStatus::Signal(9).code(), 137);
        assert_eq!(ExitStatus::Code(42).code(), 42);
    }

    #[test]
    fn forged_signal_number_gives_no_overflow() {
        assert_eq!(ExitStatus::Signal(255).code(), 192);
    }

    #[test]
    fn long_text_is_refused() {
        let message = GuestMessage::Failed {
            id: "a".into(),
            kind: FailureKind::Setup,
            message: "x".repeat(MAX_TEXT + 1),
        };
        assert_eq!(
            message.check(),
            Err(MessageError::TextTooLong(MAX_TEXT + 1))
        );
    }
}
