//! `coracle api`.

use std::{
    ffi::OsString,
    os::{
        fd::AsFd,
        unix::{net::UnixListener, process::ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use coracle_api::{backend::Backend, listen::Listening, serve::serve};
use coracle_platform::{
    Directories, private,
    sys::{self, Descriptors, Signals},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

/// Serve the Docker Engine API on a unix socket, for docker's clients
#[derive(clap::Args)]
#[command(override_usage = "coracle api [OPTIONS] [-- COMMAND [ARG...]]")]
pub(super) struct Arguments {
    /// Socket to listen on [default: $XDG_RUNTIME_DIR/coracle/docker.sock]
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    socket: Option<PathBuf>,
    /// Exit after this many seconds without connections
    #[arg(long, value_name = "SECONDS", conflicts_with = "command")]
    idle: Option<u64>,
    /// Run a command with DOCKER_HOST set to a socket of its own, and exit with its exit code
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Signals that end the server in good order. That of a terminal's end has its usual effect, which nohup(1) takes
/// away.
const ENDS: [i32; 2] = [libc::SIGTERM, libc::SIGINT];

/// Signals that a command gets which only this process receives.
const FORWARDED: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Exit code of a command that cannot be run, and of one that is not there, as a shell's.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub(super) fn main(arguments: &Arguments) -> Result<u8> {
    // Before anything else has its number.
    let passed = match arguments.command.is_empty() {
        true => passed()?,
        false => None,
    };
    // Before any thread exists: they inherit the mask.
    let signals: &[i32] = match arguments.command.is_empty() {
        true => &ENDS,
        false => &FORWARDED,
    };
    let signals = Signals::new(signals).context("cannot block signals")?;
    // A client has several descriptors here, and there may be hundreds.
    let descriptors = Descriptors::take_all();
    let engine = super::engine()?;
    let directories = engine.directories().clone();
    let backend = Backend::new(engine);
    if !arguments.command.is_empty() {
        return run(
            &arguments.command,
            backend,
            &directories,
            signals,
            &descriptors,
        );
    }
    let idle = arguments.idle.map(Duration::from_secs);
    let stop = signals.as_fd().try_clone_to_owned()?;
    let (listener, _listening) = match passed {
        Some(listener) if arguments.socket.is_none() => (listener, None),
        Some(_) => bail!("--socket and a socket that is passed on contradict each other"),
        None => {
            let default = || directories.runtime.join("docker.sock");
            let path = arguments.socket.clone().unwrap_or_else(default);
            let listening = Listening::at(&path)?;
            errln!("export DOCKER_HOST=unix://{}", listening.path().display());
            (listening.listener()?, Some(listening))
        }
    };
    serve(backend, listener, idle, Some(stop)).context("cannot serve clients")?;
    Ok(0)
}

/// The socket that systemd, or whoever does as it does, passes on (sd_listen_fds(3)).
fn passed() -> Result<Option<UnixListener>> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => return Ok(None),
        Some(1) => {}
        Some(count) => bail!("{count} sockets are passed on; one is served"),
    }
    let descriptor = sys::passed_socket().context("cannot take the socket that is passed on")?;
    let listener = UnixListener::from(descriptor);
    // One of another kind would be listened on without anybody's noticing.
    listener
        .local_addr()
        .context("what is passed on is not a unix socket")?;
    Ok(Some(listener))
}

/// Runs a command with a server of its own.
fn run(
    command: &[OsString],
    backend: Backend,
    directories: &Directories,
    signals: Signals,
    descriptors: &Descriptors,
) -> Result<u8> {
    private::create_directory(&directories.runtime)?;
    let directory = tempfile::Builder::new()
        .prefix("api-")
        .tempdir_in(&directories.runtime)
        .context("cannot make a directory for the socket")?;
    let listening = Listening::at(&directory.path().join("docker.sock"))?;
    let listener = listening.listener()?;
    let mut host = OsString::from("unix://");
    host.push(listening.path());
    thread::Builder::new()
        .name("server".into())
        .spawn(move || serve(backend, listener, None, None))
        .context("cannot start a thread")?;
    let (program, arguments) = command.split_first().context("no command specified")?;
    let mut child = Command::new(program);
    child.args(arguments).env("DOCKER_HOST", host);
    for other in [
        "DOCKER_CONTEXT",
        "DOCKER_TLS",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
    ] {
        child.env_remove(other);
    }
    signals.undo_in(&mut child);
    descriptors.undo_in(&mut child);
    let child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            };
            let program = program.display();
            coracle_terminal::report::error(
                &anyhow::Error::from(error).context(format!("cannot run {program}")),
            );
            return Ok(code);
        }
    };
    let status = until_ended(child, signals)?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX))
}

/// Waits for a command's end, and passes signals on that it has not got from a terminal itself.
fn until_ended(mut child: Child, mut signals: Signals) -> Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.context("a child has no number")?;
    let ended = pidfd_open(pid, PidfdFlags::empty()).context("cannot wait for the command")?;
    loop {
        let mut ready = [
            PollFd::new(&ended, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut ready, None)).context("cannot wait for the command")?;
        let [over, signal] = ready.map(|one| !one.revents().is_empty());
        if over {
            return child.wait().context("cannot wait for the command");
        }
        if signal {
            let (number, by_kernel) = signals.receive().context("cannot read a signal")?;
            if !by_kernel && let Some(signal) = Signal::from_named_raw(number) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, signal);
            }
        }
    }
}
