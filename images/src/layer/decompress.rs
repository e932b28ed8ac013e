//! Compression taken away, within bounds of memory and of growth.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::Compression;
use super::limits::{FREE_GROWTH, MAX_GROWTH, MAX_XZ_MEMORY, MAX_ZSTD_WINDOW_LOG};

/// Bytes of compressed input read at once.
const INPUT_BUFFER: usize = 128 << 10;

/// What is compressed became more than is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grown {
    /// Compressed bytes so far.
    pub(crate) from: u64,
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from;
        let limit = limit(from);
        write!(
            f,
            "{from} compressed bytes grow to more than {limit}: refused as a bomb"
        )
    }
}

impl std::error::Error for Grown {}

/// Most bytes that so many compressed ones may become.
pub(crate) fn limit(from: u64) -> u64 {
    limit_beyond(FREE_GROWTH, from)
}

fn limit_beyond(free: u64, from: u64) -> u64 {
    from.saturating_mul(MAX_GROWTH).saturating_add(free)
}

/// A stream without its compression. Memory is bounded, and so is growth: [`Grown`] is the error beyond that.
///
/// # Errors
/// Those of the decoder.
pub(crate) fn decompressed<'a>(
    input: impl Read + 'a,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'a>> {
    bounded(input, compression, FREE_GROWTH)
}

fn bounded<'a>(
    input: impl Read + 'a,
    compression: Compression,
    free: u64,
) -> io::Result<Box<dyn Read + 'a>> {
    let from = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        inner: input,
        count: Arc::clone(&from),
    };
    let inner: Box<dyn Read + 'a> = match compression {
        Compression::None => return Ok(Box::new(counted.inner)),
        Compression::Gzip => {
            let input = BufReader::with_capacity(INPUT_BUFFER, counted);
            Box::new(MultiGzDecoder::new(input))
        }
        Compression::Zstd => Box::new(zstd_decoder(counted)?),
        Compression::Bzip2 => {
            let input = BufReader::with_capacity(INPUT_BUFFER, counted);
            Box::new(MultiBzDecoder::new(input))
        }
        Compression::Xz => {
            let input = BufReader::with_capacity(INPUT_BUFFER, counted);
            Box::new(XzReader::new_mem_limit(input, true, MAX_XZ_MEMORY))
        }
    };
    Ok(Box::new(Bounded {
        inner,
        from,
        free,
        count: 0,
    }))
}

/// A decoder that refuses streams which ask for more memory than zstd gives them by default.
fn zstd_decoder<R: Read>(input: R) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::new(input)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Counts what passes through it.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Ends with an error when too much comes of too little.
struct Bounded<R> {
    inner: R,
    from: Arc<AtomicU64>,
    free: u64,
    count: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        if self.count > self.free {
            let from = self.from.load(Ordering::Relaxed);
            if self.count > limit_beyond(self.free, from) {
                return Err(io::Error::other(Grown { from }));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const FREE: u64 = 1 << 20;

    fn grown(packed: &[u8], compression: Compression) -> io::Result<u64> {
        io::copy(&mut bounded(packed, compression, FREE)?, &mut io::sink())
    }

    #[test]
    fn what_grows_without_measure_is_refused_and_what_is_small_is_not() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&[b'a'; 1 << 18]).unwrap();
        let gzip = encoder.finish().unwrap();
        let zstd = zstd::encode_all(&[b'a'; 1 << 18][..], 3).unwrap();
        for (member, compression) in [(gzip, Compression::Gzip), (zstd, Compression::Zstd)] {
            // Members one after the other are one stream.
            assert_eq!(grown(&member.repeat(4), compression).unwrap(), FREE);
            let error = grown(&member.repeat(40), compression).unwrap_err();
            assert!(error.get_ref().unwrap().is::<Grown>(), "{error}");
        }
    }

    #[test]
    fn zeros_are_no_layer_and_logs_are() {
        assert!(limit(20 << 20) < 20 << 30);
        // 60 GiB that shrink to a fiftieth, as nothing does that people write.
        assert!(limit((60 << 30) / 50) > 60 << 30);
    }
}
