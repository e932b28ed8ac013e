//! The monitor: boots a kernel with disks on KVM and offers vsock as unix sockets.
