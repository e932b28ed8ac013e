//! A strict reader of tar archives, which knows every form that image builders write.

mod header;
mod pax;
mod sparse;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

pub(super) use self::header::BLOCK;
use self::header::{Block, Header};
use self::pax::{Extended, PaxSparse, decimal};
pub(crate) use self::sparse::Sparse;
use super::LayerError;
use super::error::printable;
use super::limits::{MAX_HEADER_BYTES, MAX_SPARSE_RUNS};

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry of an archive, as it says about itself.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions, set-user-ID, set-group-ID and sticky bit.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of data in the archive.
    pub(crate) size: u64,
    /// Where they belong, for a file with holes.
    pub(crate) sparse: Option<Sparse>,
}

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The input failed, as its other end knows.
    Input(io::Error),
    /// The archive is not acceptable.
    Layer(LayerError),
}

impl From<LayerError> for Stop {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// Where an archive comes from.
pub(crate) trait Input: BufRead {
    /// Goes over up to `count` bytes; the result is how many, 0 only at the end.
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let available = self.fill_buf()?.len();
        let length = available.min(usize::try_from(count).unwrap_or(usize::MAX));
        self.consume(length);
        Ok(length as u64)
    }
}

/// The entries of an archive, one after the other.
pub(crate) struct Archive<R> {
    input: R,
    /// Bytes taken from the input.
    offset: u64,
    /// Bytes of data of the current entry that were not read.
    data: u64,
    /// Bytes between these and the next header.
    padding: u64,
    /// What the current entry is called, for messages.
    what: String,
}

impl<R: Input> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            data: 0,
            padding: 0,
            what: "its first header".to_owned(),
        }
    }

    fn fill(&mut self) -> Result<&[u8], Stop> {
        self.input.fill_buf().map_err(Stop::Input)
    }

    fn truncated(&self) -> Stop {
        LayerError::Truncated {
            offset: self.offset,
            what: self.what.clone(),
        }
        .into()
    }

    fn invalid(&self, reason: impl Into<String>) -> Stop {
        // Said of the block that was just read.
        let offset = self.offset.saturating_sub(BLOCK as u64);
        LayerError::Header {
            offset,
            reason: reason.into(),
        }
        .into()
    }

    /// Fills `buffer`; the result is less than its length only at the end of the input.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        let mut count = 0;
        while count < buffer.len() {
            let available = self.fill()?;
            if available.is_empty() {
                break;
            }
            let length = available.len().min(buffer.len() - count);
            buffer[count..count + length].copy_from_slice(&available[..length]);
            self.input.consume(length);
            count += length;
            self.offset += length as u64;
        }
        Ok(count)
    }

    fn skip(&mut self, mut count: u64) -> Result<(), Stop> {
        while count > 0 {
            let skipped = self.input.skip(count).map_err(Stop::Input)?;
            if skipped == 0 {
                return Err(self.truncated());
            }
            self.offset += skipped;
            count -= skipped;
        }
        Ok(())
    }

    /// Offset in the archive of the next byte: at first that of an entry's data.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    fn start_data(&mut self, size: u64) {
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    /// The next bytes of the current entry's data, empty at its end. What is used of them is then
    /// said to [`Self::consume`].
    pub(crate) fn data(&mut self) -> Result<&[u8], Stop> {
        let left = usize::try_from(self.data).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(&[]);
        }
        if self.fill()?.is_empty() {
            return Err(self.truncated());
        }
        let available = self.fill()?;
        Ok(&available[..available.len().min(left)])
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.offset += count as u64;
        self.data -= count as u64;
    }

    /// The next block of the archive; `None` at its end without an end mark.
    fn block(&mut self) -> Result<Option<Block>, Stop> {
        let mut block = [0; BLOCK];
        match self.read(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(self.truncated()),
        }
    }

    /// The next entry; `None` at the end, when the input is read to its end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Stop> {
        self.skip(self.data)?;
        self.skip(self.padding)?;
        (self.data, self.padding) = (0, 0);
        let mut extended = Extended::default();
        let mut header_bytes = 0;
        loop {
            let expected = header_bytes > 0;
            let Some(block) = self.block()? else {
                if expected {
                    return Err(self.truncated());
                }
                return Ok(None);
            };
            if block.iter().all(|byte| *byte == 0) {
                if expected {
                    return Err(self.invalid("the entry that an extended header announces"));
                }
                self.end()?;
                return Ok(None);
            }
            let header =
                Header::parse(&block).ok_or_else(|| self.invalid("its checksum is wrong"))?;
            let size = header
                .size()
                .ok_or_else(|| self.invalid("its size is not a number"))?;
            let kind = header.kind();
            if !matches!(kind, b'x' | b'g' | b'L' | b'K') {
                return self.entry(&header, extended).map(Some);
            }
            header_bytes += size;
            if header_bytes > MAX_HEADER_BYTES {
                let what = format!("{header_bytes} bytes of extended headers for one entry");
                return Err(LayerError::Limit {
                    what,
                    limit: MAX_HEADER_BYTES,
                }
                .into());
            }
            "an extended header".clone_into(&mut self.what);
            let body = self.body(size)?;
            match kind {
                b'x' => extended.add(&body).map_err(|reason| self.invalid(reason))?,
                b'L' => extended.path = Some(until_zero(body)),
                b'K' => extended.link = Some(until_zero(body)),
                // Docker does not apply global headers, so no image may depend on them.
                _ => header_bytes -= size,
            }
        }
    }

    /// The whole data of a header of limited size.
    fn body(&mut self, size: u64) -> Result<Vec<u8>, Stop> {
        let padded = size.next_multiple_of(BLOCK as u64);
        let too_large = |_| self.invalid("its size is too large");
        let (length, padded) = (
            usize::try_from(size).map_err(too_large)?,
            usize::try_from(padded).map_err(too_large)?,
        );
        let mut body = vec![0; padded];
        if self.read(&mut body)? < padded {
            return Err(self.truncated());
        }
        body.truncate(length);
        Ok(body)
    }

    /// Two blocks of zeros end an archive, and what follows them is nobody's business, as docker, containerd and umoci
    /// have it. It is read all the same, for the digests cover it. After one block only zeros may follow, or
    /// nothing.
    fn end(&mut self) -> Result<(), Stop> {
        let end = self.offset;
        let mut second = [0; BLOCK];
        let length = self.read(&mut second)?;
        if second[..length].iter().any(|byte| *byte != 0) {
            return Err(LayerError::Trailing { offset: end }.into());
        }
        loop {
            let length = self.fill()?.len();
            if length == 0 {
                return Ok(());
            }
            self.input.consume(length);
            self.offset += length as u64;
        }
    }

    /// A number that fits in 32 bits.
    fn number(&self, value: Option<i64>, name: &str) -> Result<u32, Stop> {
        let value = value.ok_or_else(|| self.invalid(format!("it has no valid {name}")))?;
        u32::try_from(value)
            .map_err(|_| self.invalid(format!("its {name} {value} is out of range")))
    }

    fn entry(&mut self, header: &Header<'_>, mut extended: Extended) -> Result<Entry, Stop> {
        let uid = self.number(extended.uid.or(header.uid()), "user ID")?;
        let gid = self.number(extended.gid.or(header.gid()), "group ID")?;
        let mode = self.number(header.mode(), "mode")? & 0o7777;
        let mtime = extended
            .mtime
            .or(header.mtime().map(|seconds| (seconds, 0)))
            .ok_or_else(|| self.invalid("it has no valid time"))?;
        let pax_sparse = extended.sparse.take();
        let path = pax_sparse
            .as_ref()
            .and_then(|sparse| sparse.name.clone())
            .or(extended.path)
            .unwrap_or_else(|| header.path());
        self.what = format!("{:?}", printable(&path));
        let kind = self.kind(header.kind(), &path)?;
        let mut device = (0, 0);
        if matches!(kind, Kind::CharacterDevice | Kind::BlockDevice) {
            let (major, minor) = header
                .device()
                .ok_or_else(|| self.invalid("it has no valid device number"))?;
            device = (
                self.number(Some(major), "major device number")?,
                self.number(Some(minor), "minor device number")?,
            );
        }
        // Only files have data, whatever the others say (as Go, so docker, reads them).
        let said = extended.size.or(header.size()).unwrap_or(0);
        let mut size = if kind == Kind::File { said } else { 0 };
        self.start_data(size);
        let mut sparse = None;
        if kind == Kind::File {
            sparse = match pax_sparse {
                Some(map) => Some(self.pax_sparse(map)?),
                None if header.kind() == b'S' => Some(self.gnu_sparse(header.0)?),
                None => None,
            };
            size = self.data;
        }
        Ok(Entry {
            path,
            link: extended.link.unwrap_or_else(|| header.link().to_vec()),
            kind,
            mode: u16::try_from(mode).expect("12 bits"),
            uid,
            gid,
            mtime,
            device,
            xattrs: extended.xattrs,
            size,
            sparse,
        })
    }

    fn kind(&self, kind: u8, path: &[u8]) -> Result<Kind, Stop> {
        Ok(match kind {
            // Before POSIX a directory was a file whose name ends in a slash.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => {
                let kind = kind.escape_ascii();
                return Err(self.invalid(format!("entry {} has unknown type '{kind}'", self.what)));
            }
        })
    }

    fn bad_map(&self) -> Stop {
        self.invalid(format!(
            "the map of holes of {} is not valid, or has more than {MAX_SPARSE_RUNS} runs",
            self.what
        ))
    }

    fn gnu_sparse(&mut self, header: &Block) -> Result<Sparse, Stop> {
        let mut runs = Vec::new();
        let (size, mut more) =
            sparse::header_map(header, &mut runs).ok_or_else(|| self.bad_map())?;
        while more {
            // These blocks do not count as data.
            let block = self.block()?.ok_or_else(|| self.truncated())?;
            more = sparse::block_map(&block, &mut runs).ok_or_else(|| self.bad_map())?;
        }
        Sparse::new(size, runs, self.data).ok_or_else(|| self.bad_map())
    }

    fn pax_sparse(&mut self, map: PaxSparse) -> Result<Sparse, Stop> {
        let mut runs = map.runs;
        if map.map_in_data {
            runs.clear();
            let mut line = MapLine {
                block: [0; BLOCK],
                used: BLOCK,
            };
            let count = line.number(self)?;
            for _ in 0..count {
                let (offset, length) = (line.number(self)?, line.number(self)?);
                sparse::push(&mut runs, offset, length).ok_or_else(|| self.bad_map())?;
            }
        }
        let size = map.real_size.ok_or_else(|| self.bad_map())?;
        Sparse::new(size, runs, self.data).ok_or_else(|| self.bad_map())
    }
}

/// The decimal lines before the data of format 1.0, in whole blocks.
struct MapLine {
    block: Block,
    used: usize,
}

impl MapLine {
    fn number<R: Input>(&mut self, archive: &mut Archive<R>) -> Result<u64, Stop> {
        /// Digits of the largest number of 63 bits.
        const MAX_DIGITS: usize = 19;
        let mut digits = Vec::with_capacity(MAX_DIGITS);
        loop {
            if self.used == BLOCK {
                if archive.data < BLOCK as u64 {
                    return Err(archive.bad_map());
                }
                self.block = archive.block()?.ok_or_else(|| archive.truncated())?;
                archive.data -= BLOCK as u64;
                self.used = 0;
            }
            let byte = self.block[self.used];
            self.used += 1;
            if byte == b'\n' {
                return decimal(&digits).ok_or_else(|| archive.bad_map());
            }
            if digits.len() == MAX_DIGITS {
                return Err(archive.bad_map());
            }
            digits.push(byte);
        }
    }
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
