//! Hostile bytes for a software host's channel: each function panics where a promise is broken.

mod mux;
mod wire;

pub use mux::mux;
pub use wire::wire;
