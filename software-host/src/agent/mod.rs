//! The program inside the machine: its first process, and the one that starts monitors.

mod copies;
mod monitor;
mod shell;

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    mount::{MountFlags, mount},
    process::{WaitOptions, getpid, wait},
    system::{RebootCommand, reboot, sethostname},
};

use copies::Copies;
use coracle_terminal::output;

use super::{
    DISKS,
    kernel::{self, LATE_MODULES, MODULES},
    mux::{Incoming, Mux, Side},
    relay::{Exchange, Purpose},
};

/// The argument that makes `coracle` an agent.
pub const COMMAND: &str = "machine-agent";

/// The argument after it that makes it the machine's second process.
const SERVE: &str = "serve";

/// What is mounted over the outside's root: type, place, options.
const MOUNTS: [(&str, &str, &str); 6] = [
    ("devtmpfs", "/dev", ""),
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devpts", "/dev/pts", "mode=620,ptmxmode=666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", copies::PLACE, "mode=700"),
];

/// The machine's name, which a shell shows.
const HOST_NAME: &[u8] = b"software-host";

/// Programs are looked for in these directories of the outside.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Time in which the byte channel's device must appear, and how often it is looked for.
const PORT_DEADLINE: Duration = Duration::from_secs(30);
const PORT_INTERVAL: Duration = Duration::from_millis(2);

/// Runs as the machine's first process, whose arguments are the directories of the kernel and of disks, or as
/// the one that serves.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(argument) = arguments.next() else {
        errln!("'{COMMAND}' is for coracle's own use");
        return ExitCode::FAILURE;
    };
    let first = getpid().is_init();
    let done = if first {
        first_process(&argument, arguments.next())
    } else {
        serve()
    };
    if let Err(error) = &done {
        output::message("coracle", &format_args!("{error:#}"));
    }
    if first {
        // Nothing is left to do; when even this fails, the kernel panics and QEMU ends.
        let _ = reboot(RebootCommand::PowerOff);
    }
    if done.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Sets the machine up, starts the process that serves, and reaps whatever ends until that does.
fn first_process(files: &OsString, disks: Option<OsString>) -> Result<()> {
    for (kind, place, options) in MOUNTS {
        if place.starts_with("/dev/") {
            // They are directories of the devtmpfs mounted just before.
            fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
        }
        let options = std::ffi::CString::new(options)?;
        mount(kind, place, kind, MountFlags::empty(), options.as_c_str())
            .with_context(|| format!("cannot mount {kind} at {place}"))?;
        if place == "/dev" {
            console()?;
        }
    }
    let disks = disks.context("there is no directory of disks")?;
    mount(DISKS, &disks, "virtiofs", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {}", disks.display()))?;
    for module in MODULES {
        kernel::load(Path::new(files), module);
    }
    sethostname(HOST_NAME).context("cannot name the machine")?;
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let agent = Command::new(own)
        .args([COMMAND, SERVE])
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .spawn()
        .context("cannot start the process that serves")?;
    let agent = i32::try_from(agent.id())?;
    for module in LATE_MODULES {
        kernel::load(Path::new(files), module);
    }
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == agent => {
                anyhow::bail!("the process that serves has ended: {status:?}")
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for processes"),
        }
    }
}

/// The kernel found no console on a root whose `/dev` is not its own.
fn console() -> Result<()> {
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console");
    let console = console.context("cannot open /dev/console")?;
    rustix::stdio::dup2_stdin(&console)?;
    rustix::stdio::dup2_stdout(&console)?;
    rustix::stdio::dup2_stderr(&console)?;
    Ok(())
}

/// Serves the broker until the byte channel ends.
fn serve() -> Result<()> {
    let port = port()?;
    let open = || OpenOptions::new().read(true).write(true).open(&port);
    let channel = open().with_context(|| format!("cannot open {}", port.display()))?;
    let (mux, mut reading) = Mux::new(channel.try_clone()?, channel, Side::Inside)?;
    reading.greet()?;
    let exchange = Exchange::new(mux);
    let copies = Arc::new(Copies::new(copies::PLACE));
    let error = reading.run(|incoming| accept(&exchange, &copies, incoming));
    Err(error.into())
}

fn accept(exchange: &Arc<Exchange>, copies: &Arc<Copies>, incoming: Incoming) {
    let Incoming { purpose, channel } = incoming;
    let purpose = match serde_json::from_slice(&purpose) {
        Ok(Purpose::Stream) => return exchange.keep(channel),
        Ok(purpose) => purpose,
        // Dropped, and so refused.
        Err(error) => return errln!("coracle: a channel without a purpose: {error}"),
    };
    let (exchange, copies) = (exchange.clone(), copies.clone());
    let work = move || match purpose {
        Purpose::Stream => {}
        Purpose::Monitor { program } => monitor::run(&exchange, &copies, channel, &program),
        Purpose::Shell { term, size } => shell::run(&exchange, channel, &term, size),
    };
    if let Err(error) = thread::Builder::new().spawn(work) {
        errln!("coracle: cannot start a thread: {error}");
    }
}

/// The byte channel's device: the port of our name. It appears some time after its bus.
fn port() -> Result<PathBuf> {
    let begun = Instant::now();
    loop {
        if let Some(port) = find_port().context("cannot list the virtio ports")? {
            return Ok(port);
        }
        anyhow::ensure!(
            begun.elapsed() < PORT_DEADLINE,
            "there is no port {}",
            super::PORT
        );
        thread::sleep(PORT_INTERVAL);
    }
}

fn find_port() -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir("/sys/class/virtio-ports") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        let device = Path::new("/dev").join(entry.file_name());
        if name.trim() == super::PORT && device.exists() {
            return Ok(Some(device));
        }
    }
    Ok(None)
}
