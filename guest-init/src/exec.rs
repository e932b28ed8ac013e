//! What runs beside a container's first process: programs in its namespaces, and services of
//! init's about it.

use std::{
    convert::Infallible,
    os::fd::{AsFd, OwnedFd},
};

use contracts::guest::{Process, Stdio, Task as Work};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt::set_socket_passcred},
    process::{getpid, umask},
    thread::{ThreadNameSpaceType as NameSpace, move_into_thread_name_spaces},
};

use crate::{
    cgroup::Cgroup,
    child::{self, Way},
    container::{Container, check_id},
    credentials,
    failure::{Failure, Stage},
    fresh::{self, Role},
    report,
    seccomp::Rights,
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
    /// A control group of its own.
    group: Option<Cgroup>,
}

impl Exec {
    /// Starts it, with `own_group` in a control group of its own: when this returns its process exists.
    ///
    /// # Errors
    /// When the container's first process has ended, or a call fails.
    pub fn start(
        id: String,
        (number, container): (u64, &Container),
        (work, own_group): (&Work, bool),
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
        let streams = Streams::open(stdio, terminal, &setting.connect, container.shift())?;
        let mut group = own_group_of(&id, container, (work, own_group), setting)?;
        match launch(id, container, work, (streams, &mut group), setting) {
            Ok(task) => Ok(Self {
                task,
                container: number,
                group,
            }),
            Err(failure) => {
                group.into_iter().for_each(Cgroup::remove);
                Err(failure)
            }
        }
    }

    /// Sends it a signal; what kills it kills all in its own control group.
    pub fn signal(&self, signal: u8) {
        if let (9, Some(group)) = (signal, &self.group) {
            group.kill();
        }
        self.task.signal(signal);
    }

    /// Lets go of it; its group is then to be removed when nothing runs there.
    pub fn part(self) -> Option<Cgroup> {
        self.group
    }
}

/// The control group that this needs, if it is not to be in the container's.
fn own_group_of(
    id: &str,
    container: &Container,
    (work, own_group): (&Work, bool),
    setting: &Setting,
) -> Result<Option<Cgroup>, Failure> {
    match work {
        Work::Program(_) if own_group => container.cgroup().inner(id).map(Some),
        Work::Tool(tool) if tools::touches_files(tool) && container.is_closed() => {
            container.group_beside(&setting.cgroups, id).map(Some)
        }
        _ => Ok(None),
    }
}

/// Clones the process into its control group, outside its process namespace: a program's
/// first step towards it, or a service's.
fn launch(
    id: String,
    container: &Container,
    work: &Work,
    (streams, own_group): (Streams, &mut Option<Cgroup>),
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
    let group = match work {
        Work::Tool(tool) if !tools::touches_files(tool) => None,
        _ => Some(own_group.as_ref().unwrap_or(container.cgroup()).as_fd()),
    };
    let mut cloned = sys::clone3(0, group);
    if group.is_some() && cloned.as_ref().is_err_and(is_busy) {
        // The container has shared out its own group, which then may have none but groups in it.
        let inner = own_group.insert(container.cgroup().inner(&id)?);
        cloned = sys::clone3(0, Some(inner.as_fd()));
    }
    match cloned.stage(|| "clone a process")? {
        Cloned::Child => {
            drop(report);
            let result = match work {
                Work::Program(process) => lead(container, process, &streams, &theirs, &own),
                Work::Tool(tool) => tools::lead(tool, container, &streams, &theirs, &own),
            };
            match result {
                Err(failure) => report::fail(&theirs, &failure),
                Ok(never) => match never {},
            }
        }
        Cloned::Parent { pid, pidfd } if is_program => {
            Task::entering(id, (pid, pidfd), report, inits)
        }
        Cloned::Parent { pid, pidfd } => Task::new(id, (pid, pidfd), report, inits),
    }
}

fn is_busy(error: &std::io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BUSY)
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
        // In there it may only lower them. What cannot be raised fails then, by its name.
        for limit in &process.rlimits {
            let _ = sys::raise_rlimit(getpid(), limit.resource, limit.hard);
        }
    }
    move_into_thread_name_spaces(container.task.pidfd(), namespaces)
        .stage(|| "enter the container's namespaces")?;
    if container.user_namespace() {
        credentials::become_root()?;
    }
    let rights = Rights {
        capabilities: process.capabilities & container.capabilities(),
        is_limited: container.root().is_limited(),
    };
    let program = child::become_program(process, streams, rights, Way::Beside, || Ok(()))?;
    let terminal = process.terminal.is_some();
    fresh::execute_program((own, Role::Beside), &program, terminal, report)
}
