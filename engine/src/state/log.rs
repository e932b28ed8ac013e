//! What a container wrote, on disk: records of any bytes, in two files of a limited size.
//!
//! A record is its length (u32, little endian), the stream (1 or 2), the time in nanoseconds since
//! 1970 (u64, little endian), and the bytes. When `log` is full it becomes `log.1`.

use std::{
    fs::{self, File},
    io::{self, BufReader, IoSlice, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::private;

/// Bytes of a record before its content.
const HEADER: usize = 13;

/// Longest content of a record: more than a keeper reads at a time. A file that says otherwise is
/// broken from there on.
const MAX_CONTENT: usize = 1 << 20;

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// 1 for standard output, 2 for standard error.
    pub stream: u8,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// The end at which a log grows.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    max: u64,
}

impl Writer {
    /// Opens a container's log, of at most twice `max` bytes. What a process that died has not
    /// written whole is cut off.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(directory: &Path, max: u64) -> io::Result<Self> {
        let path = directory.join("log");
        let mut file = private::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let length = file.metadata()?.len();
        let size = if length == 0 {
            0
        } else {
            whole(&mut file, length)?
        };
        if size < length {
            file.set_len(size)?;
        }
        file.seek(SeekFrom::Start(size))?;
        Ok(Self {
            path,
            file,
            size,
            max,
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// As `write(2)`; a record that was written in part is taken back.
    pub fn write(&mut self, stream: u8, time: u64, bytes: &[u8]) -> io::Result<()> {
        let mut header = [0; HEADER];
        let (length, rest) = header.split_at_mut(4);
        let count = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        length.copy_from_slice(&count.to_le_bytes());
        if let Some((kind, at)) = rest.split_first_mut() {
            *kind = stream;
            at.copy_from_slice(&time.to_le_bytes());
        }
        let whole = (HEADER + bytes.len()) as u64;
        if self.size > 0 && self.size + whole > self.max {
            self.rotate()?;
        }
        let written = write_both(&mut self.file, &header, bytes);
        if written.is_err() {
            // Such as when the disk is full.
            let _ = self.file.set_len(self.size);
            self.file.seek(SeekFrom::Start(self.size))?;
            return written;
        }
        self.size += whole;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("1"))?;
        self.file = private::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn write_both(file: &mut File, header: &[u8], bytes: &[u8]) -> io::Result<()> {
    let total = header.len() + bytes.len();
    let written = file.write_vectored(&[IoSlice::new(header), IoSlice::new(bytes)])?;
    match written {
        _ if written == total => Ok(()),
        _ if written < header.len() => {
            file.write_all(header.get(written..).unwrap_or_default())?;
            file.write_all(bytes)
        }
        _ => file.write_all(bytes.get(written - header.len()..).unwrap_or_default()),
    }
}

/// Bytes of the records that are whole.
fn whole(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = 0;
    let mut header = [0; HEADER];
    loop {
        if length - end < HEADER as u64 {
            return Ok(end);
        }
        file.seek(SeekFrom::Start(end))?;
        file.read_exact(&mut header)?;
        let next = end + (HEADER + content_length(&header)) as u64;
        if next > length || content_length(&header) > MAX_CONTENT {
            return Ok(end);
        }
        end = next;
    }
}

fn content_length(header: &[u8; HEADER]) -> usize {
    let [a, b, c, d, ..] = *header;
    usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX)
}

/// The end from which a log is read, record by record; it can go on as the log grows.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    file: Option<BufReader<File>>,
    /// Bytes read of a record that is not whole yet.
    partial: Vec<u8>,
    /// The file that is read has been followed by another one.
    old: bool,
}

impl Reader {
    /// Begins with the oldest record that there is.
    ///
    /// # Errors
    /// As `open(2)`; a log that does not exist is empty.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let (file, old) = match File::open(directory.join("log.1")) {
            Ok(file) => (Some(file), true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, false),
            Err(error) => return Err(error),
        };
        let mut reader = Self {
            directory: directory.to_owned(),
            file: file.map(BufReader::new),
            partial: Vec::new(),
            old,
        };
        if !reader.old {
            reader.open_current()?;
        }
        Ok(reader)
    }

    fn open_current(&mut self) -> io::Result<()> {
        self.partial.clear();
        self.old = false;
        self.file = match File::open(self.directory.join("log")) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// The next record; `None` at the end, which may move.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn read_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.file.is_none() {
                self.open_current()?;
            }
            let Some(file) = &mut self.file else {
                return Ok(None);
            };
            if let Some(record) = record(file, &mut self.partial)? {
                return Ok(Some(record));
            }
            if self.old {
                self.open_current()?;
                continue;
            }
            if self.replaced()? {
                // Once more: its last records may have come before it was replaced.
                self.old = true;
                continue;
            }
            return Ok(None);
        }
    }

    /// Whether the file that is read is not the current one any more.
    fn replaced(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let own = file.get_ref().metadata()?;
        Ok(match fs::metadata(self.directory.join("log")) {
            Ok(current) => current.ino() != own.ino(),
            // Removed, with its container.
            Err(_) => false,
        })
    }
}

/// Reads one record; what there is of it is kept when it is not whole.
fn record(file: &mut impl Read, partial: &mut Vec<u8>) -> io::Result<Option<Record>> {
    if !fill(file, partial, HEADER)? {
        return Ok(None);
    }
    let Some(header) = partial.first_chunk::<HEADER>().copied() else {
        return Ok(None);
    };
    let length = content_length(&header);
    if length > MAX_CONTENT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the log is broken here",
        ));
    }
    if !fill(file, partial, HEADER + length)? {
        return Ok(None);
    }
    let [_, _, _, _, stream, time @ ..] = header;
    let bytes = partial.split_off(HEADER);
    partial.clear();
    Ok(Some(Record {
        stream,
        time: u64::from_le_bytes(time),
        bytes,
    }))
}

fn fill(file: &mut impl Read, partial: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
    let missing = wanted.saturating_sub(partial.len());
    if missing > 0 {
        file.take(missing as u64).read_to_end(partial)?;
    }
    Ok(partial.len() >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut Reader) -> Vec<Record> {
        std::iter::from_fn(|| reader.read_record().unwrap()).collect()
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), 1000).unwrap();
        writer.write(1, 5, b"a\0\xff\n").unwrap();
        writer.write(2, 6, b"").unwrap();
        let records = all(&mut Reader::open(directory.path()).unwrap());
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].stream, records[0].time), (1, 5));
        assert_eq!(records[0].bytes, b"a\0\xff\n");
        assert_eq!(records[1].stream, 2);
    }

    #[test]
    fn log_never_grows_beyond_twice_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), 200).unwrap();
        for number in 0..100 {
            writer.write(1, number, &[b'x'; 30]).unwrap();
        }
        let size = |name: &str| fs::metadata(directory.path().join(name)).unwrap().len();
        assert!(size("log") <= 200 && size("log.1") <= 200);
        let records = all(&mut Reader::open(directory.path()).unwrap());
        assert_eq!(records.last().unwrap().time, 99);
        assert!(
            records
                .windows(2)
                .all(|pair| pair[0].time + 1 == pair[1].time)
        );
    }

    #[test]
    fn reader_that_follows_misses_nothing_when_the_file_changes() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), 200).unwrap();
        let mut reader = Reader::open(directory.path()).unwrap();
        let mut seen = Vec::new();
        for number in 0..30 {
            writer.write(1, number, &[b'x'; 60]).unwrap();
            seen.extend(all(&mut reader).iter().map(|record| record.time));
        }
        assert_eq!(seen, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn half_a_record_is_cut_off_and_the_next_one_is_readable() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), 1000).unwrap();
        writer.write(1, 1, b"whole").unwrap();
        writer.write(1, 2, b"torn").unwrap();
        let path = directory.path().join("log");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(fs::metadata(&path).unwrap().len() - 2)
            .unwrap();
        let mut writer = Writer::open(directory.path(), 1000).unwrap();
        writer.write(1, 3, b"after").unwrap();
        let times: Vec<u64> = all(&mut Reader::open(directory.path()).unwrap())
            .iter()
            .map(|record| record.time)
            .collect();
        assert_eq!(times, [1, 3]);
    }
}
