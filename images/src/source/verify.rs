//! A reader that counts and hashes what passes through it.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::SourceError;
use crate::digest::Digest;

/// Bytes read at once when what a converter left over is read for its digest.
const DRAIN_CHUNK: usize = 64 << 10;

/// Passes bytes on, counting and hashing them. Never passes on more than announced.
pub(crate) struct Verifying<R, F> {
    inner: R,
    hasher: Option<Sha256>,
    announced: Option<u64>,
    read: u64,
    progress: F,
}

impl<R: Read, F: FnMut(u64)> Verifying<R, F> {
    /// Hashes only where `hash` asks for it. `announced` is the number of bytes to expect, and
    /// `progress` is told the number of bytes so far.
    pub(crate) fn new(inner: R, hash: bool, announced: Option<u64>, progress: F) -> Self {
        Self {
            inner,
            hasher: hash.then(Sha256::new),
            announced,
            read: 0,
            progress,
        }
    }

    /// Reads what is left and compares size and digest with what was announced.
    ///
    /// # Errors
    /// [`SourceError::Read`], [`SourceError::Size`], [`SourceError::Digest`].
    pub(crate) fn finish(
        mut self,
        origin: &str,
        name: &str,
        digest: Option<&Digest>,
    ) -> Result<u64, SourceError> {
        let read_error = |source| SourceError::Read {
            origin: origin.to_owned(),
            name: name.to_owned(),
            source,
        };
        let mut chunk = vec![0; DRAIN_CHUNK];
        while self.read(&mut chunk).map_err(read_error)? > 0 {}
        // One byte more than announced shows that there are too many.
        let extra = self.inner.read(&mut chunk[..1]).map_err(read_error)? as u64;
        if let Some(announced) = self.announced
            && announced != self.read + extra
        {
            return Err(SourceError::Size {
                origin: origin.to_owned(),
                name: name.to_owned(),
                announced,
                actual: self.read + extra,
            });
        }
        if let (Some(announced), Some(hasher)) = (digest, self.hasher) {
            let actual = Digest::from_sha256(hasher.finalize().into());
            if actual != *announced {
                return Err(SourceError::Digest {
                    origin: origin.to_owned(),
                    name: name.to_owned(),
                    announced: announced.to_string(),
                    actual: actual.to_string(),
                });
            }
        }
        Ok(self.read)
    }
}

impl<R: Read, F: FnMut(u64)> Read for Verifying<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self
            .announced
            .map_or(u64::MAX, |announced| announced - self.read);
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.inner.read(&mut buffer[..room])?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.read += count as u64;
        (self.progress)(self.read);
        Ok(count)
    }
}
