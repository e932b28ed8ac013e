//! A shell in the machine, on a terminal of its own.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{fs::OpenOptionsExt, net::UnixStream},
    },
    path::Path,
    process::{Child, Command},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use rustix::{
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use coracle_terminal::output;

use super::super::{
    mux::Channel,
    relay::{self, Ended, Exchange, Messages, Size},
    sys,
};

/// Shells by preference.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// Largest message from outside: a terminal's size.
const MAX_SIZE_MESSAGE: usize = 1 << 10;

/// Bytes moved at once.
const PIECE: usize = 16 << 10;

/// Runs a shell until it ends or its user has gone away.
pub(super) fn run(exchange: &Arc<Exchange>, channel: Channel, term: &str, size: Size) {
    let Channel {
        mut sender,
        receiver,
    } = channel;
    let mut messages = Messages::new(receiver);
    let stream = match messages.next(MAX_SIZE_MESSAGE) {
        Ok(Some((_, stream))) => exchange.stream(stream).ok().flatten(),
        _ => None,
    };
    // Without a stream, its user has gone away already.
    let Some(stream) = stream.map(UnixStream::from) else {
        return;
    };
    let code = session(&stream, messages, term, size).unwrap_or_else(|error| {
        // The user may have gone away; there is no one else to tell.
        let words = format!("coracle: {error:#}");
        let _ = write!(&stream, "{}\r\n", output::clean_line(&words));
        1
    });
    let _ = stream.shutdown(Shutdown::Both);
    let ended = serde_json::to_vec(&Ended { code }).expect("a number is always JSON");
    if relay::send(&mut sender, 0, &ended).is_ok() {
        sender.finish();
    }
}

fn session(stream: &UnixStream, messages: Messages, term: &str, size: Size) -> Result<u8> {
    let (master, slave) = terminal(size).context("cannot make a terminal")?;
    let mut child = start(slave, term)?;
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch the shell")?;

    let (keys, input) = (stream.try_clone()?, File::from(master.try_clone()?));
    thread::spawn(move || copy(&keys, &input));
    let (output, screen) = (File::from(master.try_clone()?), stream.try_clone()?);
    let output = thread::spawn(move || copy(&output, &screen));
    thread::spawn(move || {
        resize(&master, messages);
        // The user has gone away, or the shell has ended already.
        let _ = pidfd_send_signal(&process, Signal::HUP);
    });
    let status = child.wait().context("cannot wait for the shell")?;
    // A panic there has been told on the console.
    let _ = output.join();
    let code = status.code().or_else(|| {
        std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal)
    });
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn terminal(size: Size) -> io::Result<(OwnedFd, File)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    set_size(&master, size);
    let name = ptsname(&master, Vec::new())?;
    let name = name.to_str().map_err(|_| io::ErrorKind::InvalidData)?;
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(name)?;
    Ok((master, slave))
}

fn start(slave: File, term: &str) -> Result<Child> {
    let shell = SHELLS.into_iter().find(|shell| Path::new(shell).exists());
    let shell = shell.context("no shell found")?;
    let mut command = Command::new(shell);
    command
        .env("TERM", term)
        .stdin(slave.try_clone()?)
        .stdout(slave.try_clone()?)
        .stderr(slave);
    sys::own_terminal(&mut command);
    command
        .spawn()
        .with_context(|| format!("cannot start {shell}"))
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; PIECE];
    // A terminal whose last program has ended reads as an error.
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(buffer.split_at(length).0).is_err() {
            return;
        }
    }
}

fn resize(master: &OwnedFd, mut messages: Messages) {
    while let Ok(Some((message, _))) = messages.next(MAX_SIZE_MESSAGE) {
        if let Ok(size) = serde_json::from_slice(&message) {
            set_size(master, size);
        }
    }
}

/// A size that a terminal refuses is not worth a word.
fn set_size(master: &OwnedFd, Size { rows, columns }: Size) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let _ = tcsetwinsize(master, size);
}
