//! `coracle bench`.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use coracle_platform::programs;

/// The program that measures. It is one of its own, so that no other command carries it.
const PROGRAM: &str = "coracle-bench";

/// Measure what a container's start takes, step by step, beside other systems
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What to measure; 'coracle bench --help' tells
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENT"
    )]
    arguments: Vec<OsString>,
}

/// Becomes the program.
pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    let program = programs::find(PROGRAM)?;
    let error = Command::new(&program).args(&arguments.arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
