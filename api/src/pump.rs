//! The streams of a process in a container, carried to a client's raw connection and back.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};

use crate::{
    frame::{self, Channel},
    http::Hijacked,
};

/// Bytes moved at a time: what a pipe holds.
const PIECE: usize = 64 << 10;

/// News of a process.
#[derive(Debug)]
pub enum News {
    /// One of its streams: 0 leads to it, 1 and 2 come from it.
    Stream(u8, UnixStream),
    /// It runs.
    Started,
    /// Nothing that concerns its streams.
    Nothing,
    /// It has ended, or could not be started: a reason then. Its output is in the streams.
    Over(Option<String>),
}

/// A process whose streams are carried: readable when there is news.
pub trait Process: AsFd + Sized {
    /// The next news; waits for it.
    ///
    /// # Errors
    /// When the connection to its keeper fails.
    fn news(&mut self) -> io::Result<News>;

    /// Its client goes away in good order: what was sent to it stays open.
    fn detach(self);
}

/// Which streams a client wants, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// What the client sends is the process's input.
    pub input: bool,
    /// The client gets standard output.
    pub output: bool,
    /// The client gets standard error.
    pub error: bool,
    /// Pieces have headers that tell the streams apart. A terminal has one stream, without them.
    pub frames: bool,
    /// The process's input ends with the client's.
    pub closes_input: bool,
}

/// Why no more is carried.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process is over, and the client has all of its output.
    Over(Option<String>),
    /// The client is gone.
    ClientGone,
}

/// Carries streams until the process is over or the client gone. A client that ends its half of the
/// connection gets the output that follows all the same.
///
/// # Errors
/// When the connection to the keeper fails.
pub fn carry(mut process: impl Process, client: Hijacked, wishes: Wishes) -> io::Result<Ended> {
    let Hijacked { stream, early } = client;
    let mut pump = Pump {
        client: &stream,
        wishes,
        outputs: Vec::new(),
        over: None,
        fed: None,
        gone: false,
    };
    thread::scope(|scope| {
        let mut early = Some(early);
        let mut input = None;
        let ended = loop {
            match pump.turn(&mut process) {
                Ok(Turn::Input(to)) => {
                    // One that is restarted has another; what was sent is the first one's.
                    let early = early.take().unwrap_or_default();
                    let from = &stream;
                    let to = Arc::new(to);
                    input = Some(Arc::clone(&to));
                    let feeding = thread::Builder::new().name("input".into());
                    let (fed, all) = match io::pipe() {
                        Ok(ends) => ends,
                        Err(error) => break Err(error),
                    };
                    let fed_by = feeding.spawn_scoped(scope, move || {
                        feed(from, &to, &early, wishes.closes_input);
                        drop(all);
                    });
                    // A process that would get neither input nor its end is nobody's.
                    if let Err(error) = fed_by {
                        break Err(error);
                    }
                    pump.fed = Some(fed);
                }
                Ok(Turn::Nothing) => {}
                Ok(Turn::Ended(ended)) => break Ok(ended),
                Err(error) => break Err(error),
            }
        };
        if matches!(ended, Ok(Ended::ClientGone)) && !wishes.closes_input {
            process.detach();
        }
        // The thread that feeds waits for one of them. The client may still be told something.
        let _ = stream.shutdown(Shutdown::Read);
        if let Some(input) = input {
            let _ = input.shutdown(Shutdown::Both);
        }
        ended
    })
}

struct Pump<'c> {
    client: &'c UnixStream,
    wishes: Wishes,
    outputs: Vec<(Channel, UnixStream)>,
    over: Option<Option<String>>,
    /// Hangs up when the process has all that the client sent.
    fed: Option<io::PipeReader>,
    /// The client is gone, and what it sent is still under way.
    gone: bool,
}

enum Turn {
    Nothing,
    Input(UnixStream),
    Ended(Ended),
}

impl Pump<'_> {
    /// Waits for one thing, and does it.
    fn turn(&mut self, process: &mut impl Process) -> io::Result<Turn> {
        if self.outputs.is_empty()
            && let Some(reason) = self.over.take()
        {
            return Ok(Turn::Ended(Ended::Over(reason)));
        }
        let mut descriptors = vec![match (&self.fed, self.gone) {
            (Some(fed), true) => PollFd::new(fed, PollFlags::IN),
            _ => PollFd::new(self.client, PollFlags::empty()),
        }];
        let streams = self.outputs.iter();
        descriptors.extend(streams.map(|(_, stream)| PollFd::new(stream, PollFlags::IN)));
        if self.over.is_none() {
            descriptors.push(PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN));
        }
        retry_on_intr(|| poll(&mut descriptors, None))?;
        let ready = descriptors.iter();
        let ready: Vec<bool> = ready.map(|one| !one.revents().is_empty()).collect();
        let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
        if is_ready(0) {
            return Ok(self.leave());
        }
        let count = self.outputs.len();
        // Output comes before the news that it is over.
        let mut index = 0;
        let mut gone = false;
        let mut wishes = self.wishes;
        if self.gone {
            (wishes.output, wishes.error) = (false, false);
        }
        let client = self.client;
        self.outputs.retain_mut(|(channel, stream)| {
            index += 1;
            if !is_ready(index) || gone {
                return true;
            }
            match pass(*channel, stream, client, wishes) {
                Ok(more) => more,
                Err(_) => {
                    gone = true;
                    true
                }
            }
        });
        if gone {
            return Ok(self.leave());
        }
        if self.over.is_none() && is_ready(count + 1) {
            return self.news(process);
        }
        Ok(Turn::Nothing)
    }

    /// The client is gone. What it sent before is the process's all the same: a script that writes, ends its
    /// half and goes has done what it should.
    fn leave(&mut self) -> Turn {
        if self.gone || self.fed.is_none() || !self.wishes.closes_input {
            return Turn::Ended(Ended::ClientGone);
        }
        self.gone = true;
        Turn::Nothing
    }

    fn news(&mut self, process: &mut impl Process) -> io::Result<Turn> {
        match process.news()? {
            News::Stream(0, stream) => {
                stream.set_nonblocking(false)?;
                if self.wishes.input {
                    return Ok(Turn::Input(stream));
                }
            }
            News::Stream(index, stream) => {
                stream.set_nonblocking(false)?;
                let channel = match index {
                    2 => Channel::Error,
                    _ => Channel::Output,
                };
                self.outputs.push((channel, stream));
            }
            News::Started | News::Nothing => {}
            News::Over(reason) => self.over = Some(reason),
        }
        Ok(Turn::Nothing)
    }
}

/// Passes a piece of output on; false at its end. What the client does not want is read all the same, so
/// that the process does not wait.
///
/// # Errors
/// When the client is gone.
fn pass(
    channel: Channel,
    mut from: &UnixStream,
    mut client: &UnixStream,
    wishes: Wishes,
) -> io::Result<bool> {
    let mut piece = vec![0; PIECE];
    let length = loop {
        match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return Ok(false),
            Ok(length) => break length,
        }
    };
    let bytes = piece.get(..length).unwrap_or_default();
    let wanted = match channel {
        Channel::Output => wishes.output,
        Channel::Error => wishes.error,
    };
    if !wanted {
        return Ok(true);
    }
    if wishes.frames {
        let mut frames = Vec::with_capacity(length + 8);
        frame::append(&mut frames, channel, bytes);
        client.write_all(&frames)?;
    } else {
        client.write_all(bytes)?;
    }
    Ok(true)
}

/// Copies what a client sends to a process, until the client ends its half or the process wants no
/// more.
fn feed(mut from: &UnixStream, mut to: &UnixStream, early: &[u8], closes: bool) {
    let mut piece = vec![0; PIECE];
    let mut result = to.write_all(early);
    while result.is_ok() {
        match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(length) => result = to.write_all(piece.get(..length).unwrap_or_default()),
        }
    }
    if closes {
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        os::fd::{BorrowedFd, OwnedFd},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;

    /// A process that the test plays: its news come when the test writes a byte.
    struct Played {
        signal: OwnedFd,
        news: VecDeque<News>,
        detached: Arc<AtomicBool>,
    }

    impl AsFd for Played {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.signal.as_fd()
        }
    }

    impl Process for Played {
        fn news(&mut self) -> io::Result<News> {
            rustix::io::read(&self.signal, &mut [0])?;
            self.news
                .pop_front()
                .ok_or_else(|| io::Error::other("no news"))
        }

        fn detach(self) {
            self.detached.store(true, Ordering::SeqCst);
        }
    }

    struct Scene {
        process: Played,
        /// A byte for each piece of news that may be seen.
        tell: io::PipeWriter,
        input: UnixStream,
        output: UnixStream,
        error: UnixStream,
        client: UnixStream,
        hijacked: Hijacked,
    }

    fn scene(early: &[u8]) -> Scene {
        let (signal, tell) = io::pipe().unwrap();
        let (input, to_process) = UnixStream::pair().unwrap();
        let (output, from_output) = UnixStream::pair().unwrap();
        let (error, from_error) = UnixStream::pair().unwrap();
        let (client, stream) = UnixStream::pair().unwrap();
        let process = Played {
            signal: signal.into(),
            news: VecDeque::from([
                News::Stream(0, to_process),
                News::Stream(1, from_output),
                News::Stream(2, from_error),
                News::Started,
                News::Over(None),
            ]),
            detached: Arc::default(),
        };
        Scene {
            process,
            tell,
            input,
            output,
            error,
            client,
            hijacked: Hijacked {
                stream,
                early: early.to_vec(),
            },
        }
    }

    const ALL: Wishes = Wishes {
        input: true,
        output: true,
        error: true,
        frames: true,
        closes_input: true,
    };

    #[test]
    fn client_that_ends_its_half_gets_all_output() {
        let mut scene = scene(b"ear");
        scene.tell.write_all(&[0; 4]).unwrap();
        let process = scene.process;
        let hijacked = scene.hijacked;
        let carrying = thread::spawn(move || carry(process, hijacked, ALL));
        scene.client.write_all(b"ly").unwrap();
        scene.client.shutdown(Shutdown::Write).unwrap();
        let mut input = String::new();
        scene.input.read_to_string(&mut input).unwrap();
        assert_eq!(input, "early");
        scene.output.write_all(b"out").unwrap();
        let mut frame = [0; 11];
        scene.client.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x01\0\0\0\0\0\0\x03out");
        scene.error.write_all(b"err").unwrap();
        // It is over before its output is read.
        scene.tell.write_all(&[0]).unwrap();
        drop((scene.output, scene.error));
        let mut rest = Vec::new();
        scene.client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"\x02\0\0\0\0\0\0\x03err");
        let ended = carrying.join().unwrap().unwrap();
        assert_eq!(ended, Ended::Over(None));
    }

    #[test]
    fn stream_ends_with_the_process_even_if_the_client_could_send_more() {
        let mut scene = scene(b"");
        scene.tell.write_all(&[0; 5]).unwrap();
        drop((scene.output, scene.error));
        let process = scene.process;
        let hijacked = scene.hijacked;
        let carrying = thread::spawn(move || carry(process, hijacked, ALL));
        assert_eq!(scene.client.read(&mut [0]).unwrap(), 0);
        assert_eq!(carrying.join().unwrap().unwrap(), Ended::Over(None));
    }

    #[test]
    fn what_a_client_sent_before_it_went_is_all_there() {
        let mut scene = scene(b"");
        scene.tell.write_all(&[0; 4]).unwrap();
        let process = scene.process;
        let hijacked = scene.hijacked;
        let carrying = thread::spawn(move || carry(process, hijacked, ALL));
        let mut client = scene.client;
        // More than the buffers of both connections.
        let whole = vec![b'i'; 1 << 20];
        let sent = whole.clone();
        let sending = thread::spawn(move || client.write_all(&sent));
        let mut input = vec![0; 4096];
        scene.input.read_exact(&mut input).unwrap();
        // It writes when nobody reads any more.
        scene.output.write_all(b"o").unwrap();
        scene.input.read_to_end(&mut input).unwrap();
        sending.join().unwrap().unwrap();
        assert_eq!(input.len(), whole.len());
        assert_eq!(carrying.join().unwrap().unwrap(), Ended::ClientGone);
        // Its output is nobody's.
        drop((scene.output, scene.error));
    }

    #[test]
    fn client_that_goes_leaves_a_terminal_open() {
        let mut scene = scene(b"");
        scene.tell.write_all(&[0; 4]).unwrap();
        let process = scene.process;
        let hijacked = scene.hijacked;
        let wishes = Wishes {
            frames: false,
            closes_input: false,
            ..ALL
        };
        let detached = Arc::clone(&process.detached);
        let carrying = thread::spawn(move || carry(process, hijacked, wishes));
        scene.output.write_all(b"raw").unwrap();
        let mut text = [0; 3];
        scene.client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"raw");
        drop(scene.client);
        assert_eq!(carrying.join().unwrap().unwrap(), Ended::ClientGone);
        assert!(detached.load(Ordering::SeqCst));
    }

    #[test]
    fn output_that_is_not_wanted_holds_nothing_up() {
        let mut scene = scene(b"");
        scene.tell.write_all(&[0; 4]).unwrap();
        let process = scene.process;
        let hijacked = scene.hijacked;
        let wishes = Wishes {
            error: false,
            frames: false,
            ..ALL
        };
        let carrying = thread::spawn(move || carry(process, hijacked, wishes));
        scene.error.write_all(&vec![b'e'; 1 << 20]).unwrap();
        scene.output.write_all(b"o").unwrap();
        scene.tell.write_all(&[0]).unwrap();
        drop((scene.output, scene.error));
        let mut text = String::new();
        scene.client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "o");
        assert_eq!(carrying.join().unwrap().unwrap(), Ended::Over(None));
    }
}
