//! crun, the runtime below podman: a container on this machine's kernel.

pub(super) const CRUN: super::oci::Runtime = super::oci::Runtime {
    program: "crun",
    about: "namespaces on this kernel, by crun alone",
};
