//! `coracle`: every container in its own microVM, with docker's manners.

mod cli;
mod clock;
mod cpio;
mod engine;
mod host;
mod keeper;
mod kernel;
mod machine;
mod output;
mod programs;
mod report;
mod state;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(clock::now())
}
