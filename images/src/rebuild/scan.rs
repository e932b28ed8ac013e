//! What of a tar archive is the content of files, found while it passes by.

use std::fs::File;
use std::io::{self, Seek};

use flate2::Crc;

use super::steps::{Content, Encoder};

/// Bytes of a block of an archive.
const BLOCK: usize = 512;
/// Content that is not longer is kept as it is: saying where it is takes as much.
const SHORT: u64 = 64;
/// Bytes gathered before they are compressed.
const GATHERED: usize = 64 << 10;
/// Most bytes of a recipe, compressed: more than the headers of as many entries as a layer may have take. An archive
/// that needs more is full of what is neither, and gets none: it is kept itself.
const MAX_RECIPE: u64 = 64 << 20;

/// Reads an archive that is given to it piece by piece.
pub(crate) struct Scanner {
    steps: Encoder,
    gathered: Vec<u8>,
    state: State,
    failed: bool,
}

enum State {
    /// So much of a header is here.
    Header(Vec<u8>),
    /// Of an entry that is kept as it is, with its padding, so many bytes are left.
    Keep(u64),
    /// The archive has ended; what follows is kept as it is.
    Rest,
    /// Content of a file, of which so many bytes are left, and then so many of padding.
    Content {
        left: u64,
        padding: u64,
        crc: Box<Crc>,
        size: u64,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Vec::with_capacity(BLOCK))
    }
}

impl Scanner {
    /// One that writes what it finds to an empty file, for which nobody needs a name.
    ///
    /// # Errors
    /// Those of zstd.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            failed: false,
            steps: Encoder::new(file)?,
            gathered: Vec::new(),
            state: State::default(),
        })
    }

    /// Takes the next bytes.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.failed {
            let used = self.step(bytes);
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    /// Takes some of the bytes; returns how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match std::mem::take(&mut self.state) {
            State::Header(mut header) => {
                let used = bytes.len().min(BLOCK - header.len());
                header.extend_from_slice(bytes.get(..used).unwrap_or_default());
                self.state = if header.len() == BLOCK {
                    self.keep(&header);
                    after(&header)
                } else {
                    State::Header(header)
                };
                used
            }
            State::Rest => {
                self.keep(bytes);
                self.state = State::Rest;
                bytes.len()
            }
            State::Keep(left) => {
                let used = shorter(bytes, left);
                self.keep(bytes.get(..used).unwrap_or_default());
                if used as u64 != left {
                    self.state = State::Keep(left - used as u64);
                }
                used
            }
            State::Content {
                left,
                padding,
                mut crc,
                size,
            } => {
                let used = shorter(bytes, left);
                crc.update(bytes.get(..used).unwrap_or_default());
                let left = left - used as u64;
                if left > 0 {
                    self.state = State::Content {
                        left,
                        padding,
                        crc,
                        size,
                    };
                    return used;
                }
                let crc = crc.sum();
                self.flush();
                self.failed |= self.steps.content(Content { size, crc }).is_err();
                if padding > 0 {
                    self.state = State::Keep(padding);
                }
                used
            }
        }
    }

    /// The file with the steps when the archive is at its end; `None` for one that cannot be put
    /// together.
    pub(super) fn finish(mut self) -> Option<File> {
        match std::mem::take(&mut self.state) {
            State::Header(rest) => self.keep(&rest),
            State::Rest => {}
            State::Keep(_) | State::Content { .. } => return None,
        }
        self.flush();
        let mut steps = self.steps.finish().ok()?;
        steps.rewind().ok()?;
        (!self.failed).then_some(steps)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHERED {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.failed |= self.steps.bytes(&self.gathered).is_err();
            self.failed |= self.steps.len() > MAX_RECIPE;
            self.gathered.clear();
        }
    }
}

fn shorter(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

/// What follows a header (POSIX.1-2017 pax, "ustar Interchange Format").
fn after(header: &[u8]) -> State {
    if header.iter().all(|byte| *byte == 0) {
        return State::Rest;
    }
    let Some(size) = size(header) else {
        // The layer itself is refused.
        return State::default();
    };
    let block = BLOCK as u64;
    let padding = (block - size % block) % block;
    let regular = matches!(header.get(156), Some(b'0' | 0 | b'7'));
    match size.checked_add(padding) {
        Some(0) | None => State::default(),
        Some(_) if regular && size > SHORT => State::Content {
            left: size,
            padding,
            crc: Box::default(),
            size,
        },
        Some(all) => State::Keep(all),
    }
}

/// The field `size`: octal digits, or with the highest bit set a binary number.
fn size(header: &[u8]) -> Option<u64> {
    let field = header.get(124..136)?;
    // Links and directories have no content, whatever they say.
    if matches!(header.get(156), Some(b'1'..=b'6')) {
        return Some(0);
    }
    if let [first @ 0x80..=0xff, rest @ ..] = field {
        let (high, low) = rest.split_at_checked(3)?;
        let high_is_empty = *first == 0x80 && high.iter().all(|byte| *byte == 0);
        let low: [u8; 8] = low.try_into().ok()?;
        return high_is_empty.then(|| u64::from_be_bytes(low));
    }
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(|character| matches!(character, ' ' | '\0'));
    if digits.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(digits, 8).ok()
}
