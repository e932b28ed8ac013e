//! `coracle`: every container in its own microVM, with docker's manners.
//!
//! A library for the sake of `fuzz/`, which has to reach what is inside; the program is [`main`].
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
extern crate coracle_terminal;

mod attached;
mod cli;
mod destination;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod kernel_build;
mod link;

use std::process::ExitCode;

/// The program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    cli::main(coracle_platform::clock::now())
}
