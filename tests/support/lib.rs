//! What every end-to-end test needs: the programs as a user runs them, with a time limit.
//!
//! `tools/e2e` sets the scene: built programs, loaded images, and directories of the suite's own.

mod attacker;
mod host;
mod installation;
mod mounts;

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

pub use attacker::{Image, Rogue, attacker, attacker_image, end_attack, obeyed, outcomes, zeros};
pub use host::Host;
pub use installation::Installation;
pub use mounts::{mounts, no_mounts_since};

/// The longest that any one command may take in a software host on a busy machine; a command that
/// takes longer hangs.
pub const PATIENCE: Duration = Duration::from_mins(15);

/// How often, or how much of, something is done: `make soak` says so by a variable, and other runs do as usual.
///
/// # Panics
/// When the variable is no number.
#[must_use]
pub fn times(variable: &str, usual: usize) -> usize {
    let given = env::var(variable).ok();
    given.map_or(usual, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number"))
    })
}

/// Waits until this holds.
///
/// # Panics
/// When it does not in [`PATIENCE`].
pub fn until(mut holds: impl FnMut() -> Result<(), String>) {
    let begun = std::time::Instant::now();
    while let Err(why) = holds() {
        assert!(begun.elapsed() < PATIENCE, "{why}");
        thread::yield_now();
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    /// Exit code, or 128 plus the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    /// Checks the exit code, and shows everything when it is another one.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

/// A path that `tools/e2e` gives.
///
/// # Panics
/// When the suite was not started by it.
#[must_use]
pub fn given(name: &str) -> PathBuf {
    let path = env::var_os(name);
    PathBuf::from(path.unwrap_or_else(|| panic!("{name} is not set: run the suite by 'make e2e'")))
}

/// A built program.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    given("CORACLE_TEST_BIN").join(name)
}

/// The archive of a sample image.
#[must_use]
pub fn sample(name: &str) -> PathBuf {
    given("CORACLE_TEST_SAMPLES").join(format!("{name}.tar"))
}

/// `coracle` with these arguments, standard input closed.
#[must_use]
pub fn coracle<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program("coracle"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end with nothing on its standard input.
#[must_use]
pub fn done(command: &mut Command) -> Done {
    done_within(command, PATIENCE)
}

/// The same, for one that may take long.
#[must_use]
pub fn done_within(command: &mut Command, patience: Duration) -> Done {
    let mut stdout = tempfile::tempfile().expect("a temporary file can be made");
    let mut stderr = tempfile::tempfile().expect("a temporary file can be made");
    command.stdout(stdout.try_clone().expect("a descriptor is left"));
    command.stderr(stderr.try_clone().expect("a descriptor is left"));
    let child = command.spawn().expect("the program can be started");
    let code = wait_within(child, patience);
    Done {
        code,
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
    }
}

/// `coracle run` with these arguments, to its end.
#[must_use]
pub fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Done {
    done(coracle(["run"]).args(arguments.into_iter().collect::<Vec<_>>()))
}

/// Runs a command with these bytes on its standard input.
#[must_use]
pub fn done_with_input(command: &mut Command, input: &[u8]) -> Done {
    let mut file = tempfile::tempfile().expect("a temporary file can be made");
    file.write_all(input).expect("there is space");
    file.rewind().expect("a file can be read again");
    done(command.stdin(file))
}

/// Waits for a child; ends it, and the test, when [`PATIENCE`] is over.
///
/// # Panics
/// When the child does not end.
#[must_use]
pub fn wait(child: Child) -> i32 {
    wait_within(child, PATIENCE)
}

fn wait_within(mut child: Child, patience: Duration) -> i32 {
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait()));
    match receiver.recv_timeout(patience) {
        Ok(status) => {
            let status = status.expect("a child can be waited for");
            status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
        }
        Err(_) => {
            signal(pid, rustix::process::Signal::KILL);
            panic!("process {pid} hangs");
        }
    }
}

/// Sends a signal to a process that the test started.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid.expect("a child has a number"), signal);
}

/// Watches for the end of a process that is not a child of the test's, by number; [`Watch::gone`] waits for it.
/// `None` when it is gone already.
#[must_use]
pub fn watch(pid: u32) -> Option<Watch> {
    let number = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let number = number.expect("a process has a number");
    let flags = rustix::process::PidfdFlags::empty();
    let process = rustix::process::pidfd_open(number, flags).ok()?;
    Some(Watch { pid, process })
}

/// A process whose end is watched for.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    process: std::os::fd::OwnedFd,
}

impl Watch {
    /// Waits until it is gone.
    ///
    /// # Panics
    /// When it is not in [`PATIENCE`].
    pub fn gone(&self) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut watched = [PollFd::new(&self.process, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        let ready = rustix::io::retry_on_intr(|| poll(&mut watched, Some(&limit)));
        let ready = ready.expect("a process can be waited for");
        assert_eq!(ready, 1, "process {} stays", self.pid);
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("a file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A container that runs in the background; it is removed when this is dropped.
#[derive(Debug)]
pub struct Detached {
    /// Its name.
    pub name: String,
}

impl Detached {
    /// Starts one: flags, image and command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let own = Self { name: name.into() };
        let done = run(["-d", "--name", name].iter().chain(arguments).copied()).expect(0);
        assert_eq!(done.stdout.trim().len(), 64, "{done:?}");
        own
    }

    /// Starts busybox with a shell script.
    #[must_use]
    pub fn shell(name: &str, script: &str) -> Self {
        Self::start(name, &["busybox", "sh", "-c", script])
    }

    /// One that waits until it is stopped, and then ends at once.
    #[must_use]
    pub fn waiting(name: &str) -> Self {
        let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";
        let own = Self::shell(name, script);
        // A signal before the trap would do nothing to the first process of a namespace.
        own.until_ready();
        own
    }

    /// Waits until the first line of its output, which is `ready`, is there.
    ///
    /// # Panics
    /// When it ends without.
    pub fn until_ready(&self) {
        let mut logs = coracle(["logs", "--follow", &self.name])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut line = [0; 6];
        let output = logs.stdout.as_mut().expect("it is a pipe");
        output.read_exact(&mut line).expect("the container says so");
        signal(logs.id(), rustix::process::Signal::KILL);
        let _ = wait(logs);
    }

    /// `coracle COMMAND ARGUMENTS… NAME`.
    #[must_use]
    pub fn does(&self, arguments: &[&str]) -> Done {
        done(coracle(arguments.iter().copied()).arg(&self.name))
    }

    /// `coracle exec NAME …`.
    #[must_use]
    pub fn exec(&self, command: &[&str]) -> Done {
        done(coracle(["exec"]).arg(&self.name).args(command))
    }

    /// A field of `coracle inspect`.
    #[must_use]
    pub fn field(&self, field: &str) -> String {
        field_of(field, |arguments| self.does(arguments))
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = self.does(&["rm", "--force"]);
    }
}

/// The first line that a program writes, when it does.
#[must_use]
pub fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.as_mut().expect("its output is a pipe");
    let mut output = BufReader::new(output);
    output.read_line(&mut line).expect("a line of output");
    line
}

/// A field of what an `inspect` shows.
fn field_of(field: &str, does: impl FnOnce(&[&str]) -> Done) -> String {
    let format = format!("{{{{{field}}}}}");
    let text = does(&["inspect", "--format", &format]).expect(0).stdout;
    text.trim().to_owned()
}
