//! `coracle completion`.

use clap_complete::{Shell, generate};

/// Print a completion script for a shell, to be read by it: `source <(coracle completion bash)`
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn main(arguments: &Arguments, command: &mut clap::Command) {
    generate(arguments.shell, command, "coracle", &mut std::io::stdout());
}
