//! `coracle completion`.

use std::io::Write;

use clap_complete::{Shell, generate};

use coracle_terminal::output::{self, Stream};

/// Print a completion script for a shell, to be read by it: `source <(coracle completion bash)`
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn main(arguments: &Arguments, command: &mut clap::Command) {
    let mut script = Vec::new();
    generate(arguments.shell, command, "coracle", &mut script);
    // A failure is noted, and told at the end.
    let _ = output::raw(Stream::Output).write_all(&script);
}
