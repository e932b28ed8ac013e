//! A layer of an image, from its (compressed) tar archive to an EROFS file system in one pass.
//!
//! No path of this machine is ever made from a name in the archive: entries only become nodes of
//! a tree in memory and bytes of one output file.

mod below;
mod build;
mod decompress;
mod error;
mod feed;
mod finish;
mod limits;
mod path;
mod resolve;
pub(crate) mod tar;
mod tree;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use sha2::{Digest as _, Sha256};

pub use below::Below;
pub use build::Onto;
pub(crate) use decompress::decompressed;
pub use error::LayerError;
pub use limits::*;

use self::build::Builder;
use self::feed::{Feeder, Gone, Message, PIECE, Pieces, WAITING};
use self::tar::Stop;
use crate::digest::Digest;
use crate::erofs::Writer;

/// How a layer's tar archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, of any number of members.
    Gzip,
    /// Zstandard, of any number of frames.
    Zstd,
    /// Bzip2, of any number of streams. No media type of a layer has it, but docker's archives may.
    Bzip2,
    /// The same for xz.
    Xz,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "plain tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

/// What a layer has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Digest of the uncompressed tar archive.
    pub diff_id: Digest,
    /// Bytes of the uncompressed tar archive.
    pub tar_bytes: u64,
    /// Bytes of the EROFS image, a multiple of 4096.
    pub image_bytes: u64,
    /// Files, directories and whiteouts in it.
    pub inodes: u64,
}

/// Reads a layer to its end and writes it as an EROFS image into `output`, an empty file that is
/// open for reading and writing. `progress` is told the number of uncompressed bytes so far. The
/// superblock is written last and only when the digest is as expected: what an error leaves in
/// `output` cannot be mounted. The caller keeps a half-written file out of sight and makes a whole
/// one durable.
///
/// Global extended headers are not applied, as docker does not apply them either. Extended
/// attributes that Linux or EROFS has no name for are left out; those of overlayfs are escaped.
///
/// # Errors
/// [`LayerError`].
pub fn convert(
    input: impl Read,
    compression: Compression,
    expected_diff_id: Option<&Digest>,
    output: &File,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<Converted, LayerError> {
    let onto = Onto::Nothing;
    convert_onto(
        input,
        compression,
        expected_diff_id,
        onto,
        output,
        limits,
        progress,
    )
}

/// The same for a layer that is not the only one of its image.
///
/// # Errors
/// [`LayerError`].
pub fn convert_onto(
    input: impl Read,
    compression: Compression,
    expected_diff_id: Option<&Digest>,
    onto: Onto<'_>,
    output: &File,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<Converted, LayerError> {
    let (fed, diff_id, built) = run_threads(input, compression, onto, output, limits, progress)?;
    // What the archive is refused for comes first: it is why nothing more was read. A failure of
    // the input is known here only.
    let (writer, tar_bytes) = match built {
        Ok(writer) => (writer, fed?),
        Err(Stop::Layer(error)) => return Err(error),
        Err(Stop::Input(source)) => {
            let offset = fed?;
            return Err(LayerError::Read {
                compression,
                offset,
                source,
            });
        }
    };
    if let Some(expected) = expected_diff_id
        && *expected != diff_id
    {
        return Err(LayerError::DiffId {
            expected: expected.clone(),
            actual: diff_id,
        });
    }
    let (image_bytes, inodes) = complete(writer, &diff_id).map_err(LayerError::Write)?;
    Ok(Converted {
        diff_id,
        tar_bytes,
        image_bytes,
        inodes,
    })
}

/// What the three threads of a conversion say at their ends: bytes of the archive, its digest, and
/// the image but for its first block.
type Ends<'a> = (Result<u64, LayerError>, Digest, Result<Writer<'a>, Stop>);

/// Decompresses here, and hashes and writes in a thread each.
fn run_threads<'a>(
    input: impl Read,
    compression: Compression,
    onto: Onto<'_>,
    output: &'a File,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<Ends<'a>, LayerError> {
    let (to_hash, hash_pieces) = sync_channel(WAITING);
    let (to_build, build_pieces) = sync_channel(WAITING);
    let feeder = Feeder::new(vec![to_build, to_hash]);
    thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let hasher = spawn("layer-hash").spawn_scoped(scope, move || hash(&hash_pieces));
        let builder = spawn("layer-write").spawn_scoped(scope, move || {
            build(Pieces::new(build_pieces), onto, output, limits)
        });
        let (hasher, builder) = match (hasher, builder) {
            (Ok(hasher), Ok(builder)) => (hasher, builder),
            // The feeder's end ends the one that runs.
            (Err(error), _) | (_, Err(error)) => {
                drop(feeder);
                return Err(LayerError::Thread(error));
            }
        };
        let fed = decompressed(input, compression)
            .map_err(|source| LayerError::Read {
                compression,
                offset: 0,
                source,
            })
            .and_then(|input| feed(input, compression, feeder, limits, progress));
        // A panic of one of them goes on here.
        let join = "the thread does not panic";
        let (hashed, built) = (hasher.join().expect(join), builder.join().expect(join));
        Ok((fed, hashed, built))
    })
}

/// Writes the first block; the result is the image's length in bytes and its number of inodes.
fn complete(mut writer: Writer<'_>, diff_id: &Digest) -> io::Result<(u64, u64)> {
    let image_bytes = writer.end_blocks()?;
    let inodes = writer.inodes();
    writer.finish(uuid(diff_id))?;
    Ok((image_bytes, inodes))
}

/// Gives the uncompressed archive to the threads; the result is its length.
fn feed(
    mut input: impl Read,
    compression: Compression,
    mut feeder: Feeder,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, LayerError> {
    let mut total = 0;
    loop {
        let mut piece = feeder.piece();
        let read = (&mut input).take(PIECE as u64).read_to_end(&mut piece);
        let offset = total + piece.len() as u64;
        let length = read.map_err(|source| LayerError::reading(compression, offset, source))?;
        total += length as u64;
        if total > limits.tar_bytes {
            let what = "more uncompressed bytes".to_owned();
            return Err(LayerError::Limit {
                what,
                limit: limits.tar_bytes,
            });
        }
        progress(total);
        if length == 0 {
            feeder.end();
            return Ok(total);
        }
        if let Err(Gone) = feeder.send(piece) {
            // It says itself why.
            return Ok(total);
        }
    }
}

fn hash(pieces: &Receiver<Message>) -> Digest {
    let mut hasher = Sha256::new();
    while let Ok(Message::Piece(piece)) = pieces.recv() {
        hasher.update(piece.as_slice());
    }
    Digest::from_sha256(hasher.finalize().into())
}

fn build<'a>(
    pieces: Pieces,
    onto: Onto<'_>,
    output: &'a File,
    limits: &Limits,
) -> Result<Writer<'a>, Stop> {
    let mut writer = Writer::new(output).map_err(build::write_error)?;
    let tree = Builder::new(pieces, &mut writer, limits, onto).run()?;
    finish::write_directories(tree, &mut writer).map_err(build::write_error)?;
    Ok(writer)
}

/// The same for each conversion of a layer.
fn uuid(diff_id: &Digest) -> [u8; 16] {
    let mut uuid = [0; 16];
    let digest = Digest::of(diff_id.to_string().as_bytes()).hex();
    for (byte, pair) in uuid.iter_mut().zip(digest.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(pair).expect("hexadecimal digits");
        *byte = u8::from_str_radix(digits, 16).expect("hexadecimal digits");
    }
    // Version 8, RFC 9562: made in a way of its own.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Whether a layer that was made without knowing what is below says that it may depend on that.
///
/// # Errors
/// Those of reading.
pub(crate) fn may_depend(layer: File) -> io::Result<bool> {
    let layer = crate::erofs::Reader::new(layer)?;
    let marks = layer.xattrs(&layer.root()?)?;
    let names = [tree::UNSETTLED.0, tree::OPAQUE.0, tree::IMPLIED.0];
    Ok(names.iter().any(|name| marks.has(name)))
}

/// Whether it may have to be made again on these: a hint, which may be wrong in one direction only.
///
/// # Errors
/// Those of reading.
pub(crate) fn may_depend_on(layer: File, below: &Below) -> io::Result<bool> {
    let layer = crate::erofs::Reader::new(layer)?;
    let marks = layer.xattrs(&layer.root()?)?;
    if marks.has(tree::UNSETTLED.0) || marks.has(tree::OPAQUE.0) {
        return Ok(true);
    }
    Ok(marks.has(tree::IMPLIED.0) && below.contradicts(&layer)?)
}
