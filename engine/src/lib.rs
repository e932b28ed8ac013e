//! The engine behind every front of Coracle: containers, images and hosts.
//!
//! It prints nothing and knows no command line: what a person should know reaches the caller as values, or, where
//! nobody waits for it, as records of the `log` crate.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod capability;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod guest;
pub mod host;
mod identifier;
pub mod keeper;
pub mod kernel;
pub mod policy;
pub mod signal;
mod spec;
pub mod state;
mod timeline;
mod words;

pub use guest::Guest;
pub use identifier::identifier;
pub use spec::{DISK, Request, set as set_variable};
pub use timeline::Timeline;
pub use words::{clean, damage, failure, merge, stopped};
