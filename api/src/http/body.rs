//! A request's body, whose end is known by its length or by its chunks.

use std::io::{self, BufRead, Read};

use super::{
    head::Framing,
    limits::{MAX_CHUNK_LINE, MAX_TRAILERS},
};

/// How much of a body is still to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// So many bytes of a body with a length, or of its current chunk.
    Bytes(u64),
    /// The next chunk's size.
    Size,
    /// The line end after a chunk.
    ChunkEnd,
    /// Nothing.
    Nothing,
}

/// A body that is read from a connection.
#[derive(Debug)]
pub struct Body {
    chunked: bool,
    left: Left,
}

impl Body {
    /// A body of which nothing has been read.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self {
                chunked: false,
                left: Left::Nothing,
            },
            Framing::Length(length) => Self {
                chunked: false,
                left: Left::Bytes(length),
            },
            Framing::Chunked => Self {
                chunked: true,
                left: Left::Size,
            },
        }
    }

    /// Whether all of it has been read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left == Left::Nothing
    }

    /// Reads the next bytes of it; 0 at its end.
    ///
    /// # Errors
    /// When the connection fails or ends before the body does, or a chunk is malformed.
    pub fn read(&mut self, source: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.left {
                Left::Nothing => return Ok(0),
                Left::Size => {
                    self.left = match chunk_size(source)? {
                        0 => {
                            skip_trailers(source)?;
                            Left::Nothing
                        }
                        size => Left::Bytes(size),
                    };
                }
                Left::ChunkEnd => {
                    if !line(source, 2)?.is_empty() {
                        return Err(malformed("a chunk is longer than its size"));
                    }
                    self.left = Left::Size;
                }
                Left::Bytes(left) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
                    let into = into.get_mut(..most).unwrap_or_default();
                    let length = source.read(into)?;
                    if length == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.left = match left - length as u64 {
                        0 if self.chunked => Left::ChunkEnd,
                        0 => Left::Nothing,
                        left => Left::Bytes(left),
                    };
                    return Ok(length);
                }
            }
        }
    }
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// A line of at most so many bytes, line end included, without its end.
fn line(source: &mut impl BufRead, most: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    source
        .by_ref()
        .take(most as u64)
        .read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\n") {
        Some(line) => Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec()),
        None if line.len() < most => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(malformed("a line of a chunked body is too long")),
    }
}

fn chunk_size(source: &mut impl BufRead) -> io::Result<u64> {
    let line = line(source, MAX_CHUNK_LINE)?;
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| valid)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| malformed("the size of a chunk is no number"))
}

fn skip_trailers(source: &mut impl BufRead) -> io::Result<()> {
    let mut left = MAX_TRAILERS;
    loop {
        let line = line(source, left)?;
        if line.is_empty() {
            return Ok(());
        }
        left = left.saturating_sub(line.len() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, bytes: &[u8], piece: usize) -> io::Result<(String, usize)> {
        let mut source = bytes;
        let mut body = Body::new(framing);
        let mut whole = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            match body.read(&mut source, &mut buffer)? {
                0 => break,
                length => whole.extend_from_slice(&buffer[..length]),
            }
        }
        assert!(body.is_over());
        Ok((String::from_utf8(whole).unwrap(), source.len()))
    }

    #[test]
    fn body_ends_where_its_framing_says() {
        for piece in [1, 2, 100] {
            let by_length = read(Framing::Length(5), b"helloGET", piece).unwrap();
            assert_eq!(by_length, ("hello".into(), 3));
            let chunks = b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nTrailer: x\r\n\r\nGET";
            let by_chunks = read(Framing::Chunked, chunks, piece).unwrap();
            assert_eq!(by_chunks, ("hello".into(), 3));
        }
        assert_eq!(read(Framing::Length(0), b"GET", 9).unwrap().1, 3);
    }

    #[test]
    fn body_that_breaks_off_is_an_error() {
        let whole = b"3\r\nhel\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            let broken = read(Framing::Chunked, &whole[..cut], 9).unwrap_err();
            assert_eq!(broken.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
        }
        assert!(read(Framing::Length(9), b"hello", 9).is_err());
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bytes in [
            &b"x\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n0\r\n\r\n",
            b"11111111111111111\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            &[b'1'; MAX_CHUNK_LINE + 9],
        ] {
            let refused = read(Framing::Chunked, bytes, 9).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(MAX_TRAILERS));
        assert!(read(Framing::Chunked, trailers.as_bytes(), 9).is_err());
    }
}
