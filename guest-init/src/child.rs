//! The container's first process, from the clone to the program.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use contracts::guest::{ContainerSpec, FailureKind, Process, SeccompProfile, Upper};
use rustix::{
    fs::{Gid, Mode, OFlags, Uid, fchown, open},
    io::{Errno, read},
    process::{chdir, getcwd, ioctl_tiocsctty, setsid, umask},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    system::sethostname,
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};

use crate::{
    credentials,
    failure::{Failure, Stage},
    filesystem::{self, Parts},
    fresh::{self, Role},
    program::Program,
    report,
    seccomp::{self, Rights},
    sys,
    users::Identity,
};

/// File permissions that programs do not give away unless they ask, as everywhere.
const DEFAULT_UMASK: Mode = Mode::from_raw_mode(0o022);

/// What the first process gets from init.
#[derive(Debug)]
pub struct Child<'a> {
    /// The container.
    pub spec: &'a ContainerSpec,
    /// Its root, mounted nowhere.
    pub root: &'a OwnedFd,
    /// Any directory of init's.
    pub meeting: &'a Path,
    /// Directory of init's that holds the files for the container's `/etc`.
    pub directory: &'a Path,
    /// Names of these files.
    pub files: &'a [&'static str],
    /// Its standard streams; a terminal is all three.
    pub streams: [OwnedFd; 3],
    /// The devpts instance of its terminal.
    pub devpts: Option<OwnedFd>,
    /// The capabilities that it may have.
    pub capabilities: u64,
    /// Where its network comes from.
    pub network: Net<'a>,
    /// A packet socket whose other end is init's.
    pub report: &'a OwnedFd,
    /// Init's own program, for a container with an init of its own.
    pub init: Option<&'a OwnedFd>,
}

/// Where a container's network comes from.
#[derive(Debug)]
pub enum Net<'a> {
    /// Its namespace is new, and it sets up the loopback itself.
    Loopback,
    /// Its namespace is new, and init sets all up.
    Init,
    /// Its namespace is the guest's own.
    Guest,
    /// Its namespace is that of another container's first process.
    Of(BorrowedFd<'a>),
}

impl Child<'_> {
    /// Becomes the program, or reports why not and ends.
    pub fn run(self) -> ! {
        let (report, init) = (self.report, self.init);
        let terminal = self.spec.process.terminal.is_some();
        let failure = match (self.prepare(), init) {
            (Ok(program), None) => program.execute(report),
            (Ok(program), Some(init)) => {
                // Nothing may be lost before the new program waits for them.
                sys::block_signals(true);
                let executed =
                    fresh::execute_program((init, Role::Reaper), &program, terminal, report);
                match executed {
                    Err(failure) => failure,
                    Ok(never) => match never {},
                }
            }
            (Err(failure), _) => failure,
        };
        report::fail(report, &failure)
    }

    fn prepare(mut self) -> Result<Program, Failure> {
        let spec = self.spec;
        let process = &spec.process;
        let terminal = process.terminal.is_some();
        if spec.user_namespace {
            self.wait_for("the user namespace")?;
            credentials::become_root()?;
        }
        if let Net::Of(process) = self.network {
            // Before its file systems are made: /sys shows the network of who made it.
            move_into_thread_name_spaces(process, ThreadNameSpaceType::NETWORK)
                .stage(|| "join the network of a container that has ended meanwhile")?;
        }
        umask(Mode::empty());
        setsid().stage(|| "start a session")?;
        if !spec.shares.control_groups {
            // Only now: the clone takes the namespace's root from init's group.
            sys::unshare(libc::CLONE_NEWCGROUP).stage(|| "make a cgroup namespace")?;
        }
        let devpts = self.devpts.take();
        let parts = Parts::make(spec, self.directory, self.files, devpts)?;
        filesystem::enter(self.root, self.meeting)?;
        let console = terminal.then(|| &self.streams[0]);
        parts.assemble(spec, console)?;
        sethostname(spec.hostname.as_bytes())
            .stage(|| format!("set the host name to `{}`", spec.hostname))?;
        match self.network {
            Net::Loopback => sys::loopback_up().stage(|| "bring up the loopback interface")?,
            Net::Init => self.wait_for("the network")?,
            Net::Guest | Net::Of(_) => {}
        }
        become_program(
            process,
            &self.streams,
            Rights {
                capabilities: self.capabilities,
                is_limited: matches!(spec.root.upper, Upper::Shared { .. }),
            },
            Way::First,
            || {
                if spec.root.read_only {
                    filesystem::seal_root()?;
                }
                Ok(())
            },
        )
    }

    /// Waits until init has done its part, and says so.
    fn wait_for(&self, what: &str) -> Result<(), Failure> {
        let mut go = [0];
        match read(self.report, &mut go).stage(|| format!("wait for {what}"))? {
            0 => Err(Failure::setup(format!(
                "cannot wait for {what}: init gave up"
            ))),
            _ => Ok(()),
        }
    }
}

/// How a program comes into its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As its first process.
    First,
    /// Beside that.
    Beside,
}

/// Finds the user and the program in the container's files, which are this process's, and becomes
/// the user. `seal` is called when all that needs to be written has been.
pub(crate) fn become_program(
    process: &Process,
    streams: &[OwnedFd; 3],
    rights: Rights,
    way: Way,
    seal: impl FnOnce() -> Result<(), Failure>,
) -> Result<Program, Failure> {
    let identity = credentials::identify(process)?;
    if process.terminal.is_some() && way == Way::First {
        ioctl_tiocsctty(&streams[0]).stage(|| "make the terminal the controlling one")?;
    }
    place_streams(streams, &identity)?;
    credentials::limit(&process.rlimits)?;
    enter_directory(&process.cwd, way)?;
    seal()?;
    umask(DEFAULT_UMASK);
    drop_privileges(process, rights, &identity)?;
    Program::find(process, &identity)
}

/// Puts the streams where programs expect them. As with runc they belong to the user, so that
/// `/dev/stdout` can be opened again.
fn place_streams(streams: &[OwnedFd; 3], identity: &Identity) -> Result<(), Failure> {
    let [stdin, stdout, stderr] = streams;
    for stream in streams {
        if identity.uid != 0 && !is_null(stream)? {
            fchown(stream, Some(Uid::from_raw(identity.uid)), None::<Gid>)
                .stage(|| "give the standard streams to the user")?;
        }
    }
    dup2_stdin(stdin).stage(|| "place standard input")?;
    dup2_stdout(stdout).stage(|| "place standard output")?;
    dup2_stderr(stderr).stage(|| "place standard error")
}

/// Whether a stream is `/dev/null`, which is shared and belongs to nobody.
fn is_null(stream: impl AsFd) -> Result<bool, Failure> {
    let state = rustix::fs::fstat(stream).stage(|| "look at a standard stream")?;
    Ok(state.st_rdev == rustix::fs::makedev(1, 3))
}

/// Enters the working directory and makes sure that it lies inside the root. For the first process it
/// is made when missing, where links lead, as docker does; for others that is an error, as runc's.
fn enter_directory(path: &str, way: Way) -> Result<(), Failure> {
    if !path.starts_with('/') {
        return Err(Failure::setup(format!(
            "cannot enter working directory `{path}`: not an absolute path"
        )));
    }
    let entered = match chdir(path) {
        Err(Errno::NOENT) if way == Way::First => {
            filesystem::make_where_links_lead(path)?;
            chdir(path)
        }
        other => other,
    };
    entered
        .stage(|| format!("enter working directory {path}"))
        .map_err(|failure| match way {
            Way::First => failure,
            // Docker's exit code for a command that cannot be run there.
            Way::Beside => Failure::new(FailureKind::NotExecutable, failure.message),
        })?;
    // The kernel tells a directory outside of the root by a path that does not begin with `/`.
    let current = getcwd(Vec::new()).stage(|| "name the working directory")?;
    if current.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Failure::setup(format!(
            "cannot enter working directory {path}: it lies outside of the root"
        )))
    }
}

/// Installs the filter and becomes the user. Without no_new_privs a filter needs `CAP_SYS_ADMIN`,
/// so it comes first then; else it comes last, so that it need not allow what is done here.
fn drop_privileges(process: &Process, rights: Rights, identity: &Identity) -> Result<(), Failure> {
    let interfaces = seccomp::Interfaces::of_kernel;
    let filter = match process.seccomp {
        SeccompProfile::Default => Some(seccomp::program(rights, interfaces())),
        SeccompProfile::Unconfined => Some(seccomp::unconfined(rights, interfaces())),
        SeccompProfile::Off => None,
    };
    if let (Some(filter), false) = (&filter, process.no_new_privileges) {
        seccomp::install(filter)?;
    }
    credentials::become_user(identity, rights.capabilities)?;
    if process.no_new_privileges {
        credentials::forbid_new_privileges()?;
        if let Some(filter) = &filter {
            seccomp::install(filter)?;
        }
    }
    Ok(())
}

/// `/dev/null`, for streams that lead nowhere.
///
/// # Errors
/// As `open(2)`.
pub fn null() -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    open("/dev/null", flags, Mode::empty()).stage(|| "open /dev/null")
}
