//! Streams and compressed archives, made into plain files that can be read at any place.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::SourceError;
use crate::layer::Compression;
pub(crate) use crate::layer::decompressed;

/// Most bytes that an input may unpack to: several of the largest images in use. Stops a small
/// file that decompresses without end from filling the disk.
const MAX_SPOOLED: u64 = 128 << 30;
/// Bytes looked at to tell a compression.
const MAGIC: usize = 4;

/// Tells a compression by the first bytes (RFC 1952 section 2.3.1, RFC 8878 section 3.1.1, the .xz file format 2.1.1.1;
/// bzip2 has no specification).
pub(crate) fn compression_of(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', ..] => Compression::Xz,
        _ => Compression::None,
    }
}

/// Reads the first bytes and gives them back with the rest behind them.
pub(crate) fn peek<R: Read>(mut reader: R) -> io::Result<(Compression, impl Read + use<R>)> {
    let mut start = Vec::with_capacity(MAGIC);
    reader.by_ref().take(MAGIC as u64).read_to_end(&mut start)?;
    Ok((compression_of(&start), io::Cursor::new(start).chain(reader)))
}

/// Copies a stream, decompressed, into a file that has no name and vanishes when it is closed.
pub(super) fn spool(input: impl Read, origin: &str, scratch: &Path) -> Result<File, SourceError> {
    let read = |source| SourceError::Read {
        origin: origin.to_owned(),
        name: "the archive".to_owned(),
        source,
    };
    let write = |source| SourceError::Spool {
        origin: origin.to_owned(),
        scratch: scratch.display().to_string(),
        source,
    };
    let mut output = tempfile::tempfile_in(scratch).map_err(write)?;
    let (compression, input) = peek(input).map_err(read)?;
    let mut input = decompressed(input, compression).map_err(read)?;
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let count = match input.read(&mut chunk) {
            Ok(0) => return Ok(output),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read(error)),
        };
        total += count as u64;
        if total > MAX_SPOOLED {
            return Err(SourceError::TooLarge {
                origin: origin.to_owned(),
                limit: MAX_SPOOLED,
            });
        }
        io::Write::write_all(&mut output, &chunk[..count]).map_err(write)?;
    }
}

/// Bytes copied at once.
const CHUNK: usize = 256 << 10;
