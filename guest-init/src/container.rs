//! A container from init's side: started, carried along by events, ended.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use contracts::guest::{ContainerSpec, GuestMessage, Network, Resources, Shares};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::{
    cgroup::{self, Cgroup},
    child::{Child, Net},
    clock::now,
    device_filter,
    failure::{Failure, Stage},
    fresh, hosts, ipc,
    network::Networks,
    root::MountedRoot,
    setting::Setting,
    shift::Shift,
    sys::{self, Cloned},
    task::{Causes, Streams, Task},
    terminal::Terminal,
};

/// Longest identifier: it names directories.
const MAX_ID: usize = 64;

/// The capability to make device nodes (linux/capability.h).
const CAP_MKNOD: u32 = 27;

/// A container that was started.
#[derive(Debug)]
pub struct Container {
    /// Its first process.
    pub task: Task,
    cgroup: Cgroup,
    memory: Memory,
    root: MountedRoot,
    etc: Etc,
    shift: Option<Shift>,
    /// Its processes have no namespace whose end is theirs.
    shares_processes: bool,
    capabilities: u64,
    resources: Resources,
    privileged: bool,
    /// Groups in its own in which something ran on when the program that they were made for had ended.
    left: Vec<Cgroup>,
}

/// What is known of a container's lack of memory.
#[derive(Debug)]
struct Memory {
    events: Option<OwnedFd>,
    /// Kills that the host was told of, and when it was.
    kills: u64,
    told: u64,
}

/// Nanoseconds between two messages of a container's lack of memory: it can run into its limit as often as it
/// likes.
const OUT_OF_MEMORY_PAUSE: u64 = 1_000_000_000;

/// The files that are bound into a container's `/etc`; shared by those who share its network.
#[derive(Debug, Clone)]
struct Etc {
    directory: PathBuf,
    names: Vec<&'static str>,
}

impl Container {
    /// Starts a container: when this returns its first process exists. `joined` is the container
    /// whose network it shares.
    ///
    /// # Errors
    /// Names the step that failed; nothing is left of the container then.
    pub fn start(
        spec: &ContainerSpec,
        setting: &Setting,
        networks: &mut Networks,
        joined: Option<&Self>,
    ) -> Result<Self, Failure> {
        check_id(&spec.id)?;
        check_shares(spec)?;
        networks.prepare(spec)?;
        // Connections take a while, in which the rest is done.
        let shift = spec.user_namespace.then(|| Shift::of(&spec.id));
        let terminal = spec.process.terminal;
        let terminal = terminal
            .map(|size| Terminal::open(size, shift))
            .transpose()?;
        let streams = Streams::open(spec.stdio, terminal, &setting.connect, shift)?;
        let root = (setting.mount_root)(&spec.root, setting.directory.join(&spec.id), shift)?;
        let cgroup = match Cgroup::create(&setting.cgroups, &spec.id, &spec.resources) {
            Ok(cgroup) => cgroup,
            Err(failure) => {
                root.unmount();
                return Err(failure);
            }
        };
        match launch(spec, setting, (&root, &cgroup), streams, networks, joined) {
            Ok((task, capabilities, etc)) => Ok(Self {
                task,
                capabilities,
                memory: Memory {
                    events: cgroup.memory_events(),
                    kills: 0,
                    told: 0,
                },
                cgroup,
                root,
                etc,
                shift,
                shares_processes: spec.shares.processes,
                resources: spec.resources.clone(),
                privileged: spec.privileged,
                left: Vec::new(),
            }),
            Err(failure) => {
                cgroup.remove();
                root.unmount();
                Err(failure)
            }
        }
    }

    /// Its control group.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// What tells of its lack of memory, by a priority event.
    pub fn memory_events(&self) -> Option<BorrowedFd<'_>> {
        self.memory.events.as_ref().map(AsFd::as_fd)
    }

    /// What the host has to be told of its lack of memory, if it is new and not too soon. What is passed over is
    /// told with its end.
    pub fn lack_of_memory(&mut self) -> Option<GuestMessage> {
        let kills = cgroup::kills(self.memory.events.as_ref()?);
        let soon = self.memory.kills > 0 && now() < self.memory.told + OUT_OF_MEMORY_PAUSE;
        if kills <= self.memory.kills || soon || !self.task.is_running() {
            return None;
        }
        self.memory.kills = kills;
        self.memory.told = now();
        let id = self.task.id().to_owned();
        Some(GuestMessage::OutOfMemory { id })
    }

    /// Its file systems.
    #[must_use]
    pub fn root(&self) -> &MountedRoot {
        &self.root
    }

    /// It has a user namespace of its own.
    #[must_use]
    pub fn user_namespace(&self) -> bool {
        self.shift.is_some()
    }

    /// Who its users are outside, where they are others.
    #[must_use]
    pub fn shift(&self) -> Option<Shift> {
        self.shift
    }

    /// The capabilities that its programs may have.
    #[must_use]
    pub fn capabilities(&self) -> u64 {
        self.capabilities
    }

    /// Removes the group of what ran beside its first process, and those of earlier ones, as soon as
    /// nothing runs there.
    pub(crate) fn let_go(&mut self, group: Cgroup) {
        let all = std::mem::take(&mut self.left).into_iter().chain([group]);
        self.left = all.filter_map(Cgroup::try_remove).collect();
    }

    /// Whether nothing can run in its control group now: it stands still, or has as many processes as it
    /// may have.
    pub(crate) fn is_closed(&self) -> bool {
        let full = |most: u64| {
            let count = cgroup::read(&self.cgroup, "pids.current").unwrap_or_default();
            let count = String::from_utf8_lossy(&count).trim().parse::<u64>();
            count.is_ok_and(|count| count >= most)
        };
        self.cgroup.is_frozen() || self.resources.pids.is_some_and(full)
    }

    /// A control group with the container's limits and devices, for what works on the container while
    /// nothing can run in its own.
    ///
    /// # Errors
    /// When it exists, or the kernel refuses a limit.
    pub(crate) fn group_beside(&self, groups: &Path, id: &str) -> Result<Cgroup, Failure> {
        let group = Cgroup::create(groups, id, &self.resources)?;
        let confined = match self.privileged {
            true => Ok(true),
            false => device_filter::confine(&group),
        };
        match confined.stage(|| "confine devices") {
            Ok(_) => Ok(group),
            Err(failure) => {
                group.remove();
                Err(failure)
            }
        }
    }

    /// What the host has to be told now, if anything.
    pub fn news(&mut self) -> Option<GuestMessage> {
        if self.shares_processes && self.task.has_ended() {
            // They would keep its streams open, and outlive it.
            self.cgroup.kill();
        }
        let Self { task, cgroup, .. } = self;
        task.news(|| cgroup.out_of_memory())
    }

    /// The last message, when the process has ended and its output is on its way.
    #[must_use]
    pub fn end(&self) -> Option<GuestMessage> {
        self.task.end(|| {
            self.root.flush();
            Causes {
                oom: self.cgroup.out_of_memory(),
                damaged: self.root.is_damaged(),
            }
        })
    }

    /// Ends it if it runs, and frees all that it used; nothing may run beside it any more.
    pub fn remove(mut self) {
        self.cgroup.kill();
        self.task.finish();
        if self.shares_processes {
            self.cgroup.wait_until_empty();
        }
        self.cgroup.remove();
        self.root.unmount();
    }
}

pub(crate) fn check_id(id: &str) -> Result<(), Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(plain) {
        Ok(())
    } else {
        Err(Failure::setup(format!(
            "cannot name a container `{}`: an identifier is 1 to {MAX_ID} letters and digits",
            id.escape_default()
        )))
    }
}

/// What a container with a user namespace of its own cannot have: its capabilities do not count in
/// what that does not own.
fn check_shares(spec: &ContainerSpec) -> Result<(), Failure> {
    if spec.user_namespace && (spec.privileged || spec.shares != Shares::default()) {
        return Err(Failure::setup(
            "cannot have a user namespace of one's own and be privileged or share the guest's \
             processes, control groups or inter-process communication: leave out `--userns private`",
        ));
    }
    Ok(())
}

/// Writes the files for a container's `/etc`, or finds those of the container whose network it
/// shares.
fn make_etc(
    spec: &ContainerSpec,
    directory: &Path,
    head: &str,
    networks: &Networks,
    joined: Option<&Container>,
) -> Result<Etc, Failure> {
    if let Some(joined) = joined {
        return Ok(joined.etc.clone());
    }
    let neighbours = match spec.network {
        Network::Bridge(_) => networks.hosts(),
        _ => String::new(),
    };
    let mut names = Vec::new();
    for (name, content) in hosts::files(spec, head, &neighbours) {
        let path = directory.join(name);
        fs::write(&path, content).stage(|| format!("write {}", path.display()))?;
        if spec.user_namespace {
            let file = fs::File::open(&path).stage(|| format!("open {}", path.display()))?;
            let given = Shift::of(&spec.id).give(file);
            given.stage(|| format!("give away {}", path.display()))?;
        }
        names.push(name);
    }
    Ok(Etc {
        directory: directory.to_owned(),
        names,
    })
}

/// Clones the first process.
fn launch(
    spec: &ContainerSpec,
    setting: &Setting,
    (root, cgroup): (&MountedRoot, &Cgroup),
    streams: Streams,
    networks: &mut Networks,
    joined: Option<&Container>,
) -> Result<(Task, u64, Etc), Failure> {
    let head = hosts::head(spec);
    let etc = make_etc(spec, &root.files, &head, networks, joined)?;
    let hosts = open_hosts(spec, &etc)?;
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .stage(|| "make a socket pair")?;
    let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWUTS;
    if !spec.shares.processes {
        namespaces |= libc::CLONE_NEWPID;
    }
    if !spec.shares.ipc {
        namespaces |= libc::CLONE_NEWIPC;
    }
    let network = match (&spec.network, joined) {
        (Network::None, _) => Net::Loopback,
        (Network::Bridge(_), _) => Net::Init,
        (Network::Host, _) => Net::Guest,
        (Network::Container(_), Some(joined)) => Net::Of(joined.task.pidfd()),
        (Network::Container(id), None) => return Err(not_running(id)),
    };
    if matches!(network, Net::Loopback | Net::Init) {
        namespaces |= libc::CLONE_NEWNET;
    }
    if spec.user_namespace {
        namespaces |= libc::CLONE_NEWUSER;
    }
    let capabilities = confine_devices(spec, root, cgroup)?;
    let init = match spec.process.init {
        true => Some(fresh::open_program(setting)?),
        false => None,
    };
    let flags = u64::from(namespaces.cast_unsigned());
    let (own, devpts, inits) = streams.part();
    match sys::clone3(flags, Some(cgroup.as_fd())).stage(|| "clone the first process")? {
        Cloned::Child => {
            // Its other end must close with init, or the child would wait for itself.
            drop(ours);
            let child = Child {
                spec,
                root: &root.root,
                meeting: &root.files,
                directory: &etc.directory,
                files: &etc.names,
                streams: own,
                devpts,
                capabilities,
                network,
                report: &theirs,
                init: init.as_ref(),
            };
            child.run()
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let mut task = Task::new(spec.id.clone(), (pid, pidfd), ours, inits)?;
            if let Err(failure) = help(spec, &task, networks, hosts) {
                task.finish();
                // It may have failed first, and be what init could not help.
                return Err(task.failure().cloned().unwrap_or(failure));
            }
            Ok((task, capabilities, etc))
        }
    }
}

/// Does what a new container's first process waits for.
fn help(
    spec: &ContainerSpec,
    task: &Task,
    networks: &mut Networks,
    hosts: Option<fs::File>,
) -> Result<(), Failure> {
    if spec.user_namespace {
        Shift::of(&spec.id).map(task.pid())?;
        for limit in &spec.process.rlimits {
            // It may only lower them itself. What cannot be raised fails there, by its name.
            let _ = sys::raise_rlimit(task.pid(), limit.resource, limit.hard);
        }
        let settings = spec.sysctls.iter().filter(|(name, _)| ipc::owns(name));
        ipc::set(task.pidfd(), settings)?;
        task.let_go_on()?;
    }
    if let (Network::Bridge(interface), Some(hosts)) = (&spec.network, hosts) {
        networks.attach(&spec.id, interface, (task.pid(), task.pidfd()), hosts)?;
        if let Err(failure) = task.let_go_on() {
            networks.detach(&spec.id);
            return Err(failure);
        }
    }
    Ok(())
}

/// The file of a container on the bridge in which it finds its neighbours, before it can do anything
/// to it.
fn open_hosts(spec: &ContainerSpec, etc: &Etc) -> Result<Option<fs::File>, Failure> {
    if !matches!(spec.network, Network::Bridge(_)) {
        return Ok(None);
    }
    let path = etc.directory.join(hosts::HOSTS);
    let file = fs::OpenOptions::new().read(true).write(true).open(&path);
    file.map(Some).stage(|| format!("open {}", path.display()))
}

/// Docker's words.
pub(crate) fn not_running(id: &str) -> Failure {
    Failure::setup(format!(
        "cannot join network of a non running container: {}",
        id.escape_default()
    ))
}

/// Keeps the container from the guest's disks; gives the capabilities that it may have. A kernel
/// without a filter for devices gets a container that can neither make nor use nodes of its own.
fn confine_devices(
    spec: &ContainerSpec,
    root: &MountedRoot,
    cgroup: &Cgroup,
) -> Result<u64, Failure> {
    if spec.privileged {
        return Ok(spec.process.capabilities);
    }
    if device_filter::confine(cgroup).stage(|| "confine the container's devices")? {
        return Ok(spec.process.capabilities);
    }
    sys::mount_setattr(&root.root, sys::NODEV, false)
        .stage(|| "mount the root without device nodes")?;
    Ok(spec.process.capabilities & !(1 << CAP_MKNOD))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use contracts::guest::{Process, Root, SeccompProfile, Stdio, Upper};

    /// A container that does nothing.
    pub(crate) fn spec() -> ContainerSpec {
        ContainerSpec {
            id: "test".into(),
            root: Root {
                disk: 0,
                layers: vec![],
                upper: Upper::Tmpfs(None),
                read_only: false,
            },
            hostname: "box".into(),
            process: Process {
                args: vec!["true".into()],
                env: vec![],
                cwd: "/".into(),
                user: String::new(),
                groups: vec![],
                terminal: None,
                rlimits: vec![],
                capabilities: 0,
                no_new_privileges: false,
                seccomp: SeccompProfile::Default,
                init: false,
            },
            mounts: vec![],
            shm_size: 0,
            masked_paths: vec![],
            readonly_paths: vec![],
            sysctls: vec![],
            resources: Resources::default(),
            user_namespace: false,
            shares: Shares::default(),
            privileged: false,
            network: Network::None,
            resolv_conf: None,
            extra_hosts: vec![],
            stdio: Stdio::default(),
        }
    }

    #[test]
    fn identifier_is_no_path() {
        assert!(check_id("0123-abc_D").is_ok());
        for id in ["", "a/b", "..", &"a".repeat(MAX_ID + 1)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }
}
