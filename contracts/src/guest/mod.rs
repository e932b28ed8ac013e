//! The contract between host and guest.
//!
//! The guest's init connects to the host on [`CONTROL_PORT`] and says [`GuestMessage::Hello`]; the
//! host answers with [`HostMessage::Run`] and from then on both sides send frames as things
//! happen. A container's standard streams are raw vsock connections of their own: the guest
//! connects to the host ports that [`Stdio`] names, so their back-pressure is vsock's. The first
//! bytes on each are the [`Secret`] that came with the port's number, and the host answers with [`TAKEN`].
//!
//! The control channel needs no secret: it is the first connection to its port, which init makes
//! before there is any container, and the host takes no second one.
//!
//! What the guest says is data with limits, checked by [`frame::decode`] and [`GuestMessage::check`].

pub mod frame;
mod message;
mod network;
mod spec;
mod stream;
pub mod sysctl;
pub mod tar;

pub use message::{ExitStatus, FailureKind, GuestMessage, HostMessage, MAX_TEXT, MessageError};
pub use network::{Interface, MAX_NAME, MAX_NAMES, Network, hardware_of, is_name};
pub use spec::{
    ContainerSpec, Cpu, Layer, MAX_LAYERS, Mount, Process, Range, Resources, Rlimit, Root,
    SeccompProfile, Shares, Stdio, Task, TerminalSize, Tool, Upper, Verity,
};
pub use stream::{Port, SECRET_BYTES, Secret, TAKEN};

/// Version of this contract; host and guest must agree exactly, since both ship together.
pub const VERSION: u16 = 7;

/// Vsock context identifier of the host (virtio 1.2, section 5.10.4).
pub const HOST_CID: u32 = 2;

/// Host port on which the guest's init opens its control channel.
pub const CONTROL_PORT: u32 = 1024;

/// First host port that containers' streams may use.
pub const FIRST_STREAM_PORT: u32 = 1025;
