//! `coracle host exec`: a program with the rights of a host's root, in a container of the host.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::super::{
    exec::Program,
    flags::{console_size, environment},
    run::Run,
};
use coracle_engine::containers::{CreateRequest, Healthcheck, HostConfig, LogConfig, PullPolicy};
use coracle_platform::sys;

/// Where the program comes from unless told otherwise: a host has a kernel and an init, and no programs.
const IMAGE: &str = "busybox";

/// What it may write to files of its own, in memory: it is needed most when the host's disk is full.
const STORAGE: &str = "64m";

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
    // Its arguments may hold secrets, and it lives as long as the command.
    sys::show("coracle host exec");
    let program = &arguments.program;
    let run = Run {
        request: request(arguments),
        image: arguments.image.clone(),
        cidfile: None,
        detach: program.detach,
        detach_keys: None,
        json: false,
        timeline: false,
    };
    run.run(begun)
}

/// A container that is the same as its host, but for the files.
fn request(arguments: &Arguments) -> Result<CreateRequest> {
    let Some((host, command)) = arguments.host_and_command.split_first() else {
        bail!("no host specified");
    };
    let program = &arguments.program;
    let attached = !program.detach;
    Ok(CreateRequest {
        image: arguments.image.clone(),
        pull: PullPolicy::Missing,
        // The command is what is run, whatever the image would do with it.
        entrypoint: Some(vec![String::new()]),
        cmd: Some(command.to_vec()),
        env: environment(&program.env)?,
        user: program.user.clone().unwrap_or_default(),
        working_dir: program.workdir.clone().unwrap_or_default(),
        tty: program.tty,
        open_stdin: program.interactive,
        stdin_once: program.interactive && attached,
        attach_stdin: program.interactive && attached,
        attach_stdout: attached,
        attach_stderr: attached,
        healthcheck: Some(Healthcheck {
            test: vec!["NONE".into()],
            ..Healthcheck::default()
        }),
        host: Some(host.clone()),
        host_config: HostConfig {
            auto_remove: true,
            privileged: true,
            pid_mode: "host".into(),
            ipc_mode: "host".into(),
            cgroupns_mode: "host".into(),
            network_mode: "host".into(),
            log_config: LogConfig {
                kind: "none".into(),
                ..LogConfig::default()
            },
            storage_opt: BTreeMap::from([("memory".into(), STORAGE.into())]),
            console_size: console_size(program.tty),
            ..HostConfig::default()
        },
        ..CreateRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    #[test]
    fn command_with_flags_of_its_own_is_a_container_in_the_host() {
        let command = Arguments::augment_args(clap::Command::new("exec"));
        let given = [
            "exec", "-i", "-e", "A=1", "-w", "/proc", "blue", "ls", "-l", "--rm",
        ];
        let matches = command.try_get_matches_from(given).unwrap();
        let request = request(&Arguments::from_arg_matches(&matches).unwrap()).unwrap();
        assert_eq!(request.cmd.unwrap(), ["ls", "-l", "--rm"]);
        assert_eq!(request.entrypoint.unwrap(), [""]);
        assert_eq!(request.host.as_deref(), Some("blue"));
        assert_eq!(request.image, IMAGE);
        assert_eq!(request.env, ["A=1"]);
        assert_eq!(request.working_dir, "/proc");
        assert!(request.open_stdin && request.stdin_once && !request.tty);
        let host = request.host_config;
        assert!(host.privileged && host.auto_remove);
        for mode in [
            host.pid_mode,
            host.ipc_mode,
            host.cgroupns_mode,
            host.network_mode,
        ] {
            assert_eq!(mode, "host");
        }
    }
}
