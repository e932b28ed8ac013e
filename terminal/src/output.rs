//! What the program writes to its standard streams, all of it: `tests/architecture.rs` holds that nothing else
//! in `src/` writes there.
//!
//! Words for people are cleaned here, since images, guests and registries have a part in most of them. They are
//! cleaned whether or not the stream is a terminal: what goes through a pipe or into a file is shown on one later,
//! and a script that takes a value exactly as it is asks for JSON, where it stands escaped. What is passed on as it
//! came ([`raw`]) is what the user asked for in bytes: the streams and the log of a container, archives, shells.
//!
//! A failed write is noted, and what a command does goes on: `coracle rm a b c | true` removes all three. At the end
//! `main` asks for it ([`finish`]); commands that go on until they are stopped ask after each line ([`check`]).

use std::{
    fmt::{self, Display},
    io::{self, ErrorKind, IsTerminal, Write},
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

pub use coracle_platform::clean::{json as clean_json, line as clean_line, lines as clean_lines};

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// For what was asked for.
    Output,
    /// For what is said beside it.
    Error,
}

/// Exit code of a program that was ended by a closed pipe, as a shell shows it.
pub const CLOSED_PIPE: u8 = 141;

/// What came of writing: the first failure.
static FAILURE: Mutex<Option<Cause>> = Mutex::new(None);

/// [`io::Error`] cannot be copied.
#[derive(Debug, Clone, Copy)]
struct Cause {
    kind: ErrorKind,
    code: Option<i32>,
}

/// Standard output cannot be written to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("cannot write to standard output: {}", self.cause())]
pub struct Failed(Cause);

impl Failed {
    /// Nobody reads it any more, which is no error to tell anybody.
    pub fn is_closed_pipe(&self) -> bool {
        self.0.kind == ErrorKind::BrokenPipe
    }

    fn cause(&self) -> io::Error {
        let Self(Cause { kind, code }) = *self;
        code.map_or_else(|| kind.into(), io::Error::from_raw_os_error)
    }
}

/// Writes a text of any number of lines to standard output, without an end of its own.
#[macro_export]
macro_rules! out {
    ($($format:tt)*) => {
        $crate::output::write($crate::output::Stream::Output, &format!($($format)*))
    };
}

/// Writes one line to standard output, whatever is in its values.
#[macro_export]
macro_rules! outln {
    ($($format:tt)*) => {
        $crate::output::write_line($crate::output::Stream::Output, &format!($($format)*))
    };
}

/// Writes one line to standard error, whatever is in its values.
#[macro_export]
macro_rules! errln {
    ($($format:tt)*) => {
        $crate::output::write_line($crate::output::Stream::Error, &format!($($format)*))
    };
}

/// Writes words.
pub fn write(stream: Stream, text: &str) {
    put(stream, clean_lines(text).as_bytes());
}

/// Writes words as one line.
pub fn write_line(stream: Stream, text: &str) {
    put(stream, format!("{}\n", clean_line(text)).as_bytes());
}

/// Writes a message on standard error. Its first line begins with the program's name; the others are indented, so
/// that no foreign text among them looks like a message of ours.
pub fn message(name: &str, message: &impl Display) {
    put(Stream::Error, message_text(name, message).as_bytes());
}

fn message_text(name: &str, message: &impl Display) -> String {
    let text = format!("{name}: {message}");
    clean_lines(text.trim_end()).replace('\n', "\n  ") + "\n"
}

/// Writes JSON and a line end to standard output.
///
/// # Errors
/// When the value cannot be JSON.
pub fn json(value: &impl Serialize) -> serde_json::Result<()> {
    json_text(Stream::Output, &serde_json::to_string(value)?);
    Ok(())
}

/// The same, over several lines.
///
/// # Errors
/// When the value cannot be JSON.
pub fn json_pretty(value: &impl Serialize) -> serde_json::Result<()> {
    json_text(Stream::Output, &serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Writes a text that is JSON, and a line end.
pub fn json_text(stream: Stream, text: &str) {
    put(stream, format!("{}\n", clean_json(text)).as_bytes());
}

/// A picture on a terminal: the only words with control sequences, which are ours.
#[derive(Debug, Default)]
pub struct Screen(String);

impl Screen {
    /// Goes some lines up.
    pub fn up(&mut self, lines: usize) -> &mut Self {
        if lines > 0 {
            self.0.push_str(&format!("\x1b[{lines}A"));
        }
        self
    }

    /// Goes to the beginning of the line, and empties it.
    pub fn empty_line(&mut self) -> &mut Self {
        self.0.push_str("\r\x1b[K");
        self
    }

    /// Empties the terminal, and goes to its corner.
    pub fn empty(&mut self) -> &mut Self {
        self.0.push_str("\x1b[2J\x1b[H");
        self
    }

    /// Words, in this line.
    pub fn text(&mut self, text: impl fmt::Display) -> &mut Self {
        self.0.push_str(&clean_line(&text.to_string()));
        self
    }

    /// Ends the line.
    pub fn end_line(&mut self) -> &mut Self {
        self.0.push('\n');
        self
    }

    /// Shows it.
    pub fn show(&mut self, stream: Stream) {
        put(stream, self.0.as_bytes());
        flush(stream);
        self.0.clear();
    }
}

/// Shows at once what was written without a line end.
pub fn flush(stream: Stream) {
    let _ = note(stream, with(stream, |out| out.flush()));
}

/// Bytes that go to a standard stream as they are, because they are what was asked for: a container's own streams
/// and log, an archive, a script.
#[derive(Debug)]
pub struct Raw(Stream);

/// A standard stream for bytes of that kind.
pub fn raw(stream: Stream) -> Raw {
    Raw(stream)
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        note(self.0, with(self.0, |out| out.write(bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        note(self.0, with(self.0, |out| out.flush()))
    }
}

/// A standard stream's descriptor: for its size as a terminal, and to carry a container's stream to it.
pub fn descriptor(stream: Stream) -> BorrowedFd<'static> {
    match stream {
        Stream::Output => rustix::stdio::stdout(),
        Stream::Error => rustix::stdio::stderr(),
    }
}

/// Whether a person sees a stream.
pub fn is_terminal(stream: Stream) -> bool {
    descriptor(stream).is_terminal()
}

/// Notes that a stream could not be written to by its descriptor.
pub fn failed(error: &io::Error) {
    let mut first = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    first.get_or_insert(Cause {
        kind: error.kind(),
        code: error.raw_os_error(),
    });
}

/// Whether all that was written to standard output has arrived so far.
///
/// # Errors
/// When it has not, and more of it is of no use.
pub fn check() -> Result<(), Failed> {
    match *FAILURE.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(Failed(failure)),
        None => Ok(()),
    }
}

/// Writes what is still to be written, and tells whether everything was.
///
/// # Errors
/// As [`check`].
pub fn finish() -> Result<(), Failed> {
    flush(Stream::Output);
    check()
}

fn with<T>(stream: Stream, action: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
    match stream {
        Stream::Output => action(&mut io::stdout().lock()),
        Stream::Error => action(&mut io::stderr().lock()),
    }
}

/// Writes bytes that were cleaned. After a failure nothing more goes to standard output: what comes after a gap
/// would be read as if there were none.
fn put(stream: Stream, bytes: &[u8]) {
    if stream == Stream::Error || check().is_ok() {
        let _ = note(stream, with(stream, |out| out.write_all(bytes)));
    }
}

/// Notes a failure of standard output. One of standard error cannot be told to anybody: the exit code remains.
fn note<T>(stream: Stream, result: io::Result<T>) -> io::Result<T> {
    match &result {
        Err(error) if stream == Stream::Output && error.kind() != ErrorKind::Interrupted => {
            failed(error);
        }
        _ => {}
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_in_a_message_are_no_message_of_ours() {
        let words =
            "the monitor failed; its last words:\n\x1b[2J\x1b]0;t\x07\ncoracle: all is well\n";
        assert_eq!(
            message_text("coracle", &words),
            "coracle: the monitor failed; its last words:\n  \\x1b[2J\\x1b]0;t\\x07\n  coracle: all is well\n"
        );
    }

    #[test]
    fn picture_has_our_sequences_and_no_others() {
        let mut screen = Screen::default();
        screen.up(2).empty_line().text("layer\x1b[2J\n").end_line();
        assert_eq!(screen.0, "\x1b[2A\r\x1b[Klayer\\x1b[2J \n");
    }
}
