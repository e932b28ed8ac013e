//! `coracle`: every container in its own microVM, with docker's manners.
//!
//! The program is [`main`].
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
extern crate coracle_terminal;

mod attached;
mod cli;
mod kernel_build;
mod link;

use std::process::ExitCode;

/// The program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    cli::main(coracle_platform::clock::now())
}
