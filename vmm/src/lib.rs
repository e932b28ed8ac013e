//! The monitor: boots a kernel with disks on KVM and offers vsock as unix sockets.
//!
//! It knows nothing of containers or images. A [`Plan`](contracts::monitor::Plan) says what the
//! machine is; its owner
//! talks to it as [`contracts::monitor`] says.

pub mod arch;
pub mod console;
pub mod devices;
pub mod elf;
pub mod event_loop;
pub mod jail;
pub mod machine;
mod memory;
pub mod owner;
pub mod plan;
pub mod probe;
pub mod sharing;
mod sys;
pub mod timeline;
pub mod vcpu;
pub mod virtio;
