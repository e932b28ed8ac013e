//! docker, with its daemon.

pub(super) const DOCKER: super::like_docker::Program = super::like_docker::Program {
    name: "docker",
    about: "namespaces on this kernel, by docker's daemon",
    ready: &["version", "--format", "{{.Server.Version}}"],
    daemon: true,
};
