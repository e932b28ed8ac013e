//! `coracle-bench`: starts containers of several systems side by side and tells, step by step, what a start
//! takes. `coracle bench` is this program; it uses nothing of Coracle's but the command line, as a user does.

mod arguments;
mod clock;
mod command;
mod compare;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "an initial file system here is one file")
)]
#[path = "../cpio.rs"]
mod cpio;
mod density;
mod environment;
mod ladder;
mod measure;
mod memory;
mod processes;
mod questions;
mod report;
mod show;
mod start;
mod statistics;
mod systems;
mod virtual_time;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use arguments::{Arguments, Work};

/// What the program ends with when it could not do what it was asked for.
const FAILURE: u8 = 125;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done when the words themselves cannot be printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { FAILURE } else { 0 });
        }
    };
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("coracle bench: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

fn run(arguments: Arguments) -> Result<u8> {
    match arguments.work {
        Some(Work::Compare(files)) => compare::main(&files),
        Some(Work::Density(density)) => density::main(&density),
        None => ladder_of(&arguments.ladder),
    }
}

/// Measures, or has it measured in virtual time, and shows what came of it.
fn ladder_of(arguments: &arguments::Ladder) -> Result<u8> {
    let report = if arguments.virtual_time {
        virtual_time::measure(arguments)?
    } else {
        measure::all(arguments)?
    };
    show::all(&report, &arguments.outputs)?;
    Ok(0)
}
