//! The outer end of a shell in the machine: the user's terminal.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use packets::Socket;

use super::{
    connect,
    relay::{Ended, Size},
    wire::Request,
};
use coracle_platform::Directories;
use coracle_platform::sys::Signals;
use coracle_terminal::output::{self, Stream};
use coracle_terminal::raw::{Terminal, size as terminal_size, standard_input_is_terminal};

/// Bytes moved at once.
const PIECE: usize = 16 << 10;

/// Runs a root shell in the machine on the user's terminal; gives its exit code.
///
/// # Errors
/// When the machine cannot be started, or ends meanwhile.
pub fn shell(directories: &Directories) -> Result<u8> {
    // Before any other thread: they are to leave the signal to the one that waits for it.
    let signals = Signals::new(&[libc::SIGWINCH]).context("cannot wait for signals")?;
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
    let request = Request::Shell { term, size: size() };
    let packets = Arc::new(connect::begin(directories, &request, None)?);
    let (stream, theirs) = UnixStream::pair().context("cannot make a socket")?;
    packets
        .send_bytes(b"{}", Some(theirs.as_fd()))
        .context("the software host has exited")?;
    drop(theirs);

    let raw = if standard_input_is_terminal() {
        Some(Terminal::raw()?)
    } else {
        None
    };
    let output = start(&stream, &packets, signals)?;
    let ended = packets.receive::<Ended>();
    // A panic there has been told on standard error.
    let _ = output.join();
    drop(raw);
    match ended? {
        Some((Ended { code }, _)) => Ok(code),
        None => anyhow::bail!("the software host has exited; see 'coracle machine status'"),
    }
}

/// Starts the threads that move keys, output and sizes; gives the one for output.
fn start(
    stream: &UnixStream,
    packets: &Arc<Socket>,
    mut signals: Signals,
) -> Result<thread::JoinHandle<()>> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let keys = stream.try_clone()?;
    thread::spawn(move || {
        copy(input, &keys);
        let _ = keys.shutdown(Shutdown::Write);
    });
    let packets = packets.clone();
    thread::spawn(move || {
        while signals.receive_number().is_ok() {
            if packets.send(&size(), None).is_err() {
                return;
            }
        }
    });
    let screen = stream.try_clone()?;
    let output = File::from(output::descriptor(Stream::Output).try_clone_to_owned()?);
    Ok(thread::spawn(move || copy(&screen, output)))
}

fn size() -> Size {
    let size = terminal_size();
    Size {
        rows: size.rows,
        columns: size.columns,
    }
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; PIECE];
    // A stream that fails has ended.
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(buffer.split_at(length).0).is_err() {
            return;
        }
    }
}
