//! `coracle-bench`: starts containers of several systems side by side and tells, step by step, what a start
//! takes. `coracle bench` is this program; it uses nothing of Coracle's but the command line, as a user does.
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
extern crate coracle_terminal;

mod arguments;
mod clock;
mod command;
mod compare;
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

use coracle_terminal::output::{self, Stream};

use arguments::{Arguments, Work};

/// What the program ends with when it could not do what it was asked for.
const FAILURE: u8 = 125;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                output::write(Stream::Error, &text);
                return ExitCode::from(FAILURE);
            }
            output::write(Stream::Output, &text);
            return conclude(0);
        }
    };
    match run(arguments) {
        Ok(code) => conclude(code),
        Err(error) => {
            output::message("coracle bench", &format_args!("{error:#}"));
            ExitCode::from(FAILURE)
        }
    }
}

/// The exit code, with what became of the output.
fn conclude(code: u8) -> ExitCode {
    ExitCode::from(match output::finish() {
        Err(failed) if failed.is_closed_pipe() && code == 0 => output::CLOSED_PIPE,
        Err(failed) if !failed.is_closed_pipe() => {
            output::message("coracle bench", &failed);
            if code == 0 { FAILURE } else { code }
        }
        _ => code,
    })
}

/// Something that a person should know although the measurement goes on.
fn warn(error: &anyhow::Error) {
    output::message("coracle bench: warning", &format_args!("{error:#}"));
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
