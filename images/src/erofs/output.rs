//! The image file: written in order, in large pieces, with some places filled in later.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{BLOCK, BLOCK_LEN};

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;
/// From this size on, bytes are written from where they are, and not at all when all are zero.
const LARGE: usize = 64 << 10;

/// An image that is being written.
#[derive(Debug)]
pub(super) struct Output<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Offset of the buffer in the file.
    start: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self {
            file,
            buffer: Vec::with_capacity(BUFFER),
            start: 0,
        }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < LARGE {
            if self.buffer.len() + bytes.len() > BUFFER {
                self.flush()?;
            }
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        if bytes.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(bytes, self.start)?;
        }
        self.start += bytes.len() as u64;
        Ok(())
    }

    /// Zeros, which take no space on the disk from a block on: else a few bytes in each chunk of a
    /// file with holes would fill it.
    pub(super) fn zeros(&mut self, count: u64) -> io::Result<()> {
        match usize::try_from(count) {
            Ok(count) if count < BLOCK_LEN => {
                if self.buffer.len() + count > BUFFER {
                    self.flush()?;
                }
                self.buffer.resize(self.buffer.len() + count, 0);
            }
            _ => {
                self.flush()?;
                self.start = self
                    .start
                    .checked_add(count)
                    .ok_or(io::ErrorKind::FileTooLarge)?;
            }
        }
        Ok(())
    }

    /// Fills up the last block.
    pub(super) fn align(&mut self) -> io::Result<()> {
        self.zeros(self.position().next_multiple_of(BLOCK) - self.position())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.start)?;
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes at an offset before the position.
    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(index) = offset.checked_sub(self.start) {
            let index = usize::try_from(index).expect("within the buffer");
            self.buffer[index..index + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        // What crosses the start of the buffer would need both.
        if offset + bytes.len() as u64 > self.start {
            self.flush()?;
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Reads what was written before the position.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        let start = offset
            .checked_sub(self.start)
            .and_then(|start| usize::try_from(start).ok());
        if let Some(bytes) = start.and_then(|start| self.buffer.get(start..start + buffer.len())) {
            buffer.copy_from_slice(bytes);
            return Ok(());
        }
        if end > self.start {
            self.flush()?;
        }
        self.file.read_exact_at(buffer, offset)
    }

    /// Ends the image at the position.
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        self.flush()?;
        self.file.set_len(self.start)?;
        Ok(self.start)
    }
}
