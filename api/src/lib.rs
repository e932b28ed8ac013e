//! The Docker Engine API over Coracle's engine: what `docker`, docker-py and other clients speak, on a
//! unix socket of the user's own.

pub mod auth;
pub mod backend;
pub mod create;
pub mod error;
pub mod events;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
pub mod json;
pub mod listen;
pub mod logs;
pub mod progress;
pub mod pull;
pub mod pump;
pub mod query;
pub mod routes;
pub mod serve;
pub mod target;
