//! What runs beside a container's first process: programs in its namespaces, and services of
//! init's about it.

use std::os::fd::{AsFd, OwnedFd};

use coracle_protocol::{Process, Stdio, Task as Work};
use rustix::{
    fs::{Mode, OFlags, open},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{setsid, umask},
    thread::{ThreadNameSpaceType as NameSpace, move_into_thread_name_spaces},
};

use crate::{
    child,
    container::{Container, check_id},
    failure::{Failure, Stage},
    setting::Setting,
    sys::{self, Cloned},
    task::{Streams, Task},
    terminal::Terminal,
    tools,
};

/// Something that runs beside a container's first process.
#[derive(Debug)]
pub struct Exec {
    /// Its process.
    pub task: Task,
    /// The container's number.
    pub container: u64,
}

impl Exec {
    /// Starts it: when this returns its process exists.
    ///
    /// # Errors
    /// When the container's first process has ended, or a call fails.
    pub fn start(
        id: String,
        (number, container): (u64, &Container),
        work: &Work,
        stdio: Stdio,
        setting: &Setting,
    ) -> Result<Self, Failure> {
        check_id(&id)?;
        if !container.task.is_running() {
            return Err(Failure::setup("the container is not running"));
        }
        let terminal = match work {
            Work::Program(Process {
                terminal: Some(size),
                ..
            }) => {
                let pid = container.task.pid().as_raw_nonzero();
                let path = format!("/proc/{pid}/root");
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let root =
                    open(&path, flags, Mode::empty()).stage(|| "open the container's root")?;
                Some(Terminal::inside(root, *size)?)
            }
            _ => None,
        };
        let streams = Streams::open(stdio, terminal, &setting.connect)?;
        Ok(Self {
            task: launch(id, container, work, streams)?,
            container: number,
        })
    }
}

/// Clones the process: a program's into the container's process namespace and control group.
fn launch(
    id: String,
    container: &Container,
    work: &Work,
    streams: Streams,
) -> Result<Task, Failure> {
    let (report, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .stage(|| "make a socket pair")?;
    let (own, _, inits) = streams.part();
    let is_program = matches!(work, Work::Program(_));
    let cloned = if is_program {
        let own = open(
            "/proc/self/ns/pid",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .stage(|| "open the process namespace")?;
        let pidfd = container.task.pidfd();
        move_into_thread_name_spaces(pidfd, NameSpace::PROCESS_ID)
            .stage(|| "enter the container's process namespace")?;
        let cloned = sys::clone3(0, Some(container.cgroup().as_fd()));
        if !matches!(cloned, Ok(Cloned::Child)) {
            move_into_thread_name_spaces(own.as_fd(), NameSpace::PROCESS_ID)
                .stage(|| "return to the process namespace")?;
        }
        cloned
    } else {
        sys::clone3(0, None)
    };
    match cloned.stage(|| "clone a process")? {
        Cloned::Child => {
            drop(report);
            let result = match work {
                Work::Program(process) => become_program(container, process, &own, &theirs),
                Work::Tool(tool) => tools::run(tool, container, &own, &theirs),
            };
            match result {
                Err(failure) => child::fail(&theirs, &failure),
                Ok(never) => match never {},
            }
        }
        Cloned::Parent { pid, pidfd } => Task::new(id, (pid, pidfd), report, inits),
    }
}

/// Becomes a program in the container, as its first process did.
fn become_program(
    container: &Container,
    process: &Process,
    streams: &[OwnedFd; 3],
    report: &OwnedFd,
) -> Result<std::convert::Infallible, Failure> {
    umask(Mode::empty());
    setsid().stage(|| "start a session")?;
    let mut namespaces = NameSpace::MOUNT
        | NameSpace::HOST_NAME_AND_NIS_DOMAIN_NAME
        | NameSpace::INTER_PROCESS_COMMUNICATION
        | NameSpace::NETWORK
        | NameSpace::CONTROL_GROUP;
    if container.user_namespace() {
        namespaces |= NameSpace::USER;
    }
    move_into_thread_name_spaces(container.task.pidfd(), namespaces)
        .stage(|| "enter the container's namespaces")?;
    let capabilities = process.capabilities & container.capabilities();
    let program = child::become_program(process, streams, capabilities, || Ok(()))?;
    Err(program.execute(report))
}
