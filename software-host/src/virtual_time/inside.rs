//! The first process of a machine in virtual time: mounts, the command, its result, and the end.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::{fs::OpenOptionsExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context, Result};
use rustix::{
    fs::CWD,
    mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree},
    process::{WaitOptions, chroot, fchdir, getpid, wait},
    system::{RebootCommand, reboot},
    termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr},
};

use crate::kernel;
use coracle_terminal::output;

/// The argument that makes `coracle` this process.
pub const COMMAND: &str = "machine-in-virtual-time";

/// The command, as JSON: a list of words.
pub(super) const ORDERS: &str = "orders";

/// The kernel's modules.
pub(super) const MODULES: &str = "modules";

/// Takes what the command leaves for outside.
const OUTPUT: &str = "/out";

/// The serial ports: the command's output, and its result.
const WORDS: &str = "/dev/ttyS1";
const RESULT: &str = "/dev/ttyS2";

/// What is mounted: type, place, options.
const MOUNTS: [(&str, &str, &str); 6] = [
    ("devtmpfs", "/dev", ""),
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("devpts", "/dev/pts", "mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
];

/// What the command finds in its environment.
const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/root"),
    ("TERM", "dumb"),
];

/// Exit code of a command that cannot be started, as a shell's.
const NOT_STARTED: i32 = 127;

/// Runs as the machine's first process.
pub fn main() -> ExitCode {
    if !getpid().is_init() {
        errln!("'{COMMAND}' is for coracle's own use");
        return ExitCode::FAILURE;
    }
    if let Err(error) = work() {
        output::message("coracle", &format_args!("{error:#}"));
    }
    // Nothing is left to do; when even this fails, the kernel panics and QEMU ends.
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn work() -> Result<()> {
    cover_root().context("cannot put a root on the first one")?;
    for (kind, place, options) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
        let options = CString::new(options)?;
        mount(kind, place, kind, MountFlags::empty(), options.as_c_str())
            .with_context(|| format!("cannot mount {kind} at {place}"))?;
    }
    let modules = Path::new("/").join(MODULES);
    for module in kernel::MODULES.into_iter().chain(kernel::MEASURED_MODULES) {
        kernel::load(&modules, module);
    }
    let orders = fs::read(Path::new("/").join(ORDERS)).context("cannot read the orders")?;
    let command: Vec<String> = serde_json::from_slice(&orders)?;
    let words = port(WORDS)?;
    let code = match start(&command, &words) {
        Ok(child) => code(until_ended(&child)?),
        Err(error) => {
            writeln!(&words, "{error:#}")?;
            NOT_STARTED
        }
    };
    tcdrain(&words)?;
    report(code).context("cannot tell the result")
}

/// Puts a copy of the first root on top of it: no container's root can be pivoted away from the
/// first one, which is mounted on nothing.
fn cover_root() -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = open_tree(CWD, "/", flags)?;
    move_mount(&copy, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    fchdir(&copy)?;
    chroot(".")?;
    Ok(())
}

/// Opens a serial port for bytes as they are.
fn port(path: &str) -> Result<File> {
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let port = options.open(path)?;
        let mut attributes = tcgetattr(&port)?;
        attributes.make_raw();
        tcsetattr(&port, OptionalActions::Now, &attributes)?;
        Ok::<_, io::Error>(port)
    };
    open().with_context(|| format!("cannot open {path}"))
}

fn start(command: &[String], words: &File) -> Result<Child> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(words.try_clone()?)
        .stderr(words.try_clone()?)
        .spawn();
    child.with_context(|| format!("cannot run {program}"))
}

/// Reaps whatever ends until the command does.
fn until_ended(child: &Child) -> Result<ExitStatus> {
    let own = i32::try_from(child.id())?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == own => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for processes"),
        }
    }
}

/// The exit code, as a shell gives it.
fn code(status: ExitStatus) -> i32 {
    let signal = || 128 + status.signal().unwrap_or(0);
    status.code().unwrap_or_else(signal)
}

/// Writes the exit code, and an archive of the output.
fn report(code: i32) -> Result<()> {
    let mut result = port(RESULT)?;
    writeln!(result, "{code}")?;
    let status = Command::new("tar")
        .envs(ENVIRONMENT)
        .args(["-c", "-C", OUTPUT, "."])
        .stdin(Stdio::null())
        .stdout(result.try_clone()?)
        .status()
        .context("cannot run tar")?;
    anyhow::ensure!(status.success(), "tar failed: {status}");
    tcdrain(&result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_a_killed_command_is_a_shells() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
