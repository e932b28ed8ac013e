//! A container's standard streams: a thread for each that has something to carry, which ends with
//! its stream.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use coracle_terminal::output::{self, Stream};
use coracle_terminal::raw::DetachKeys;

/// Bytes moved at a time: what a pipe holds.
const PIECE: usize = 64 << 10;

/// The streams of a process that this command is connected to.
pub(crate) struct Streams {
    keys: Option<DetachKeys>,
    /// Each thread that writes output holds a clone; when all are gone, `done` hangs up.
    writing: Option<OwnedFd>,
    done: OwnedFd,
    /// The thread that reads input closes it when the user detaches.
    detach: Option<OwnedFd>,
    detached: OwnedFd,
    /// Output of which nothing has come yet.
    quiet: Vec<(u8, UnixStream)>,
}

impl Streams {
    /// No streams yet. The keys are looked for in the input.
    ///
    /// # Errors
    /// As `pipe(2)`.
    pub(crate) fn new(keys: Option<DetachKeys>) -> Result<Self> {
        let pipe = || {
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("cannot make a pipe")
        };
        let (done, writing) = pipe()?;
        let (detached, detach) = pipe()?;
        Ok(Self {
            keys,
            writing: Some(writing),
            done,
            detach: Some(detach),
            detached,
            quiet: Vec::new(),
        })
    }

    /// Takes a stream: 0 leads to the process, 1 and 2 come from it.
    ///
    /// # Errors
    /// When a descriptor cannot be duplicated or a thread not be started.
    pub(crate) fn connect(&mut self, index: u8, stream: UnixStream) -> Result<()> {
        // The streams of a keeper do not wait, and these here do.
        stream
            .set_nonblocking(false)
            .context("cannot change a stream")?;
        if index == 0 {
            let input = duplicate(io::stdin().as_fd())?;
            let keys = self.keys.clone();
            let detach = match &self.detach {
                Some(detach) => Some(detach.try_clone().context("cannot duplicate a pipe")?),
                None => None,
            };
            return start("stdin", move || match (keys, detach) {
                (Some(keys), Some(detach)) => feed_watching(input, stream, keys, &detach),
                _ => feed(input, &stream),
            });
        }
        self.quiet.push((index, stream));
        Ok(())
    }

    /// Output of which nothing has come yet: readable when something has, or when it ends.
    pub(crate) fn quiet(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.quiet.iter().map(|(_, stream)| stream.as_fd())
    }

    /// Writes output of which something has come, until it ends; what ended before is forgotten.
    ///
    /// # Errors
    /// When a descriptor cannot be duplicated or a thread not be started.
    pub(crate) fn carry(&mut self) -> Result<()> {
        for (index, stream) in std::mem::take(&mut self.quiet) {
            match recv(&stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((0, _)) => {}
                Err(Errno::AGAIN) => self.quiet.push((index, stream)),
                // The reader sees errors too.
                Ok(_) | Err(_) => self.write_out(index, stream)?,
            }
        }
        Ok(())
    }

    fn write_out(&self, index: u8, stream: UnixStream) -> Result<()> {
        let (name, output) = match index {
            1 => ("stdout", duplicate(output::descriptor(Stream::Output))?),
            _ => ("stderr", duplicate(output::descriptor(Stream::Error))?),
        };
        let Some(writing) = &self.writing else {
            return Ok(());
        };
        let writing = duplicate(writing.as_fd())?;
        start(name, move || {
            drain(&stream, output);
            drop(writing);
        })
    }

    /// No more streams come; [`Self::done`] hangs up when all output is written.
    ///
    /// # Errors
    /// As [`Self::carry`].
    pub(crate) fn close(&mut self) -> Result<()> {
        self.carry()?;
        // What comes straight from the guest may still be on its way.
        for (index, stream) in std::mem::take(&mut self.quiet) {
            self.write_out(index, stream)?;
        }
        self.writing = None;
        self.detach = None;
        Ok(())
    }

    /// Hangs up when all output is written, after [`Self::close`].
    pub(crate) fn done(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    /// Readable when the user detaches.
    pub(crate) fn detached(&self) -> BorrowedFd<'_> {
        self.detached.as_fd()
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread
        .map(drop)
        .with_context(|| format!("cannot start a thread for {name}"))
}

fn duplicate(descriptor: BorrowedFd<'_>) -> Result<File> {
    let descriptor = descriptor.try_clone_to_owned();
    descriptor
        .map(File::from)
        .context("cannot duplicate a standard stream")
}

/// Copies our input to the container until it ends or the container wants no more.
fn feed(mut input: File, mut stream: &UnixStream) {
    // Whatever ends it, the container is told; a reader that is gone is no error.
    let _ = copy(&mut input, &mut stream);
    let _ = stream.shutdown(Shutdown::Write);
}

/// As [`feed`], until the keys come by which the user detaches.
fn feed_watching(mut input: File, mut stream: UnixStream, mut keys: DetachKeys, detach: &OwnedFd) {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match input.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        let (bytes, detached) = keys.pass(piece.get(..length).unwrap_or_default());
        if stream.write_all(&bytes).is_err() {
            break;
        }
        if detached {
            let _ = rustix::io::write(detach, b"d");
            // The keeper is told first that this is no end of input.
            loop {
                thread::park();
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Copies the container's output until it ends. When nobody reads ours any more, the container's
/// writes fail too, as in a pipe.
fn drain(mut stream: &UnixStream, mut output: File) {
    if let Err(Stopped::Writing(error)) = copy(&mut stream, &mut output) {
        let _ = stream.shutdown(Shutdown::Both);
        // A pipe that nobody reads is the container's affair, as in a shell.
        if error.kind() != io::ErrorKind::BrokenPipe {
            output::failed(&error);
        }
    }
}

/// Which side of a copy failed.
enum Stopped {
    Reading,
    Writing(io::Error),
}

/// Copies to the end.
///
/// Not `io::copy`, which has the kernel move the bytes by `splice(2)` where one side is a pipe:
/// while that waits for more from a socket it holds the pipe, and whoever reads from the other end
/// cannot have what is in it already.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<(), Stopped> {
    let mut buffer = vec![0; PIECE];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(Stopped::Reading),
        };
        let written = to.write_all(buffer.get(..length).unwrap_or_default());
        written.map_err(Stopped::Writing)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_can_be_read_while_more_is_waited_for() {
        let (mut container, stream) = UnixStream::pair().unwrap();
        let (mut reader, output) = io::pipe().unwrap();
        let writing = thread::spawn(move || {
            drain(&stream, File::from(OwnedFd::from(output)));
        });
        let mut byte = [0];
        // The second one is read while the copying thread waits for a third.
        for sent in [b"1", b"2"] {
            container.write_all(sent).unwrap();
            reader.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, sent);
        }
        drop(container);
        writing.join().unwrap();
        assert_eq!(reader.read(&mut byte).unwrap(), 0);
    }
}
