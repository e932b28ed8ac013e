//! A bare root file system, in a tar archive or in a directory: an image of one layer.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use coracle_platform::date;

use super::files::Slice;
use super::{Source, SourceError, SourceImage, SourceLayer};
use crate::image::Platform;

mod walk;

/// Name of the only layer, in messages.
const LAYER: &str = "content";

/// A tar archive that is a root file system.
#[derive(Debug)]
pub(super) struct RootfsTar {
    origin: String,
    file: Arc<File>,
    made: SystemTime,
}

impl RootfsTar {
    pub(super) fn new(origin: String, file: Arc<File>, made: SystemTime) -> Self {
        Self {
            origin: format!("root file system {origin}"),
            file,
            made,
        }
    }

    fn slice(&self) -> Result<Slice, SourceError> {
        self.file
            .try_clone()
            .and_then(Slice::whole)
            .map_err(|source| SourceError::Read {
                origin: self.origin.clone(),
                name: LAYER.to_owned(),
                source,
            })
    }
}

impl Source for RootfsTar {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn images(&self, _platform: &Platform) -> Result<Vec<SourceImage>, SourceError> {
        Ok(vec![image(Some(self.slice()?.len()), self.made)])
    }

    fn open_layer(&self, _layer: &SourceLayer) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        Ok(Box::new(self.slice()?))
    }
}

/// A directory that is a root file system. Files of other file systems mounted in it stay out.
#[derive(Debug)]
pub(super) struct RootfsDirectory {
    origin: String,
    directory: OwnedFd,
    made: SystemTime,
}

impl RootfsDirectory {
    pub(super) fn new(origin: String, directory: OwnedFd) -> Result<Self, SourceError> {
        let open = |source| SourceError::Open {
            origin: origin.clone(),
            source,
        };
        let file = File::from(directory.try_clone().map_err(open)?);
        let made = file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map_err(open)?;
        let empty = rustix::fs::Dir::read_from(&directory)
            .map_err(|error| open(error.into()))?
            .all(|entry| {
                entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."))
            });
        if empty {
            let found = "an empty directory".to_owned();
            return Err(SourceError::Unrecognised { origin, found });
        }
        Ok(Self {
            origin: format!("root file system {origin}"),
            directory,
            made,
        })
    }
}

impl Source for RootfsDirectory {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn images(&self, _platform: &Platform) -> Result<Vec<SourceImage>, SourceError> {
        Ok(vec![image(None, self.made)])
    }

    fn open_layer(&self, layer: &SourceLayer) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        let failed = |source| SourceError::Read {
            origin: self.origin.clone(),
            name: layer.name.clone(),
            source,
        };
        let (reader, writer) = io::pipe().map_err(failed)?;
        let directory = self.directory.try_clone().map_err(failed)?;
        let walker = std::thread::Builder::new()
            .name("rootfs".to_owned())
            .spawn(move || walk::write_tar(&directory, io::BufWriter::with_capacity(CHUNK, writer)))
            .map_err(failed)?;
        Ok(Box::new(Walked {
            reader,
            walker: Some(walker),
        }))
    }
}

/// Bytes written to the pipe at once: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// The tar archive that a thread makes of a directory. Its end is only reported as such when the
/// thread succeeded.
struct Walked {
    reader: PipeReader,
    walker: Option<JoinHandle<io::Result<()>>>,
}

impl Read for Walked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(walker) = self.walker.take()
        {
            walker
                .join()
                .map_err(|_| io::Error::other("the directory's reader failed"))??;
        }
        Ok(count)
    }
}

/// To the second, as builders write it; times before 1970 count as its beginning.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}Z", date::second(since.as_secs()))
}

fn image(size: Option<u64>, made: SystemTime) -> SourceImage {
    let layer = SourceLayer {
        name: LAYER.to_owned(),
        digest: None,
        size,
        kind: None,
        diff_id: None,
    };
    SourceImage {
        names: Vec::new(),
        repository_digest: None,
        manifest: None,
        config: None,
        layers: vec![layer],
        created: Some(rfc3339(made)),
    }
}
