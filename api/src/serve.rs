//! All routes together, on a socket.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    time::Duration,
};

use crate::{
    backend::Backend,
    events, http, logs,
    routes::{self, Route, attach, containers, execs, images, lists, system},
};

/// Every request that is answered.
const ROUTES: &[Route<Backend>] = &[
    ("GET", "/_ping", system::ping),
    ("HEAD", "/_ping", system::ping),
    ("GET", "/version", system::version),
    ("GET", "/info", system::info),
    ("GET", "/events", events::events),
    ("GET", "/containers/json", lists::containers),
    ("GET", "/containers/{}/json", lists::container),
    ("POST", "/containers/create", containers::create),
    ("POST", "/containers/{}/start", containers::start),
    ("POST", "/containers/{}/stop", containers::stop),
    ("POST", "/containers/{}/restart", containers::restart),
    ("POST", "/containers/{}/kill", containers::kill),
    ("POST", "/containers/{}/rename", containers::rename),
    ("POST", "/containers/{}/pause", containers::pause),
    ("POST", "/containers/{}/unpause", containers::unpause),
    ("POST", "/containers/{}/wait", containers::wait),
    ("POST", "/containers/{}/resize", containers::resize),
    ("POST", "/containers/{}/attach", attach::attach),
    ("GET", "/containers/{}/logs", logs::logs),
    ("DELETE", "/containers/{}", containers::remove),
    ("POST", "/containers/{}/exec", execs::create),
    ("POST", "/exec/{}/start", execs::start),
    ("POST", "/exec/{}/resize", execs::resize),
    ("GET", "/exec/{}/json", execs::inspect),
    ("POST", "/images/create", images::create),
    ("GET", "/images/json", images::list),
    ("GET", "/images/{*}/json", images::inspect),
];

/// Answers clients until it is told to stop, or nobody has been connected for some time.
///
/// # Errors
/// When the listener fails.
pub fn serve(
    backend: Backend,
    listener: UnixListener,
    idle: Option<Duration>,
    stop: Option<OwnedFd>,
) -> io::Result<()> {
    let server = http::Server {
        listener,
        idle,
        stop,
    };
    server.run(move |exchange| routes::answer(&backend, ROUTES, exchange))
}
