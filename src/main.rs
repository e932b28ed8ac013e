//! `coracle`: every container in its own microVM, with docker's manners.
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod output;

mod cli;
mod clock;
mod cpio;
mod destination;
mod engine;
mod host;
mod keeper;
mod kernel;
mod machine;
mod programs;
mod report;
mod state;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(clock::now())
}
