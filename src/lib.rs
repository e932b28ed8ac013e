//! `coracle`: every container in its own microVM, with docker's manners.
//!
//! A library for the sake of `fuzz/`, which has to reach what is inside; the program is [`main`].
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod output;

mod cli;
mod clock;
mod cpio;
mod destination;
mod duration;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod host;
mod keeper;
mod kernel;
mod machine;
mod programs;
mod report;
mod size;
mod state;
mod sys;

use std::process::ExitCode;

/// The program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    cli::main(clock::now())
}

/// The program `coracle-keeper`, which looks after a container or a host; `coracle` starts it.
pub fn keeper() -> ExitCode {
    keeper::main()
}
