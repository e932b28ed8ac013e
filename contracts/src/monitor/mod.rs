//! What a monitor and its owner say to each other.
//!
//! The owner gives a [`Plan`] as JSON, which says what the machine is. From then on they share one `SOCK_SEQPACKET`
//! unix socket. Each packet is one message as JSON; a message about a vsock connection carries one end of a stream
//! socket as `SCM_RIGHTS`. The monitor opens no path for it and listens on nothing. When the owner's end closes, for
//! whatever reason, the monitor stops: a guest never outlives the process that asked for it.

mod control;
mod plan;
mod walls;

pub use control::{FromMonitor, MAX_CONSOLE, Place, Report, StopReason, ToMonitor, clean};
pub use plan::{
    Disk, Extent, MAX_CPUS, MAX_DISK, MAX_DISKS, MAX_EXTENTS, MAX_JSON, MIN_MEMORY_MIB, Plan,
};
pub use walls::Walls;
