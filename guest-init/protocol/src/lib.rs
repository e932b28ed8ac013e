//! The contract between host and guest.
//!
//! The guest's init connects to the host on [`CONTROL_PORT`] and says [`GuestMessage::Hello`]; the
//! host answers with [`HostMessage::Run`] and from then on both sides send frames as things
//! happen. A container's standard streams are raw vsock connections of their own: the guest
//! connects to the host ports that [`Stdio`] names, so their back-pressure is vsock's.
//!
//! This crate is pure: it encodes and decodes, and performs no input or output. What the guest
//! says is data with limits, checked by [`frame::decode`] and [`GuestMessage::check`].
#![forbid(unsafe_code)]

pub mod frame;
mod message;
mod spec;

pub use message::{ExitStatus, FailureKind, GuestMessage, HostMessage, MAX_TEXT, MessageError};
pub use spec::{
    ContainerSpec, Cpu, Mount, Process, Resources, Rlimit, Root, SeccompProfile, Stdio,
    TerminalSize, Upper,
};

/// Version of this contract; host and guest must agree exactly, since both ship together.
pub const VERSION: u16 = 1;

/// Vsock context identifier of the host (virtio 1.2, section 5.10.4).
pub const HOST_CID: u32 = 2;

/// Host port on which the guest's init opens its control channel.
pub const CONTROL_PORT: u32 = 1024;

/// First host port that containers' streams may use.
pub const FIRST_STREAM_PORT: u32 = 1025;
