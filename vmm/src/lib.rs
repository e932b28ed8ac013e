//! The monitor: boots a kernel with disks on KVM and offers vsock as unix sockets.
//!
//! It knows nothing of containers or images. A [`plan::Plan`] says what the machine is; the
//! [`control`] socket is how its owner talks to it.

pub mod control;
pub mod plan;
