//! `coracle host exec`: a program with the rights of a host's root, in a container of the host.

use anyhow::{Context, Result};
use clap::{Args as _, FromArgMatches};

use super::super::{exec::Program, run};

/// Where the program comes from unless told otherwise: a host has a kernel and an init, and no programs.
const IMAGE: &str = "busybox";

/// What makes a container the same as its host, but for the files.
const AS_THE_HOST: [&str; 10] = [
    "--rm",
    "--privileged",
    "--pid=host",
    "--ipc=host",
    "--network=host",
    "--cgroupns=host",
    "--log-driver=none",
    "--no-healthcheck",
    // In memory: it is needed most when the host's disk is full.
    "--storage-opt=memory=64m",
    // The command is what is run, whatever the image would do with it.
    "--entrypoint=",
];

/// Execute a command as root of a host
#[derive(clap::Args)]
#[command(
    override_usage = "coracle host exec [OPTIONS] HOST COMMAND [ARG...]",
    after_help = "A host has no programs of its own: they come from an image, and see the host's processes, \
        network, devices and control groups; what it writes to files of its own is in memory, 64 MiB at \
        most. The files of a container are in /proc/PID/root of one of \
        its processes. It is what 'coracle run --rm --host HOST --privileged --pid host --ipc host \
        --network host --cgroupns host IMAGE' does."
)]
pub(super) struct Arguments {
    /// Host, and the command with its arguments
    #[arg(
        required = true,
        num_args = 2..,
        trailing_var_arg = true,
        value_name = "HOST COMMAND [ARG...]"
    )]
    host_and_command: Vec<String>,
    /// Image that provides the programs
    #[arg(long, value_name = "IMAGE", default_value = IMAGE)]
    image: String,
    #[command(flatten)]
    program: Program,
}

pub(super) fn main(arguments: &Arguments, begun: u64) -> Result<u8> {
    let command = run::Arguments::augment_args(clap::Command::new("run"));
    let matches = command.try_get_matches_from(words(arguments));
    let parsed = matches.and_then(|matches| run::Arguments::from_arg_matches(&matches));
    run::main(
        &parsed.context("cannot make a 'coracle run' of this")?,
        begun,
    )
}

/// The arguments of the `run` that does it, with its name.
fn words(arguments: &Arguments) -> Vec<String> {
    let program = &arguments.program;
    let mut words = vec!["run".to_owned()];
    words.extend(AS_THE_HOST.map(str::to_owned));
    let flags = [
        (program.interactive, "--interactive"),
        (program.tty, "--tty"),
        (program.detach, "--detach"),
    ];
    let given = flags.iter().filter(|(given, _)| *given);
    words.extend(given.map(|(_, flag)| (*flag).to_owned()));
    words.extend(program.env.iter().map(|env| format!("--env={env}")));
    let options = [("workdir", &program.workdir), ("user", &program.user)];
    for (name, value) in options {
        words.extend(value.iter().map(|value| format!("--{name}={value}")));
    }
    if let Some((host, command)) = arguments.host_and_command.split_first() {
        words.push(format!("--host={host}"));
        words.push("--".into());
        words.push(arguments.image.clone());
        words.extend_from_slice(command);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_with_flags_of_its_own_is_a_run_in_the_host() {
        let command = Arguments::augment_args(clap::Command::new("exec"));
        let given = [
            "exec", "-i", "-e", "A=1", "-w", "/proc", "blue", "ls", "-l", "--rm",
        ];
        let matches = command.try_get_matches_from(given).unwrap();
        let words = words(&Arguments::from_arg_matches(&matches).unwrap());
        let expected = [
            &["run"][..],
            &AS_THE_HOST,
            &[
                "--interactive",
                "--env=A=1",
                "--workdir=/proc",
                "--host=blue",
            ],
            &["--", "busybox", "ls", "-l", "--rm"],
        ];
        assert_eq!(words, expected.concat());
        let run = run::Arguments::augment_args(clap::Command::new("run"));
        assert!(run.try_get_matches_from(words).is_ok());
    }
}
