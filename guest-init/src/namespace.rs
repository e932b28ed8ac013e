//! Init without a machine: the same server on the kernel of the system that it is started on, as root.
//!
//! Two processes. The outer one makes the control group and waits: for the inner one's end, and for a word or
//! the end of the one who started it, upon which it kills the inner one and takes the control group away. The
//! inner one is the first process of namespaces of its own, and serves as in a guest: whatever ends it, the
//! kernel ends all that runs in these namespaces, and takes away what was mounted and connected in them.

use std::{
    ffi::OsString,
    io::{IoSlice, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
};

use contracts::guest::{CONTROL_PORT, GuestMessage, VERSION};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FlockOperation, Mode, OFlags, flock, fstat, mkdir, open, stat},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{
        DumpableBehavior, Pid, Signal, WaitOptions, pidfd_send_signal, set_dumpable_behavior,
        set_parent_process_death_signal, waitpid,
    },
    system::uname,
};

use crate::{
    cgroup,
    clock::now,
    root::MountedRoot,
    server::Server,
    setting::{OWN_PROGRAM, Setting},
    sys::{self, Cloned},
};

/// The first argument of a program that is to be this.
const MODE: &str = "namespace";

/// Its name among processes.
const NAME: &std::ffi::CStr = c"init";

/// Names of control groups in the one that is made: of the inner process, and of containers.
const INIT: &str = "init";
const CONTAINERS: &str = "containers";

/// Where containers' roots are put together, on a file system of the inner process's own.
const PLACE: &str = "/run";

/// Where a sysfs is mounted in there; no container has this name.
const SYSTEM: &str = ".sys";

/// Exit codes: of one that failed, and of one that did what it was for.
const FAILED: i32 = 1;
const DONE: i32 = 0;

/// Most descriptors of a process, as in a guest.
const DESCRIPTORS: u64 = 1 << 20;

/// Linux's numbers of the limits on descriptors and on a user's processes.
const RLIMIT_NOFILE: u32 = 7;
const RLIMIT_NPROC: u32 = 6;

/// Attempts to make a control group while others take away what they think is left over.
const ATTEMPTS: usize = 100;

/// What it is told.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Descriptor of a packet socket: connections go out by it, as coracle-vmm sends them.
    door: i32,
    /// The control group to be made.
    group: PathBuf,
    /// Files of layers, from the base up.
    layers: Vec<PathBuf>,
}

impl Arguments {
    /// The arguments, of a program that is called with these words; `None` when they say nothing of it.
    pub fn take(words: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut words = words.into_iter().skip(1);
        if words.next()? != MODE {
            return None;
        }
        Some(Self {
            door: words
                .next()?
                .to_str()?
                .parse()
                .ok()
                .filter(|number| *number > 2)?,
            group: words.next()?.into(),
            layers: words.map(PathBuf::from).collect(),
        })
    }
}

/// Why it cannot serve.
type Failed = (&'static str, std::io::Error);

/// Says which step it was that failed.
fn step<T, E: Into<std::io::Error>>(name: &'static str, result: Result<T, E>) -> Result<T, Failed> {
    result.map_err(|error| (name, error.into()))
}

/// Serves until the one who started it is gone, or says a word.
pub fn run(arguments: Arguments) -> ! {
    let begun = now();
    let code = match outer(&arguments, begun) {
        Ok(code) => code,
        Err((step, error)) => {
            // Standard error is read by the one who started it.
            let _ = writeln!(std::io::stderr(), "coracle-init: cannot {step}: {error}");
            FAILED
        }
    };
    sys::exit(code)
}

#[expect(
    unsafe_code,
    reason = "takes over a descriptor that the parent passed by number"
)]
fn outer(arguments: &Arguments, begun: u64) -> Result<i32, Failed> {
    // SAFETY: the parent passed this descriptor for this program to own; it is none of the standard ones.
    let door = unsafe { OwnedFd::from_raw_fd(arguments.door) };
    // As in a guest, for who lists processes: it was executed by a number.
    step("take a name", rustix::thread::set_name(NAME))?;
    step(
        "keep the door",
        rustix::io::fcntl_setfd(&door, rustix::io::FdFlags::CLOEXEC),
    )?;
    let mut layers = Vec::with_capacity(arguments.layers.len());
    for path in &arguments.layers {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        layers.push(step("open a layer", open(path, flags, Mode::empty()))?);
    }
    let group = Group::make(&arguments.group)?;
    let namespaces = libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC;
    let namespaces = u64::from(namespaces.cast_unsigned());
    let init = step("open a control group", group.open(INIT))?;
    match step("clone init", sys::clone3(namespaces, Some(init.as_fd())))? {
        Cloned::Child => {
            let code = match inner(&group.path, door, layers, begun) {
                Ok(()) => DONE,
                Err((step, error)) => {
                    let _ = writeln!(std::io::stderr(), "coracle-init: cannot {step}: {error}");
                    FAILED
                }
            };
            // What the group's lock and path are for is the outer process's.
            sys::exit(code)
        }
        Cloned::Parent { pid, pidfd } => {
            drop((init, layers));
            let code = watch(pid, &pidfd, door);
            group.remove();
            code
        }
    }
}

/// Waits for the end of the inner process, and brings it about when the door has anything to say.
fn watch(pid: Pid, process: &OwnedFd, door: OwnedFd) -> Result<i32, Failed> {
    loop {
        let mut waiting = [
            PollFd::new(process, PollFlags::IN),
            PollFd::new(&door, PollFlags::IN),
        ];
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(("wait for init", errno.into())),
        }
        let [process_over, door_open] = waiting.map(|one| !one.revents().is_empty());
        if door_open && !process_over {
            // It may have ended meanwhile.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        if process_over || door_open {
            break;
        }
    }
    let status = step("wait for init", waitpid(Some(pid), WaitOptions::empty()))?;
    // The one who started it hears of the end when nothing is left.
    let over = status.and_then(|(_, status)| status.exit_status());
    drop(door);
    Ok(over.unwrap_or(DONE))
}

/// The first process of the namespaces.
fn inner(group: &Path, door: OwnedFd, layers: Vec<OwnedFd>, begun: u64) -> Result<(), Failed> {
    step(
        "end with its parent",
        set_parent_process_death_signal(Some(Signal::KILL)),
    )?;
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    step("forbid to look into init", dumpable)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step("make mounts private", mount_change("/", private))?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    step("mount /proc", mount("proc", "/proc", "proc", safe, None))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    step("mount /run", mount("tmpfs", PLACE, "tmpfs", flags, None))?;
    // A container with a user namespace may mount its own only where one is in view of which nothing is
    // hidden, and this machine's may be partly.
    let system = Path::new(PLACE).join(SYSTEM);
    step("make directories", mkdir(&system, Mode::RWXU))?;
    step("mount sysfs", mount("sysfs", &system, "sysfs", safe, None))?;
    // Whoever runs the container may ignore some, as nohup does. A container has docker's: none.
    sys::default_signals();
    sys::set_signal(Signal::PIPE, true);
    for (limit, value) in [(RLIMIT_NOFILE, DESCRIPTORS), (RLIMIT_NPROC, u64::MAX)] {
        // A system that allows less keeps to that.
        let _ = sys::set_rlimit(limit, value, value);
    }
    let control = step("connect to the host", connect(door.as_fd(), CONTROL_PORT))?;
    let setting = Setting {
        directory: PathBuf::from(PLACE),
        cgroups: group.join(CONTAINERS),
        program: PathBuf::from(OWN_PROGRAM),
        connect: Box::new(move |port| connect(door.as_fd(), port)),
        mount_root: Box::new(move |spec, place, shift| {
            MountedRoot::mount_files(spec, place, &layers, shift)
        }),
        // It is this machine's.
        set_clock: Box::new(|_| {}),
    };
    let served = Server::new(control, setting).and_then(|mut server| {
        server.say(&GuestMessage::Hello {
            version: VERSION,
            kernel: uname().release().to_string_lossy().into_owned(),
            init_at: begun,
            at: now(),
        })?;
        server.serve()
    });
    served.map_err(|error| ("serve", std::io::Error::other(error.to_string())))
}

/// A connection to a port of the host: one end of a pair of sockets goes out by the door, as a monitor sends
/// it.
fn connect(door: BorrowedFd<'_>, port: u32) -> std::io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let packet = format!("{{\"connection\":{{\"port\":{port}}}}}");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [theirs.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let packet = [IoSlice::new(packet.as_bytes())];
    sendmsg(door, &packet, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(ours.into())
}

/// The control group that all of it is in. Its lock tells others that it is in use.
struct Group {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Group {
    fn make(path: &Path) -> Result<Self, Failed> {
        let lock = locked(path)?;
        let own = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        let made = own.fill();
        if made.is_err() {
            own.remove();
        }
        made.map(|()| own)
    }

    fn fill(&self) -> Result<(), Failed> {
        if let Some(above) = self.path.parent() {
            step("share out control groups", cgroup::delegate(above))?;
        }
        step("share out control groups", cgroup::delegate(&self.path))?;
        for name in [INIT, CONTAINERS] {
            let made = mkdir(self.path.join(name), Mode::from_raw_mode(0o755));
            step("make a control group", made)?;
        }
        let containers = self.path.join(CONTAINERS);
        step("share out control groups", cgroup::delegate(&containers))
    }

    fn open(&self, name: &str) -> Result<OwnedFd, Errno> {
        open(
            self.path.join(name),
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// Takes it away, with what a container has left in it; nothing runs in it any more.
    fn remove(&self) {
        cgroup::remove_all(&self.path);
    }
}

/// Makes a control group and locks it; again, if somebody took it for a leftover in between.
fn locked(path: &Path) -> Result<OwnedFd, Failed> {
    let mut tries = 0..ATTEMPTS;
    loop {
        step(
            "make a control group",
            mkdir(path, Mode::from_raw_mode(0o755)),
        )?;
        let locked = open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|lock| flock(&lock, FlockOperation::LockShared).map(|()| lock))
            .and_then(|lock| Ok((stat(path)?.st_ino == fstat(&lock)?.st_ino).then_some(lock)));
        match (locked, tries.next()) {
            (Ok(Some(lock)), _) => return Ok(lock),
            (Ok(None) | Err(Errno::NOENT), Some(_)) => {}
            (Err(errno), _) => return Err(("lock a control group", errno.into())),
            (Ok(None), None) => return Err(("lock a control group", Errno::AGAIN.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn take(words: &[&str]) -> Option<Arguments> {
        Arguments::take(words.iter().map(OsString::from))
    }

    #[test]
    fn arguments_name_door_group_and_layers() {
        let arguments = take(&["init", "namespace", "5", "/group", "a", "b"]).unwrap();
        assert_eq!((arguments.door, arguments.layers.len()), (5, 2));
        assert_eq!(arguments.group, Path::new("/group"));
    }

    #[test]
    fn other_words_are_for_init_itself() {
        for words in [
            &["init"][..],
            &["init", "quiet"],
            &["init", "namespace", "1", "/g"],
        ] {
            assert_eq!(take(words), None);
        }
    }

    #[test]
    fn connection_goes_out_by_the_door_as_a_monitors() {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let _stream = connect(theirs.as_fd(), 1024).unwrap();
        let mut packet = [0; 64];
        let (length, _) =
            rustix::net::recv(&ours, &mut packet, rustix::net::RecvFlags::empty()).unwrap();
        assert_eq!(&packet[..length], b"{\"connection\":{\"port\":1024}}");
    }
}
