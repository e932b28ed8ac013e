//! Services about a container, each in a process of its own: it writes to its standard output and
//! exits, so that neither a large answer nor a slow reader holds init up.
//!
//! A service is init's work on what a container can change under its hands. So its process is no more
//! than the container's own: it has the container's control group, mounts and user namespace where it
//! goes after the container's files, the system call filter, those few capabilities that its work takes,
//! and, as it is executed afresh ([`crate::fresh`]), none of init's memory and descriptors.

mod attributes;
mod changes;
mod inside;
mod pack;
mod processes;
mod unpack;

use std::{
    convert::Infallible,
    ffi::CString,
    fmt::Display,
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::{AsFd, FromRawFd, OwnedFd},
};

use contracts::guest::Tool;
use rustix::{
    fs::{Mode, OFlags, open},
    process::{chdir, umask},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::{ThreadNameSpaceType as NameSpace, move_into_thread_name_spaces},
};

use crate::{
    cgroup,
    container::Container,
    credentials,
    failure::{Failure, Stage},
    fresh, report, seccomp, sys,
    users::Identity,
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

/// Numbers of capabilities (linux/capability.h).
const CHOWN: u64 = 1 << 0;
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const FOWNER: u64 = 1 << 3;
const FSETID: u64 = 1 << 4;
const SYS_ADMIN: u64 = 1 << 21;
const MKNOD: u64 = 1 << 27;
const SETFCAP: u64 = 1 << 31;

/// What the container's root may do to files, whatever this container's own has left of it: as docker
/// copies into containers.
const FILES: u64 = CHOWN | DAC_OVERRIDE | DAC_READ_SEARCH | FOWNER | FSETID | SETFCAP;

/// Whether a service goes after the container's files, and so belongs into its control group.
pub(crate) fn touches_files(tool: &Tool) -> bool {
    match tool {
        Tool::Pack { .. } | Tool::Unpack { .. } | Tool::Look { .. } | Tool::Changes => true,
        Tool::Freeze(_) | Tool::Processes | Tool::Statistics => false,
    }
}

/// Becomes what a service needs to be, and executes it.
///
/// # Errors
/// When it could not even begin.
pub(crate) fn lead(
    tool: &Tool,
    container: &Container,
    streams: &[OwnedFd; 3],
    report: &OwnedFd,
    own: &OwnedFd,
) -> Result<Infallible, Failure> {
    let [stdin, stdout, stderr] = streams;
    dup2_stdin(stdin).stage(|| "place standard input")?;
    dup2_stdout(stdout).stage(|| "place standard output")?;
    dup2_stderr(stderr).stage(|| "place standard error")?;
    umask(Mode::empty());
    let group = || {
        let group = container.cgroup().as_fd().try_clone_to_owned();
        group.stage(|| "copy a descriptor")
    };
    let (capabilities, others) = match tool {
        Tool::Freeze(_) | Tool::Processes => (0, vec![group()?]),
        Tool::Statistics => {
            let pid = container.task.pid().as_raw_nonzero();
            let path = format!("/proc/{pid}/net/dev");
            // A kernel without networks has no such file.
            let interfaces = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            (0, [group()?].into_iter().chain(interfaces).collect())
        }
        // The marks of overlayfs are only for who administers the system.
        Tool::Changes => (SYS_ADMIN | DAC_READ_SEARCH, directories(container)?),
        Tool::Pack { .. } | Tool::Look { .. } => {
            enter(container)?;
            (DAC_OVERRIDE | DAC_READ_SEARCH, Vec::new())
        }
        Tool::Unpack { .. } => {
            enter(container)?;
            (FILES | container.capabilities() & MKNOD, Vec::new())
        }
    };
    confine(capabilities)?;
    fresh::execute_tool(own, words(tool)?, report, &others)
}

/// Enters the container's file system: no path leads out of it from then on, whatever the container
/// does with its symbolic links meanwhile. Memory that this process uses is the container's.
fn enter(container: &Container) -> Result<(), Failure> {
    let mut namespaces = NameSpace::MOUNT;
    if container.user_namespace() {
        namespaces |= NameSpace::USER;
    }
    move_into_thread_name_spaces(container.task.pidfd(), namespaces)
        .stage(|| "enter the container's file system")?;
    chdir("/").stage(|| "enter the container's root")
}

/// The directory of what was changed, and those of the layers, from the base up.
fn directories(container: &Container) -> Result<Vec<OwnedFd>, Failure> {
    let (upper, layers) = container.root().layers();
    let all = [upper].into_iter().chain(layers);
    all.map(|path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(&path, flags, Mode::empty()).stage(|| format!("open {}", path.display()))
    })
    .collect()
}

/// Leaves this process the container's system call filter and these capabilities.
fn confine(capabilities: u64) -> Result<(), Failure> {
    let root = Identity {
        uid: 0,
        gid: 0,
        groups: vec![0],
        home: Vec::new(),
    };
    credentials::become_user(&root, capabilities)?;
    credentials::forbid_new_privileges()?;
    // No service makes system calls that need a capability to be allowed, or gives files to another project.
    let rights = seccomp::Rights {
        capabilities: 0,
        is_limited: true,
    };
    let filter = seccomp::program(rights, seccomp::Interfaces::of_kernel());
    seccomp::install(&filter)
}

/// A service in words, as the program is executed with.
fn words(tool: &Tool) -> Result<Vec<CString>, Failure> {
    let truth = |value: &bool| if *value { "yes" } else { "no" };
    let words = match tool {
        Tool::Freeze(frozen) => vec!["freeze", truth(frozen)],
        Tool::Processes => vec!["processes"],
        Tool::Statistics => vec!["statistics"],
        Tool::Changes => vec!["changes"],
        Tool::Pack { path, follow } => vec!["pack", truth(follow), path],
        Tool::Unpack { path, follow } => vec!["unpack", truth(follow), path],
        Tool::Look { path } => vec!["look", path],
    };
    let words = words.into_iter().map(CString::new);
    words
        .collect::<Result<_, _>>()
        .map_err(|_| Failure::setup("the path holds a zero byte"))
}

/// The service that [`words`] tell of.
fn service(words: &[CString]) -> Option<Tool> {
    let words: Vec<&str> = words
        .iter()
        .map(|word| word.to_str().ok())
        .collect::<Option<_>>()?;
    let truth = |value: &str| value == "yes";
    Some(match words[..] {
        ["freeze", frozen] => Tool::Freeze(truth(frozen)),
        ["processes"] => Tool::Processes,
        ["statistics"] => Tool::Statistics,
        ["changes"] => Tool::Changes,
        ["pack", follow, path] => Tool::Pack {
            path: path.into(),
            follow: truth(follow),
        },
        ["unpack", follow, path] => Tool::Unpack {
            path: path.into(),
            follow: truth(follow),
        },
        ["look", path] => Tool::Look { path: path.into() },
        _ => return None,
    })
}

/// Does the service and ends the process, which was executed for it. Descriptors that it was passed have
/// the numbers after that of the report.
#[expect(
    unsafe_code,
    reason = "takes over descriptors that were passed by number"
)]
pub(crate) fn run(words: &[CString], report: OwnedFd, first: i32) -> ! {
    // For who lists processes: it was executed by a number.
    let _ = rustix::thread::set_name(c"init");
    let Some(tool) = service(words) else {
        sys::exit(1)
    };
    let others = (first..)
        // SAFETY: whoever executes this program passes these descriptors for it to own, one after the
        // other.
        .map_while(|number| unsafe { sys::is_open(number).then(|| OwnedFd::from_raw_fd(number)) })
        .collect();
    if let Err(failure) = report::start(&report) {
        report::fail(&report, &failure)
    }
    // By its end init sees the start.
    drop(report);
    let code = match serve(&tool, others) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    };
    sys::exit(code)
}

fn serve(tool: &Tool, others: Vec<OwnedFd>) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(BUFFER, standard_output()?);
    let missing = || Error("a descriptor is missing".into());
    let first = || others.first().ok_or_else(missing);
    match tool {
        Tool::Freeze(frozen) => {
            cgroup::freeze(first()?, *frozen).tried("freeze", &"the container's control group")?
        }
        Tool::Processes => processes::write(first()?, &mut out)?,
        Tool::Statistics => {
            let interfaces = others.get(1).map(OwnedFd::try_clone).transpose()?;
            statistics(first()?, interfaces.map(File::from), &mut out)?;
        }
        Tool::Changes => {
            let (upper, layers) = others.split_first().ok_or_else(missing)?;
            changes::write(upper, layers, &mut out)?;
        }
        Tool::Pack { path, follow } => pack::write(path, *follow, &mut out)?,
        Tool::Unpack { path, follow } => unpack::read(path, *follow, io::stdin().lock())?,
        Tool::Look { path } => pack::look(path, &mut out)?,
    }
    out.flush()?;
    Ok(())
}

fn standard_output() -> Result<File, Error> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn statistics(
    group: &OwnedFd,
    interfaces: Option<File>,
    out: &mut impl Write,
) -> Result<(), Error> {
    for name in STATISTICS {
        // A kernel without the controller has no such file.
        if let Ok(content) = cgroup::read(group, name) {
            writeln!(out, "==> {name} <==")?;
            out.write_all(&content)?;
        }
    }
    if let Some(mut interfaces) = interfaces {
        writeln!(out, "==> {INTERFACES} <==")?;
        io::copy(&mut interfaces, out)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_come_back_from_their_words() {
        let path = || "/a b/c".to_owned();
        for tool in [
            Tool::Freeze(true),
            Tool::Freeze(false),
            Tool::Processes,
            Tool::Statistics,
            Tool::Changes,
            Tool::Pack {
                path: path(),
                follow: true,
            },
            Tool::Unpack {
                path: path(),
                follow: false,
            },
            Tool::Look { path: path() },
        ] {
            assert_eq!(service(&words(&tool).unwrap()), Some(tool));
        }
        assert!(words(&Tool::Look { path: "\0".into() }).is_err());
    }
}
