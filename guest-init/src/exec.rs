//! What runs beside a container's first process: programs in its namespaces, and services of
//! init's about it.

use std::{
    convert::Infallible,
    os::fd::{AsFd, OwnedFd},
};

use coracle_protocol::{Process, Stdio, Task as Work};
use rustix::{
    fs::{Mode, OFlags, open},
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt::set_socket_passcred},
    process::umask,
    thread::{ThreadNameSpaceType as NameSpace, move_into_thread_name_spaces},
};

use crate::{
    child::{self, Way},
    container::{Container, check_id},
    failure::{Failure, Stage},
    fresh::{self, Role},
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
            task: launch(id, container, work, streams, setting)?,
            container: number,
        })
    }
}

/// Clones the process into the container's control group, outside its process namespace: a program's
/// first step towards it, or a service's.
fn launch(
    id: String,
    container: &Container,
    work: &Work,
    streams: Streams,
    setting: &Setting,
) -> Result<Task, Failure> {
    let (report, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .stage(|| "make a socket pair")?;
    let is_program = matches!(work, Work::Program(_));
    if is_program {
        // From the beginning, so that each report says whose it is.
        set_socket_passcred(&report, true).stage(|| "ask who reports")?;
    }
    let own = fresh::open_program(setting)?;
    let (streams, _, inits) = streams.part();
    let group = is_program.then(|| container.cgroup().as_fd());
    match sys::clone3(0, group).stage(|| "clone a process")? {
        Cloned::Child => {
            drop(report);
            let result = match work {
                Work::Program(process) => lead(container, process, &streams, &theirs, &own),
                Work::Tool(tool) => tools::run(tool, container, &streams, &theirs),
            };
            match result {
                Err(failure) => child::fail(&theirs, &failure),
                Ok(never) => match never {},
            }
        }
        Cloned::Parent { pid, pidfd } if is_program => {
            Task::entering(id, (pid, pidfd), report, inits)
        }
        Cloned::Parent { pid, pidfd } => Task::new(id, (pid, pidfd), report, inits),
    }
}

/// Becomes as confined as a program in the container, of which only the process namespace is missing:
/// that is for children. This process has init's memory, and so must not be seen by the container; the
/// one that it executes has not, and clones the program's ([`crate::beside`]).
fn lead(
    container: &Container,
    process: &Process,
    streams: &[OwnedFd; 3],
    report: &OwnedFd,
    own: &OwnedFd,
) -> Result<Infallible, Failure> {
    umask(Mode::empty());
    let mut namespaces = NameSpace::MOUNT
        | NameSpace::PROCESS_ID
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
    let program = child::become_program(process, streams, capabilities, Way::Beside, || Ok(()))?;
    let terminal = process.terminal.is_some();
    fresh::execute_program((own, Role::Beside), &program, terminal, report)
}
