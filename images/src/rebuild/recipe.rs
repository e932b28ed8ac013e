//! A recipe, made from what a scanner has seen, and followed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::locate;
use super::scan::Scanner;
use super::steps::{COPY, Encoder, Step, next};

/// Writes the recipe of the archive that the scanner has seen, from the image that it became; false when the image does
/// not hold all of it, and what was written is none.
///
/// # Errors
/// Those of reading the image, and of writing.
pub(crate) fn write(scanner: Scanner, image: &File, output: File) -> io::Result<bool> {
    let Some(steps) = scanner.finish() else {
        return Ok(false);
    };
    let contents = locate::contents(image)?;
    let mut steps = zstd::Decoder::new(steps)?;
    let mut encoder = Encoder::new(output)?;
    let mut bytes = Vec::new();
    while let Some(step) = next(&mut steps)? {
        match step {
            Step::Bytes(length) => {
                bytes.clear();
                (&mut steps).take(length).read_to_end(&mut bytes)?;
                encoder.bytes(&bytes)?;
            }
            Step::Content(content) => {
                let Some(runs) = contents.get(&content) else {
                    return Ok(false);
                };
                for (offset, length) in locate::runs(image, *runs)? {
                    encoder.step(COPY, &[offset, length])?;
                }
            }
            Step::Copy { .. } => return Ok(false),
        }
    }
    encoder.finish()?.sync_all()?;
    Ok(true)
}

/// The archive as it is put together. What it gives is not verified.
pub(crate) struct Rebuilt<'a> {
    steps: zstd::Decoder<'static, io::BufReader<File>>,
    image: &'a File,
    current: Step,
}

impl<'a> Rebuilt<'a> {
    /// From a file with a recipe and an image.
    ///
    /// # Errors
    /// Those of zstd.
    pub(crate) fn new(recipe: File, image: &'a File) -> io::Result<Self> {
        Ok(Self {
            steps: zstd::Decoder::new(recipe)?,
            image,
            current: Step::Bytes(0),
        })
    }
}

impl Rebuilt<'_> {
    /// Bytes of the archive that a recipe makes.
    ///
    /// # Errors
    /// Those of reading the recipe.
    pub(crate) fn length(recipe: File) -> io::Result<u64> {
        let mut steps = zstd::Decoder::new(recipe)?;
        let mut length: u64 = 0;
        while let Some(step) = next(&mut steps)? {
            let more = match step {
                Step::Bytes(count) => {
                    io::copy(&mut (&mut steps).take(count), &mut io::sink())?;
                    count
                }
                Step::Copy { left, .. } => left,
                Step::Content(_) => return Err(io::ErrorKind::InvalidData.into()),
            };
            length = length.saturating_add(more);
        }
        Ok(length)
    }
}

impl Read for Rebuilt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while matches!(self.current, Step::Bytes(0) | Step::Copy { left: 0, .. }) {
            match next(&mut self.steps)? {
                Some(step) => self.current = step,
                None => return Ok(0),
            }
        }
        let count = match &mut self.current {
            Step::Bytes(left) => {
                let count = self.steps.read(room(buffer, *left))?;
                *left -= count as u64;
                count
            }
            Step::Copy { offset, left } => {
                let count = self.image.read_at(room(buffer, *left), *offset)?;
                *offset += count as u64;
                *left -= count as u64;
                count
            }
            Step::Content(_) => 0,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}

/// As much of a buffer as there is left to read.
fn room(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left)
        .unwrap_or(usize::MAX)
        .min(buffer.len());
    buffer.get_mut(..length).unwrap_or_default()
}
