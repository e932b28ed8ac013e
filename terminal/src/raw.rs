//! The user's terminal, raw while a container has it.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use contracts::guest::TerminalSize;
use rustix::termios::{self, OptionalActions, Termios};

use crate::output::{self, Stream};

/// Whether standard input is a terminal.
pub fn standard_input_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Size of the terminal that the program runs in; 24 lines of 80 where it has none.
pub fn size() -> TerminalSize {
    let size = [
        termios::tcgetwinsize(output::descriptor(Stream::Output)),
        termios::tcgetwinsize(io::stdin()),
        termios::tcgetwinsize(output::descriptor(Stream::Error)),
    ];
    let size = size
        .into_iter()
        .flatten()
        .find(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or(
        TerminalSize {
            rows: 24,
            columns: 80,
        },
        |size| TerminalSize {
            rows: size.ws_row,
            columns: size.ws_col,
        },
    )
}

/// The keys by which a user leaves a container that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them have come.
    seen: usize,
}

impl Default for DetachKeys {
    /// Docker's: Ctrl-P, Ctrl-Q.
    fn default() -> Self {
        Self {
            keys: vec![0x10, 0x11],
            seen: 0,
        }
    }
}

impl std::str::FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = |key: &str| match key.as_bytes() {
            [letter] => Some(*letter),
            [b'c', b't', b'r', b'l', b'-', letter] => match letter.to_ascii_uppercase() {
                // '@' to '_', as terminals count.
                letter @ 0x40..=0x5f => Some(letter - 0x40),
                _ => None,
            },
            _ => None,
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        match keys {
            Some(keys) => Ok(Self { keys, seen: 0 }),
            None => Err(format!(
                "{text:?} is not a list of keys such as ctrl-p,ctrl-q"
            )),
        }
    }
}

impl DetachKeys {
    /// What of some input the process gets, and whether the keys are complete.
    pub fn pass(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(input.len());
        for byte in input {
            if self.keys.get(self.seen) == Some(byte) {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            // What looked like the keys was not.
            passed.extend_from_slice(self.keys.get(..self.seen).unwrap_or_default());
            self.seen = usize::from(self.keys.first() == Some(byte));
            if self.seen == 0 {
                passed.push(*byte);
            } else if self.keys.len() == 1 {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

/// A terminal in raw mode; it gets its own mode back when this is dropped.
pub struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Makes standard input raw: every key reaches the container, Ctrl-C too.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn raw() -> Result<Self> {
        let before = termios::tcgetattr(io::stdin()).context("cannot read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)
            .context("cannot make the terminal raw")?;
        Ok(Self { before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_split_over_two_reads_detach() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.pass(b"ls\n\x10"), (b"ls\n".to_vec(), false));
        assert_eq!(keys.pass(b"\x11x"), (Vec::new(), true));
    }

    #[test]
    fn first_key_alone_reaches_the_process() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.pass(b"\x10a\x10"), (b"\x10a".to_vec(), false));
        assert_eq!(keys.pass(b"\x10\x11"), (b"\x10".to_vec(), true));
    }

    #[test]
    fn keys_are_written_as_docker_does() {
        let keys: DetachKeys = "ctrl-a,d".parse().unwrap();
        assert_eq!(keys.keys, [1, b'd']);
        assert!("ctrl-".parse::<DetachKeys>().is_err());
        assert!("".parse::<DetachKeys>().is_err());
    }
}
