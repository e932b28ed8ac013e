//! The steps of a recipe, as a file: zstd around them. A step is a byte for its kind, then numbers of 8 bytes, lowest
//! first: 0, a length and so many bytes; or 1, and offset and length in the image.

use std::fs::File;
use std::io::{self, Read, Write};

const BYTES: u8 = 0;
pub(super) const COPY: u8 = 1;
/// Content whose place is not known yet: its length and its check, in recipes in the making.
const CONTENT: u8 = 2;
/// Headers are alike, so that little effort finds most of it.
const LEVEL: i32 = 3;

/// What is known of the content of a file: enough to find it among the files of one layer. That
/// it was the right one, the digest of the whole archive tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) crc: u32,
}

/// Steps being written to a file. They are kept there and not in memory, of which they could take as much as the archive
/// that they tell of: nobody can compress what a hostile one has between its files.
pub(super) struct Encoder(zstd::Encoder<'static, Counted>);

/// A file, and the number of bytes written to it.
struct Counted {
    file: File,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Encoder {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let output = Counted { file, bytes: 0 };
        Ok(Self(zstd::Encoder::new(output, LEVEL)?))
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.step(BYTES, &[bytes.len() as u64])?;
        self.0.write_all(bytes)
    }

    pub(super) fn content(&mut self, content: Content) -> io::Result<()> {
        self.step(CONTENT, &[content.size, content.crc.into()])
    }

    /// Bytes that were written so far.
    pub(super) fn len(&self) -> u64 {
        self.0.get_ref().bytes
    }

    /// The file, when all is in it.
    pub(super) fn finish(self) -> io::Result<File> {
        self.0.finish().map(|output| output.file)
    }

    pub(super) fn step(&mut self, kind: u8, numbers: &[u64]) -> io::Result<()> {
        self.0.write_all(&[kind])?;
        numbers
            .iter()
            .try_for_each(|number| self.0.write_all(&number.to_le_bytes()))
    }
}

/// A step being read.
pub(super) enum Step {
    Bytes(u64),
    Copy { offset: u64, left: u64 },
    Content(Content),
}

/// The next step; `None` at the end.
pub(super) fn next(input: &mut impl Read) -> io::Result<Option<Step>> {
    let damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the recipe of the archive is damaged",
        )
    };
    let mut kind = [0];
    if input.read(&mut kind)? == 0 {
        return Ok(None);
    }
    let mut number = || {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(u64::from_le_bytes(bytes))
    };
    let first = number()?;
    Ok(Some(match kind {
        [BYTES] => Step::Bytes(first),
        [COPY] => Step::Copy {
            offset: first,
            left: number()?,
        },
        [CONTENT] => Step::Content(Content {
            size: first,
            crc: u32::try_from(number()?).map_err(|_| damaged())?,
        }),
        _ => return Err(damaged()),
    }))
}
