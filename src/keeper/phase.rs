//! Where a container is in its life, and what ends it.

use std::time::Duration;

use coracle_protocol::ContainerSpec;

/// Where a container is.
pub(super) enum Phase {
    /// There is no channel to the guest yet: the spec waits.
    Booting(Box<ContainerSpec>),
    /// The spec was sent.
    Starting,
    Running,
    /// It has ended; its output is still being read.
    Draining(End),
    /// It waits to be started again.
    Waiting,
}

/// How a container ended.
#[derive(Debug, Clone, Default)]
pub(super) struct End {
    pub(super) code: u8,
    pub(super) oom: bool,
    /// It read what has changed of its image.
    pub(super) damaged: bool,
    /// Why it was not started, or why its end is not known.
    pub(super) error: String,
}

/// How long a guest may take to end what it was told to kill: a hundred times what it takes, in a
/// software host.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// The signal that ends a process without asking it.
pub(super) const SIGKILL: u8 = 9;
