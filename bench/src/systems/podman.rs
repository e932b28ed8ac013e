//! podman: docker's command line without a daemon.

pub(super) const PODMAN: super::like_docker::Program = super::like_docker::Program {
    name: "podman",
    about: "namespaces on this kernel, by podman",
    ready: &["info"],
    daemon: false,
};
