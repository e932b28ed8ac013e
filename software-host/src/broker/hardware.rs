//! QEMU and virtiofsd, as children of the broker's main thread.

use std::{
    env, fs,
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::{
    super::{agent, kernel, qemu, sys},
    COMMAND, SHARE, Settings,
};

/// Bytes of each log that a failure shows.
const LAST_WORDS: u64 = 2 << 10;

/// File names in the broker's directory: what the machine's kernel says, and what QEMU says.
const CONSOLE: &str = "console";
const QEMU_LOG: &str = "qemu.log";

/// The machine's processes.
pub(super) struct Hardware {
    qemu: Child,
    /// The servers of the root and of disks.
    shares: [Child; 2],
    channel: Option<UnixStream>,
}

impl Hardware {
    /// Starts them. Must be called from the main thread: they end with the thread that starts
    /// them.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub(super) fn start(settings: &Settings) -> Result<Self> {
        let own = env::current_exe().context("cannot tell where this program is")?;
        let (mut root, root_socket) = share(settings, &own, None)?;
        let (mut disks, disks_socket) = match share(settings, &own, Some(&settings.disks)) {
            Ok(shared) => shared,
            Err(error) => {
                end(&mut root);
                return Err(error);
            }
        };
        match machine(settings, &own, [root_socket, disks_socket]) {
            Ok((qemu, channel)) => Ok(Self {
                qemu,
                shares: [root, disks],
                channel: Some(channel),
            }),
            Err(error) => {
                end(&mut root);
                end(&mut disks);
                Err(error)
            }
        }
    }

    /// The byte channel to the machine; there is one.
    ///
    /// # Errors
    /// The second time.
    pub(super) fn channel(&mut self) -> Result<UnixStream> {
        self.channel.take().context("the byte channel is in use")
    }

    /// Ends the machine. It has nothing to lose: what it writes to disks is outside at once.
    pub(super) fn stop(&mut self) {
        end(&mut self.qemu);
        self.shares.iter_mut().for_each(end);
    }
}

fn end(child: &mut Child) {
    // A child that has ended already cannot be killed, and one that was waited for needs not be.
    let _ = child.kill();
    let _ = child.wait();
}

/// Starts virtiofsd, for the root or for a directory that the machine writes to; also gives a socket that is
/// connected to it.
fn share(settings: &Settings, own: &Path, written: Option<&Path>) -> Result<(Child, OwnedFd)> {
    // The name is needed only until both ends are there.
    let path = settings.directory.join("share");
    let listen = || {
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let connected = UnixStream::connect(&path)?;
        fs::remove_file(&path)?;
        Ok::<_, std::io::Error>((listener, connected))
    };
    let (listener, connected) =
        listen().with_context(|| format!("cannot make a socket at {}", path.display()))?;
    let listener = OwnedFd::from(listener);
    let mut command = Command::new(own);
    command
        .args([COMMAND, SHARE, &sys::number(&listener)])
        .args(written)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    coracle_platform::sys::signal_with_parent(&mut command, Signal::KILL);
    sys::inherit(&mut command, vec![listener]);
    let child = command.spawn().context("cannot start virtiofsd")?;
    Ok((child, connected.into()))
}

/// Starts QEMU; also gives the byte channel to the machine.
fn machine(
    settings: &Settings,
    own: &Path,
    [root, disks]: [OwnedFd; 2],
) -> Result<(Child, UnixStream)> {
    let (channel, theirs) = UnixStream::pair().context("cannot make a socket")?;
    let theirs = OwnedFd::from(theirs);
    let shape = qemu::Shape {
        memory_mib: settings.memory_mib,
        kernel: settings.kernel.join(kernel::IMAGE),
        init: own.into(),
        arguments: vec![
            agent::COMMAND.into(),
            settings.kernel.display().to_string(),
            settings.disks.display().to_string(),
        ],
    };
    let descriptors = qemu::Descriptors {
        root: sys::number(&root),
        disks: sys::number(&disks),
        channel: sys::number(&theirs),
    };
    let mut command = Command::new(super::super::QEMU);
    command
        .args(qemu::arguments(&shape, &descriptors)?)
        .stdin(Stdio::null())
        .stdout(log(settings, CONSOLE)?)
        .stderr(log(settings, QEMU_LOG)?);
    coracle_platform::sys::signal_with_parent(&mut command, Signal::KILL);
    sys::inherit(&mut command, vec![root, disks, theirs]);
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", super::super::QEMU))?;
    Ok((child, channel))
}

fn log(settings: &Settings, name: &str) -> Result<File> {
    let path = settings.directory.join(name);
    coracle_platform::private::create(&path)
        .with_context(|| format!("cannot create {}", path.display()))
}

/// The end of the machine's console and of QEMU's words, for a person who wonders what happened.
pub(super) fn last_words(settings: &Settings) -> String {
    let mut words = String::new();
    for (what, name) in [("its console", CONSOLE), ("QEMU", QEMU_LOG)] {
        let path = settings.directory.join(name);
        let text = tail(&path).unwrap_or_else(|error| error.to_string());
        if !text.trim().is_empty() {
            words.push_str(&format!(
                "\n--- the last words of {what} ({}):\n",
                path.display()
            ));
            words.push_str(text.trim());
        }
    }
    if words.is_empty() {
        "neither its console nor QEMU say why".to_owned()
    } else {
        words
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS)))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
}
