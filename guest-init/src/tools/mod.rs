//! Services about a container, each in a process of its own: it writes to its standard output and
//! exits, so that neither a large answer nor a slow reader holds init up.

mod changes;
mod pack;
mod processes;
mod unpack;

use std::{
    convert::Infallible,
    fmt::Display,
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::{AsFd, OwnedFd},
};

use coracle_protocol::Tool;
use rustix::{
    process::chdir,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::{ThreadNameSpaceType as NameSpace, move_into_thread_name_spaces},
};

use crate::{
    child,
    container::Container,
    failure::{Failure, Stage},
    sys,
};

/// Files of a control group that tell what it uses.
const STATISTICS: [&str; 7] = [
    "memory.current",
    "memory.max",
    "memory.stat",
    "cpu.stat",
    "pids.current",
    "pids.max",
    "io.stat",
];

/// Name of the answer's part that tells of network interfaces, as proc(5) has it.
const INTERFACES: &str = "net/dev";

/// Bytes that are written at a time.
const BUFFER: usize = 64 << 10;

/// Does the service and ends the process.
///
/// # Errors
/// When it could not even begin.
pub(crate) fn run(
    tool: &Tool,
    container: &Container,
    streams: &[OwnedFd; 3],
    report: &OwnedFd,
) -> Result<Infallible, Failure> {
    let [stdin, stdout, stderr] = streams;
    dup2_stdin(stdin).stage(|| "place standard input")?;
    dup2_stdout(stdout).stage(|| "place standard output")?;
    dup2_stderr(stderr).stage(|| "place standard error")?;
    if matches!(
        tool,
        Tool::Pack { .. } | Tool::Unpack { .. } | Tool::Look { .. }
    ) {
        enter(container)?;
    }
    child::report_start(report)?;
    // There is no exec that closes them. One of them is the other end of this process's input, which
    // would never end; another is the report, by whose end init sees the start.
    sys::close_all_but(&[container.cgroup().as_fd()]).stage(|| "close descriptors")?;
    let code = match serve(tool, container) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    };
    sys::exit(code)
}

/// Enters the container's file system: no path leads out of it from then on, whatever the container
/// does with its symbolic links meanwhile. Memory that this process uses is the container's.
fn enter(container: &Container) -> Result<(), Failure> {
    // Descriptors of init's are of no use in there.
    move_into_thread_name_spaces(container.task.pidfd(), NameSpace::MOUNT)
        .stage(|| "enter the container's file system")?;
    chdir("/").stage(|| "enter the container's root")
}

fn serve(tool: &Tool, container: &Container) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(BUFFER, standard_output()?);
    match tool {
        Tool::Freeze(frozen) => {
            let frozen = container.cgroup().freeze(*frozen);
            frozen.map_err(|failure| Error(failure.message))?;
        }
        Tool::Processes => processes::write(container.cgroup(), &mut out)?,
        Tool::Statistics => statistics(container, &mut out)?,
        Tool::Changes => {
            let (upper, layers) = container.root().layers();
            changes::write(&upper, &layers, &mut out)?;
        }
        Tool::Pack { path, follow } => pack::write(path, *follow, &mut out)?,
        Tool::Unpack { path } => unpack::read(path, io::stdin().lock())?,
        Tool::Look { path } => pack::look(path, &mut out)?,
    }
    out.flush()?;
    Ok(())
}

fn standard_output() -> Result<File, Error> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn statistics(container: &Container, out: &mut impl Write) -> Result<(), Error> {
    for name in STATISTICS {
        // A kernel without the controller has no such file.
        if let Ok(content) = container.cgroup().read(name) {
            writeln!(out, "==> {name} <==")?;
            out.write_all(&content)?;
        }
    }
    // That of its network's interfaces; a kernel without networks has no such file.
    let pid = container.task.pid().as_raw_nonzero();
    if let Ok(interfaces) = std::fs::read(format!("/proc/{pid}/net/dev")) {
        writeln!(out, "==> {INTERFACES} <==")?;
        out.write_all(&interfaces)?;
    }
    Ok(())
}

/// Why a service could not be done, in words.
#[derive(Debug)]
pub(super) struct Error(String);

impl Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Names what was tried, on what.
pub(super) trait Tried<T> {
    /// The error with the action and the path.
    fn tried(self, action: &str, path: &dyn Display) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, action: &str, path: &dyn Display) -> Result<T, Error> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or(&text);
            Error(format!("cannot {action} {path}: {text}"))
        })
    }
}
