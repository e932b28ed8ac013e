//! Conversion of the layers of one load, several at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::progress::{Event, Progress};
use super::record::Noted;
use super::write_back::WriteBack;
use super::{StoreError, beside, io_error};
use crate::digest::Digest;
use crate::image::LayerKind;
use crate::layer::{self, Compression, LayerError, Limits, Onto};
use crate::rebuild::{self, Scanner};
use crate::source::spool::{decompressed, peek};
use crate::source::{Source, SourceLayer, Verifying};
use crate::verity;

/// Most layers converted at once: each holds its list of files in memory, and a disk gains nothing
/// from more.
const MAX_WORKERS: usize = 4;
/// Fewest, where there are so many layers.
const MIN_WORKERS: usize = 3;

/// Bytes between two reports of progress.
const REPORT_STEP: u64 = 256 << 10;

/// A layer to convert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) layer: &'a SourceLayer,
}

/// A converted layer in the scratch directory.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) diff_id: Digest,
    /// Its file system. The files that lie beside it have other extensions.
    pub(super) path: PathBuf,
}

/// Converts all layers into `scratch`, in files numbered from `first`. The first error stops all.
pub(super) fn convert_all(
    source: &dyn Source,
    jobs: &[Job<'_>],
    scratch: &Path,
    first: usize,
    progress: &dyn Progress,
) -> Result<Vec<Made>, StoreError> {
    in_parallel(jobs.len(), &|number, stop| {
        let Some(job) = jobs.get(number) else {
            return Err(StoreError::GivenUp);
        };
        let conversion = Conversion {
            source,
            layer: job.layer,
            number,
            progress,
            stop,
            again: &|| Ok(source.open_layer(job.layer)?),
        };
        let opened = source.open_layer(job.layer)?;
        conversion.run(opened, scratch.join(format!("{}.erofs", first + number)))
    })
}

/// Does `work` with each number below `count`, several at once. The first error is given to all
/// by a flag, and is the result.
pub(super) fn in_parallel<T: Send>(
    count: usize,
    work: &(dyn Fn(usize, &AtomicBool) -> Result<T, StoreError> + Sync),
) -> Result<Vec<T>, StoreError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // Layers from afar wait for the network most of the time.
    let workers = workers.clamp(MIN_WORKERS, MAX_WORKERS).min(count);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let results: Mutex<Vec<(usize, Result<T, StoreError>)>> = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || stop.load(Ordering::Relaxed) {
                return;
            }
            let result = work(number, &stop);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            results
                .lock()
                .expect("no thread panics while it holds this")
                .push((number, result));
        }
    };
    std::thread::scope(|scope| {
        // This thread is the last worker, so that a machine that gives no threads still works.
        for _ in 1..workers {
            drop(
                std::thread::Builder::new()
                    .name("layer".to_owned())
                    .spawn_scoped(scope, worker),
            );
        }
        worker();
    });
    let mut results = results
        .into_inner()
        .expect("no thread panics while it holds this");
    results.sort_by_key(|(number, _)| *number);
    // What was given up was given up because of another error, which is the one to report.
    let (given_up, results): (Vec<_>, Vec<_>) = results
        .into_iter()
        .map(|(_, result)| result)
        .partition(|result| matches!(result, Err(StoreError::GivenUp)));
    let done = results
        .into_iter()
        .collect::<Result<Vec<T>, StoreError>>()?;
    given_up
        .into_iter()
        .collect::<Result<Vec<T>, StoreError>>()?;
    Ok(done)
}

/// The conversion of one layer.
pub(super) struct Conversion<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) layer: &'a SourceLayer,
    pub(super) number: usize,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a AtomicBool,
    /// Reads the same bytes once more.
    pub(super) again: Again<'a>,
}

/// Opens a layer that has been read.
pub(super) type Again<'a> = &'a (dyn Fn() -> Result<Box<dyn Read + 'a>, StoreError> + Sync);

impl Conversion<'_> {
    /// Reads the layer to its end, verifies it, and writes it to a new file.
    pub(super) fn run(&self, opened: impl Read + Send, path: PathBuf) -> Result<Made, StoreError> {
        let (layer, number) = (self.layer, self.number);
        let diff_id = layer.diff_id.as_ref();
        self.progress.event(Event::LayerStart {
            layer: number,
            diff_id,
            bytes: layer.size.unwrap_or(0),
        });
        let output = create_new(&path)?;

        let stopping = Stopping {
            inner: opened,
            stop: self.stop,
            progress: self.progress,
        };
        let mut told = 0;
        let report = |bytes| {
            if bytes - told >= REPORT_STEP || Some(bytes) == layer.size {
                told = bytes;
                self.progress.event(Event::LayerRead {
                    layer: number,
                    bytes,
                });
            }
        };
        // One that is not compressed has one digest, which the conversion finds.
        let digest = layer.digest.as_ref().filter(|_| !self.is_plain());
        let mut input = Verifying::new(stopping, digest.is_some(), layer.size, report);
        let beside = path.parent().unwrap_or(&path);
        let mut scanner = tempfile::tempfile_in(beside)
            .and_then(Scanner::new)
            .map_err(io_error("create", beside))?;
        let diff_id = std::thread::scope(|scope| {
            let mut disk = WriteBack::new(scope, &output);
            let mut made = |bytes| disk.advance(bytes);
            let converted = self.convert(&mut input, &output, &mut scanner, &mut made);
            if converted.is_err() {
                go_on(self.stop, self.progress)?;
            }
            // A damaged blob mostly fails in its decompression. That it is damaged is the better
            // message, so the rest is read and the digest compared where there is one.
            let out_of_space = converted.as_ref().is_err_and(StoreError::is_out_of_space);
            if converted.is_ok() || layer.digest.is_some() && !out_of_space {
                let finished = self.finish(input, digest, converted.as_ref().ok());
                // Another layer's failure ends this reading too, and is the one to report.
                if finished.is_err() {
                    go_on(self.stop, self.progress)?;
                }
                finished?;
            }
            let diff_id = converted?;
            self.complete(&output, &path, scanner, disk)?;
            Ok::<_, StoreError>(diff_id)
        })?;
        let size = output.metadata().map_err(io_error("read", &path))?.len();
        self.progress.event(Event::LayerDone {
            layer: number,
            diff_id: &diff_id,
            size,
        });
        Ok(Made { diff_id, path })
    }

    /// Whether the manifest says that the layer is not compressed.
    fn is_plain(&self) -> bool {
        self.layer.kind == Some(LayerKind::Tar) && self.layer.diff_id.is_some()
    }

    /// Compares size and digest of what was read, to its end, with what was announced: `digest`, or
    /// where that is not looked at while reading, the diff ID.
    fn finish<R: Read, F: FnMut(u64)>(
        &self,
        input: Verifying<R, F>,
        digest: Option<&Digest>,
        diff_id: Option<&Digest>,
    ) -> Result<(), StoreError> {
        let layer = self.layer;
        let origin = self.source.origin();
        input.finish(origin, &layer.name, digest)?;
        if digest.is_some() || layer.digest.is_none() || layer.digest.as_ref() == diff_id {
            return Ok(());
        }
        let again = Verifying::new((self.again)()?, true, layer.size, |_| {});
        again.finish(origin, &layer.name, layer.digest.as_ref())?;
        Ok(())
    }

    fn convert(
        &self,
        input: impl Read + Send,
        output: &File,
        scanner: &mut Scanner,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Digest, StoreError> {
        let layer = self.layer;
        let read = |source| {
            StoreError::Source(crate::source::SourceError::Read {
                origin: self.source.origin().to_owned(),
                name: layer.name.clone(),
                source,
            })
        };
        let (found, input) = peek(input).map_err(read)?;
        let compression = match (layer.kind, found) {
            (Some(LayerKind::Tar), _) => Compression::None,
            (Some(LayerKind::Gzip), _) => Compression::Gzip,
            (Some(LayerKind::Zstd), _) => Compression::Zstd,
            (None, found) => found,
        };
        let limits = Limits::default();
        let expected = layer.diff_id.as_ref();
        let input = Scanned {
            inner: decompressed(input, compression).map_err(read)?,
            scanner,
        };
        layer::convert_onto(
            input,
            Compression::None,
            expected,
            Onto::Unknown,
            output,
            &limits,
            progress,
        )
        .map(|converted| converted.diff_id)
        .map_err(|mut source| {
            // The archive is decompressed here, which the conversion does not know.
            if let LayerError::Read {
                compression: told, ..
            } = &mut source
            {
                *told = compression;
            }
            StoreError::Layer {
                origin: self.source.origin().to_owned(),
                name: layer.name.clone(),
                source: Box::new(source),
            }
        })
    }

    /// Writes what lies beside a layer, and makes all of it last.
    fn complete(
        &self,
        output: &File,
        path: &Path,
        scanner: Scanner,
        disk: WriteBack<'_>,
    ) -> Result<(), StoreError> {
        let data = output.metadata().map_err(io_error("read", path))?.len();
        let recipe_path = path.with_extension(beside::RECIPE);
        let recipe = create_new(&recipe_path)?;
        let (synced, (tree, recipe)) = disk.finish(|| {
            std::thread::scope(|scope| {
                let recipe = scope.spawn(|| rebuild::write(scanner, output, recipe));
                let tree = verity::tree(output, data);
                (tree, recipe.join().expect("the thread does not panic"))
            })
        });
        synced.map_err(io_error("write", path))?;
        note(output, path, &tree.map_err(io_error("read", path))?, data)?;
        if recipe.map_err(io_error("write", &recipe_path))? {
            return Ok(());
        }
        fs::remove_file(&recipe_path).map_err(io_error("remove", &recipe_path))?;
        // Then the blob itself is kept. A layer that cannot be read twice is one that cannot
        // be saved later, which is no reason to refuse it now.
        if let Ok(again) = (self.again)() {
            let failed = || io_error("read", path);
            let (compression, mut again) = peek(again).map_err(failed())?;
            let path = path.with_extension(beside::BLOB);
            if matches!(compression, Compression::Bzip2 | Compression::Xz) {
                // No media type of a layer says so.
                let mut again = decompressed(again, compression).map_err(failed())?;
                write_new(&path, &mut again)?;
            } else {
                write_new(&path, &mut again)?;
            }
        }
        Ok(())
    }
}

/// Adds the tree of hashes to a layer's file, and notes its root beside it; both last then.
pub(super) fn seal(output: &File, path: &Path) -> Result<Noted, StoreError> {
    let data = output.metadata().map_err(io_error("read", path))?.len();
    let tree = verity::tree(output, data).map_err(io_error("read", path))?;
    note(output, path, &tree, data)
}

fn note(output: &File, path: &Path, tree: &verity::Tree, data: u64) -> Result<Noted, StoreError> {
    verity::append(output, tree, data)
        .and_then(|()| output.sync_all())
        .map_err(io_error("write", path))?;
    let noted = Noted {
        root: tree.root.clone(),
        data: Some(data),
    };
    let text = noted.to_string();
    write_new(&path.with_extension(beside::ROOT), &mut text.as_bytes())?;
    Ok(noted)
}

/// Writes a file that lasts.
fn write_new(path: &Path, bytes: &mut dyn Read) -> Result<(), StoreError> {
    let mut file = create_new(path)?;
    io::copy(bytes, &mut file)
        .and_then(|_| file.sync_all())
        .map_err(io_error("write", path))
}

/// A new file that its maker may write to and read.
pub(super) fn create_new(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path)
        .map_err(io_error("create", path))
}

/// Gives what passes through it to a scanner.
struct Scanned<'a, R> {
    inner: R,
    scanner: &'a mut Scanner,
}

impl<R: Read> Read for Scanned<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.scanner.add(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Refuses to go on with a load of which another layer failed, or that nobody wants any more.
pub(super) fn go_on(stop: &AtomicBool, progress: &dyn Progress) -> Result<(), StoreError> {
    if stop.load(Ordering::Relaxed) {
        return Err(StoreError::GivenUp);
    }
    match progress.is_wanted() {
        true => Ok(()),
        false => Err(StoreError::Canceled),
    }
}

/// Ends with an error as soon as the load does not go on.
struct Stopping<'a, R> {
    inner: R,
    stop: &'a AtomicBool,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Stopping<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        go_on(self.stop, self.progress).map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}
