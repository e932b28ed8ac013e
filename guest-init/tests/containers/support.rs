//! The host's side of the contract, over unix sockets.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt, symlink},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio as Pipe},
    thread,
};

use contracts::guest::{
    ContainerSpec, ExitStatus, FailureKind, GuestMessage, HostMessage, Port, Process, Resources,
    Root, SECRET_BYTES, SeccompProfile, Secret, Stdio, TAKEN, Upper,
    frame::{self, Decoder},
};
use coracle_init::{
    failure::{Failure, Stage},
    root::MountedRoot,
    server::Server,
    setting::Setting,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::CWD,
    mount::{OpenTreeFlags, open_tree},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid},
};

/// Names the directory of a test to the server that it starts.
const DIRECTORY: &str = "CORACLE_TEST_DIRECTORY";

/// Init's program. The one that guests have needs no library.
const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-init");

/// What the socket of a port is called while it cannot be connected to.
const HIDDEN: &str = "hidden";

const NUMBERS: [u32; 3] = [1025, 1026, 1027];

pub(crate) const PORTS: [Port; 3] = [
    port(NUMBERS[0], 0xa0),
    port(NUMBERS[1], 0xa1),
    port(NUMBERS[2], 0xa2),
];

const fn port(number: u32, byte: u8) -> Port {
    Port {
        answered: true,
        number,
        secret: Secret::new([byte; SECRET_BYTES]),
    }
}

/// The process that plays the guest: one thread, as init has.
pub(crate) fn serve() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let control = UnixStream::connect(directory.join("control")).unwrap();
    control.set_nonblocking(true).unwrap();
    let (ports, root) = (directory.clone(), directory.join("root"));
    let setting = Setting {
        directory: directory.join("run"),
        cgroups: cgroups(&directory),
        program: PathBuf::from(PROGRAM),
        connect: Box::new(move |port| {
            let stream = UnixStream::connect(ports.join(port.to_string()))?;
            stream.set_nonblocking(true)?;
            Ok(stream.into())
        }),
        mount_root: Box::new(
            move |_: &Root, place, shift| -> Result<MountedRoot, Failure> {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                MountedRoot::existing(open_tree(CWD, &root, flags).stage(|| "copy")?, place, shift)
            },
        ),
        set_clock: Box::new(move |_| {
            let ports = NUMBERS.map(|port| directory.join(port.to_string()));
            for port in ports {
                let _ = fs::rename(port.with_extension(HIDDEN), port);
            }
        }),
    };
    Server::new(control.into(), setting)
        .unwrap()
        .serve()
        .unwrap();
}

fn cgroups(directory: &Path) -> PathBuf {
    let path = group(directory);
    fs::create_dir(&path).unwrap();
    path
}

/// The control group of a test, named as its directory.
fn group(directory: &Path) -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(" cgroup2 "));
    let root = line.and_then(|line| line.split(' ').nth(1)).unwrap();
    Path::new(root).join(directory.file_name().unwrap())
}

/// A server in a process of its own, and the sockets to talk to it.
pub(crate) struct Guest {
    directory: PathBuf,
    server: Option<Child>,
    /// It can be read from when the server has ended.
    end: OwnedFd,
    control: UnixStream,
    decoder: Decoder,
    listeners: Vec<UnixListener>,
}

/// How a container ended.
pub(crate) struct Ended {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) status: ExitStatus,
}

/// Streams of a container that runs.
pub(crate) struct Streams {
    stdout: BufReader<UnixStream>,
    _stdin: UnixStream,
}

impl Streams {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_string()
    }
}

impl Guest {
    pub(crate) fn start(needs: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "{needs}");
        // A name of its own even where tests that were killed have left theirs.
        let unique = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        // Not `coracle-`, which a start without a machine takes for a group that is left over.
        let name = format!("test-of-init-{}", unique.trim());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        fs::create_dir(directory.join("run")).unwrap();
        make_root(&directory.join("root"));
        let listen = |name: String| UnixListener::bind(directory.join(name)).unwrap();
        let control = listen("control".into());
        let listeners = NUMBERS
            .iter()
            .map(|port| listen(port.to_string()))
            .collect();
        // Its own network, as a guest has.
        let server = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "server", "--ignored", "--test-threads=1"])
            .env(DIRECTORY, &directory)
            .stdout(Pipe::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&server);
        let end = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        Self {
            control: accept(&control, &end),
            end,
            directory,
            server: Some(server),
            decoder: Decoder::default(),
            listeners,
        }
    }

    /// The interfaces of the guest's own network.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        let process = self.server.as_ref().unwrap().id();
        let text = fs::read_to_string(format!("/proc/{process}/net/dev")).unwrap();
        let names = text.lines().filter_map(|line| line.split_once(':'));
        let mut names: Vec<String> = names.map(|(name, _)| name.trim().into()).collect();
        names.sort();
        names
    }

    /// The server's children, those included that have ended.
    pub(crate) fn children(&self) -> Vec<String> {
        let process = self.server.as_ref().unwrap().id();
        let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let list = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children"));
        let lists: String = threads.map(|one| list(one.unwrap()).unwrap()).collect();
        lists.split_whitespace().map(str::to_owned).collect()
    }

    /// Waits until the server has done all that it was told.
    pub(crate) fn settle(&mut self) {
        self.send(&HostMessage::Forget {
            disk: 25,
            partition: 1,
        });
        match self.receive() {
            GuestMessage::Forgotten { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn add_file(&self, name: &str, content: &str, mode: u32) {
        let path = self.directory.join("root").join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn add_link(&self, name: &str, target: &str) {
        symlink(target, self.directory.join("root").join(name)).unwrap();
    }

    pub(crate) fn add_fifo(&self, name: &str) {
        let path = self.directory.join("root").join(name);
        let _ = fs::remove_file(&path);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, &path, kind, 0o666.into(), 0).unwrap();
    }

    pub(crate) fn send(&mut self, message: &HostMessage) {
        self.control
            .write_all(&frame::encode(message).unwrap())
            .unwrap();
    }

    pub(crate) fn receive(&mut self) -> GuestMessage {
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return message;
            }
            let mut buffer = [0; 4096];
            let length = self.control.read(&mut buffer).unwrap();
            assert!(length > 0, "the server is gone");
            self.decoder.push(&buffer[..length]);
        }
    }

    /// The next connection to the port of a stream, which has proved to be init's.
    pub(crate) fn accept(&self, index: usize) -> UnixStream {
        let mut stream = accept(&self.listeners[index], &self.end);
        let mut sent = [0; SECRET_BYTES];
        match stream.read_exact(&mut sent) {
            // Who has ended already needs no input, and proves nothing.
            Err(error) if index == 0 && error.kind() == ErrorKind::UnexpectedEof => {}
            read => {
                read.unwrap();
                assert!(PORTS[index].secret.is_proved_by(&sent), "{sent:?}");
                // Who has ended meanwhile does not hear it.
                let _ = stream.write_all(&[TAKEN]);
            }
        }
        stream
    }

    /// Does not take the next connection to the port of a stream.
    pub(crate) fn refuse(&self, index: usize) {
        drop(accept(&self.listeners[index], &self.end));
    }

    /// Makes init unable to connect a stream until it is told the time.
    pub(crate) fn hide(&self, index: usize) {
        let port = self.directory.join(NUMBERS[index].to_string());
        fs::rename(&port, port.with_extension(HIDDEN)).unwrap();
    }

    /// Lets much happen while the server does nothing: it finds all of it at once.
    pub(crate) fn at_once(&mut self, action: impl FnOnce(&mut Self)) {
        let server = Pid::from_child(self.server.as_ref().unwrap());
        kill_process(server, Signal::STOP).unwrap();
        waitid(WaitId::Pid(server), WaitIdOptions::STOPPED).unwrap();
        action(self);
        kill_process(server, Signal::CONT).unwrap();
    }

    /// Takes no connection to the port of a stream; what init says meanwhile, if it says something.
    pub(crate) fn refuse_until_told(&mut self, index: usize) -> Option<GuestMessage> {
        let listener = &self.listeners[index];
        let mut either = [
            PollFd::new(&self.control, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        poll(&mut either, None).unwrap();
        let [told, connected] = either.map(|one| !one.revents().is_empty());
        if connected {
            drop(listener.accept().unwrap());
        }
        told.then(|| self.receive())
    }

    /// All that comes by the next connection to the port of a stream.
    pub(crate) fn read_stream(&self, index: usize) -> String {
        let mut text = String::new();
        self.accept(index).read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn exit(&mut self) -> ExitStatus {
        match self.receive() {
            GuestMessage::Exited { status, .. } => status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn failure(&mut self, spec: ContainerSpec) -> (FailureKind, String) {
        self.send(&HostMessage::Run(Box::new(spec)));
        match self.receive() {
            GuestMessage::Failed { kind, message, .. } => (kind, message),
            other => panic!("{other:?}"),
        }
    }

    /// Starts a container and waits until its program runs.
    pub(crate) fn begin(&mut self, mut spec: ContainerSpec) -> Streams {
        spec.stdio.stderr = None;
        self.send(&HostMessage::Run(Box::new(spec)));
        let (stdin, stdout) = (self.accept(0), self.accept(1));
        match self.receive() {
            GuestMessage::Started { .. } => {}
            other => panic!("{other:?}"),
        }
        Streams {
            stdout: BufReader::new(stdout),
            _stdin: stdin,
        }
    }

    pub(crate) fn run(&mut self, spec: ContainerSpec, input: &[u8]) -> Ended {
        let terminal = spec.process.terminal.is_some();
        self.send(&HostMessage::Run(Box::new(spec)));
        let accept = |index: usize| self.accept(index);
        let read = |mut stream: UnixStream| {
            thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                all
            })
        };
        let (mut stdin, stdout) = (accept(0), read(accept(1)));
        let stderr = (!terminal).then(|| read(accept(2)));
        let input = input.to_vec();
        let writer = thread::spawn(move || {
            // The container may not want it all.
            let _ = stdin.write_all(&input);
            let _ = stdin.shutdown(std::net::Shutdown::Write);
            stdin
        });
        match self.receive() {
            GuestMessage::Started { .. } => {}
            other => panic!("{other:?}"),
        }
        let status = self.exit();
        drop(writer.join().unwrap());
        Ended {
            stdout: stdout.join().unwrap(),
            stderr: stderr
                .map(|thread| thread.join().unwrap())
                .unwrap_or_default(),
            status,
        }
    }

    /// Closes the channel and waits until the server has ended.
    pub(crate) fn hang_up(&mut self) {
        self.control.shutdown(std::net::Shutdown::Both).unwrap();
        let status = self.server.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
        let _ = fs::remove_dir(group(&self.directory));
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The next connection to a listener, unless the server ends before there is one.
fn accept(listener: &UnixListener, end: &OwnedFd) -> UnixStream {
    let mut waiting = [
        PollFd::new(listener, PollFlags::IN),
        PollFd::new(end, PollFlags::IN),
    ];
    poll(&mut waiting, None).unwrap();
    assert!(!waiting[0].revents().is_empty(), "the server is gone");
    listener.accept().unwrap().0
}

/// A root file system of busybox, as small as an image can be.
fn make_root(root: &Path) {
    for directory in ["", "bin", "etc", "tmp", "home/app"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines() {
        if name != "busybox" {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
    }
    let listed = Command::new("ldd").arg(PROGRAM).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let copy = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(library, copy).unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
    let group = "root:x:0:\nwheel:x:10:app\napp:x:1001:\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    fs::write(root.join("etc/group"), group).unwrap();
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// A container with docker's defaults.
pub(crate) fn spec(args: &[&str]) -> ContainerSpec {
    ContainerSpec {
        id: "test".into(),
        root: Root {
            disk: 0,
            layers: vec![contracts::guest::Layer {
                partition: 1,
                range: None,
                verity: None,
            }],
            upper: Upper::Tmpfs(None),
            read_only: false,
        },
        hostname: "box".into(),
        process: Process {
            args: texts(args),
            env: texts(&["PATH=/usr/local/bin:/usr/bin:/bin"]),
            cwd: "/".into(),
            user: String::new(),
            groups: vec![],
            terminal: None,
            rlimits: vec![],
            capabilities: 0xa804_25fb,
            no_new_privileges: false,
            seccomp: SeccompProfile::Default,
            init: false,
        },
        mounts: vec![],
        shm_size: 64 << 20,
        masked_paths: texts(&[
            "/proc/kcore",
            "/proc/uptime",
            "/proc/absent",
            "/sys/firmware",
        ]),
        readonly_paths: texts(&["/proc/sys", "/proc/sysrq-trigger", "/proc/absent"]),
        sysctls: vec![],
        resources: Resources::default(),
        user_namespace: false,
        shares: contracts::guest::Shares::default(),
        privileged: false,
        network: contracts::guest::Network::None,
        resolv_conf: None,
        extra_hosts: vec![],
        stdio: Stdio {
            stdin: Some(PORTS[0]),
            stdout: Some(PORTS[1]),
            stderr: Some(PORTS[2]),
        },
    }
}
