//! runc, the runtime below docker and containerd: a container on this machine's kernel.

pub(super) const RUNC: super::oci::Runtime = super::oci::Runtime {
    program: "runc",
    about: "namespaces on this kernel, by runc alone",
};
