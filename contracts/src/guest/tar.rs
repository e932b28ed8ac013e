//! Archives that host and guest send each other: POSIX.1-2017 pax interchange format.
//!
//! Headers only; contents pass by. Both sides take the other one's archives for hostile: what is
//! decoded is bounded, and a path is just bytes that the caller has to look at.

use alloc::{format, string::String, vec, vec::Vec};

extern crate alloc;

/// Bytes of a block; contents are padded to whole ones.
pub const BLOCK: usize = 512;

/// Longest extended header: some paths of the longest kind that Linux has.
pub const MAX_EXTENSION: u64 = 256 << 10;

/// Seven octal digits end where the classic fields do, eleven those of sizes and times.
const MAX_SEVEN: u64 = 0o7_777_777;
const MAX_ELEVEN: u64 = 0o77_777_777_777;

/// Bytes of a path and of a link's target that fit into a classic header.
const NAME: usize = 100;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an entry before, which `link` names.
    HardLink,
    /// A symbolic link to `link`.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, relative unless the other side is hostile.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, with the set-user, set-group and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content that follow.
    pub size: u64,
    /// Seconds since 1970 of its last change.
    pub mtime: u64,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Numbers of a device.
    pub device: (u32, u32),
    /// Extended attributes, by name; of those that [`is_kept`] knows.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What GNU tar, star and docker put before the name of an extended attribute.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// The extended attribute that holds a file's capabilities.
pub const CAPABILITY: &str = "security.capability";

/// Whether an extended attribute goes into archives and is taken from them: file capabilities, as docker
/// keeps them, and what users set themselves. All others belong to the system that they are on: labels,
/// lists of its users' rights, `trusted.*` of its overlays.
#[must_use]
pub fn is_kept(name: &[u8]) -> bool {
    name == CAPABILITY.as_bytes() || name.starts_with(b"user.")
}

/// Adds an extended attribute to an entry, if it is kept and there is room for it. Capabilities that are a
/// user namespace's own become the general ones, as docker does it: its root has another number elsewhere.
pub fn keep(entry: &mut Entry, name: &[u8], value: &[u8]) {
    let mut value = value.to_vec();
    if name == CAPABILITY.as_bytes()
        && let Some(version) = value.get_mut(CAPABILITY_VERSION)
        && *version == 3
    {
        *version = 2;
        value.truncate(CAPABILITY_2);
    }
    let used = entry
        .attributes
        .iter()
        .map(|(name, value)| name.len() + value.len());
    let used: usize = used.sum();
    if is_kept(name) && used + name.len() + value.len() <= MAX_ATTRIBUTES {
        entry.attributes.push((name.to_vec(), value));
    }
}

/// Where `struct vfs_ns_cap_data` (linux/capability.h) has its version, and its size in version 2, which is
/// without a user namespace's root.
const CAPABILITY_VERSION: usize = 3;
const CAPABILITY_2: usize = 20;

/// Most bytes of an entry's extended attributes; ext4 has 4 KiB of them.
const MAX_ATTRIBUTES: usize = 160 << 10;

/// An archive that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TarError {
    /// The checksum of a header is wrong.
    #[error("the archive is broken: the checksum of a header is wrong")]
    Checksum,
    /// A number is none.
    #[error("the archive is broken: {0} is not a number")]
    Number(&'static str),
    /// An entry of a kind that no one here writes.
    #[error("the archive has an entry of kind {0:?}, which is not known")]
    Kind(char),
    /// An extended header is too long.
    #[error("the archive has an extended header of {0} bytes, {MAX_EXTENSION} are allowed")]
    Extension(u64),
    /// An extended header is not a list of records.
    #[error("the archive is broken: an extended header makes no sense")]
    Records,
}

/// Bytes that pad a content of this size.
#[must_use]
pub fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// The two blocks of zeros that end an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of an entry, with an extended one before it where it needs that.
#[must_use]
pub fn encode(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut record = |name: &[u8], value: &[u8]| {
        records.extend(pax_record(name, value));
    };
    for (name, value) in &entry.attributes {
        record(&[ATTRIBUTE, name].concat(), value);
    }
    if entry.path.len() > NAME {
        record(b"path", &entry.path);
    }
    if entry.link.len() > NAME {
        record(b"linkpath", &entry.link);
    }
    for (name, value, most) in [
        ("size", entry.size, MAX_ELEVEN),
        ("mtime", entry.mtime, MAX_ELEVEN),
        ("uid", entry.uid.into(), MAX_SEVEN),
        ("gid", entry.gid.into(), MAX_SEVEN),
    ] {
        if value > most {
            record(name.as_bytes(), format!("{value}").as_bytes());
        }
    }
    let mut blocks = Vec::new();
    if !records.is_empty() {
        let extension = Entry {
            path: b"pax".to_vec(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: records.len() as u64,
            mtime: 0,
            link: Vec::new(),
            device: (0, 0),
            attributes: Vec::new(),
        };
        blocks.extend(header(&extension, b'x'));
        let size = records.len() as u64;
        blocks.append(&mut records);
        blocks.resize(blocks.len() + padding(size), 0);
    }
    blocks.extend(header(entry, type_of(entry.kind)));
    blocks
}

/// `LENGTH NAME=VALUE\n`, where the length counts its own digits.
fn pax_record(name: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while format!("{length}").len() + rest != length {
        length = rest + format!("{length}").len();
    }
    [format!("{length} ").as_bytes(), name, b"=", value, b"\n"].concat()
}

fn type_of(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Character => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

fn header(entry: &Entry, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = block.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    let short = |bytes: &[u8]| {
        bytes
            .get(..bytes.len().min(NAME))
            .unwrap_or_default()
            .to_vec()
    };
    let seven = |value: u32| format!("{:07o}\0", u64::from(value).min(MAX_SEVEN));
    let eleven = |value: u64| format!("{:011o}\0", value.min(MAX_ELEVEN));
    put(0, &short(&entry.path));
    put(100, seven(entry.mode & 0o7777).as_bytes());
    put(108, seven(entry.uid).as_bytes());
    put(116, seven(entry.gid).as_bytes());
    put(124, eleven(entry.size).as_bytes());
    put(136, eleven(entry.mtime).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, &short(&entry.link));
    put(257, b"ustar\x0000");
    put(329, seven(entry.device.0).as_bytes());
    put(337, seven(entry.device.1).as_bytes());
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    if let Some(place) = block.get_mut(148..156) {
        place.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}

/// What a block of an archive was.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes, and their padding, have to be given to [`Decoder::extension`].
    Extension(u64),
    /// An entry; its content and padding follow.
    Entry(Entry),
    /// The end.
    End,
}

/// Reads headers one after the other.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What the extended header that is being read is.
    reading: u8,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Decoder {
    /// Takes a header block.
    ///
    /// # Errors
    /// When it is none.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<Step, TarError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Step::End);
        }
        check(block)?;
        let kind = match block[156] {
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            extension @ (b'x' | b'g' | b'L' | b'K') => {
                let size = number(block, 124..136, "size")?;
                if size > MAX_EXTENSION {
                    return Err(TarError::Extension(size));
                }
                self.reading = extension;
                return Ok(Step::Extension(size));
            }
            other => return Err(TarError::Kind(char::from(other))),
        };
        let small = |range, name| {
            let value = number(block, range, name)?;
            u32::try_from(value).map_err(|_| TarError::Number(name))
        };
        let pax = core::mem::take(self);
        let size = match pax.size {
            Some(size) => size,
            None => number(block, 124..136, "size")?,
        };
        Ok(Step::Entry(Entry {
            path: pax.path.unwrap_or_else(|| long_name(block)),
            kind,
            mode: small(100..108, "mode")? & 0o7777,
            uid: match pax.uid {
                Some(uid) => uid,
                None => small(108..116, "user")?,
            },
            gid: match pax.gid {
                Some(gid) => gid,
                None => small(116..124, "group")?,
            },
            // Only files have content, whatever the field says.
            size: if kind == Kind::File { size } else { 0 },
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => number(block, 136..148, "time")?,
            },
            link: pax.link.unwrap_or_else(|| text(block, 157..257)),
            device: match kind {
                Kind::Character | Kind::Block => {
                    (small(329..337, "device")?, small(337..345, "device")?)
                }
                _ => (0, 0),
            },
            attributes: pax.attributes,
        }))
    }

    /// Takes the content of an extended header.
    ///
    /// # Errors
    /// When it is not a list of records.
    pub fn extension(&mut self, content: &[u8]) -> Result<(), TarError> {
        let until_zero = || {
            let end = content.iter().position(|byte| *byte == 0);
            content
                .get(..end.unwrap_or(content.len()))
                .map(<[u8]>::to_vec)
        };
        match self.reading {
            b'L' => self.path = until_zero(),
            b'K' => self.link = until_zero(),
            b'x' => self.records(content)?,
            _ => {}
        }
        Ok(())
    }

    fn records(&mut self, mut content: &[u8]) -> Result<(), TarError> {
        while !content.is_empty() {
            let space = content.iter().position(|byte| *byte == b' ');
            let length = space
                .and_then(|end| content.get(..end))
                .and_then(decimal)
                .and_then(|length| usize::try_from(length).ok())
                .ok_or(TarError::Records)?;
            let record = content.get(..length).ok_or(TarError::Records)?;
            content = content.get(length..).ok_or(TarError::Records)?;
            let pair = space
                .and_then(|end| record.get(end + 1..))
                .and_then(|pair| pair.strip_suffix(b"\n"))
                .ok_or(TarError::Records)?;
            let equals = pair.iter().position(|byte| *byte == b'=');
            let equals = equals.ok_or(TarError::Records)?;
            let value = pair.get(equals + 1..).unwrap_or_default();
            let key = pair.get(..equals).unwrap_or_default();
            if let Some(name) = key.strip_prefix(ATTRIBUTE).filter(|name| is_kept(name)) {
                self.attributes.push((name.to_vec(), value.to_vec()));
            }
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(decimal(value).ok_or(TarError::Number("size"))?),
                b"mtime" => {
                    // Its fraction is passed over, and times before 1970 are 1970.
                    let whole = value.split(|byte| *byte == b'.').next();
                    self.mtime = Some(whole.and_then(decimal).unwrap_or(0));
                }
                b"uid" => self.uid = small_decimal(value, "user")?,
                b"gid" => self.gid = small_decimal(value, "group")?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn small_decimal(value: &[u8], name: &'static str) -> Result<Option<u32>, TarError> {
    let number = decimal(value).and_then(|number| u32::try_from(number).ok());
    number.map(Some).ok_or(TarError::Number(name))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(digits).ok()?;
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

fn check(block: &[u8; BLOCK]) -> Result<(), TarError> {
    let wanted = number(block, 148..156, "checksum").map_err(|_| TarError::Checksum)?;
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        })
        .sum();
    if sum == wanted {
        Ok(())
    } else {
        Err(TarError::Checksum)
    }
}

/// Octal digits between spaces and zeros, or GNU's binary numbers.
fn number(
    block: &[u8; BLOCK],
    range: core::ops::Range<usize>,
    name: &'static str,
) -> Result<u64, TarError> {
    let field = block.get(range).unwrap_or_default();
    if let Some((0x80, rest)) = field.split_first() {
        return rest.iter().try_fold(0_u64, |value, byte| {
            let shifted = value.checked_mul(256).ok_or(TarError::Number(name))?;
            Ok(shifted | u64::from(*byte))
        });
    }
    let text = String::from_utf8_lossy(field);
    let digits = text.trim_matches(['\0', ' ']);
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| TarError::Number(name))
}

fn text(block: &[u8; BLOCK], range: core::ops::Range<usize>) -> Vec<u8> {
    let field = block.get(range).unwrap_or_default();
    let end = field.iter().position(|byte| *byte == 0);
    field
        .get(..end.unwrap_or(field.len()))
        .unwrap_or_default()
        .to_vec()
}

/// The name with the prefix that ustar has for it.
fn long_name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(block, 0..NAME);
    let prefix = match block.get(257..263) {
        Some(b"ustar\0") => text(block, 345..500),
        _ => vec![],
    };
    match prefix.is_empty() {
        true => name,
        false => [prefix, vec![b'/'], name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &[u8]) -> Entry {
        Entry {
            path: path.to_vec(),
            kind: Kind::File,
            mode: 0o4755,
            uid: 1000,
            gid: 5_000_000,
            size: 7,
            mtime: 1_700_000_000,
            link: Vec::new(),
            device: (0, 0),
            attributes: Vec::new(),
        }
    }

    fn decode(bytes: &[u8]) -> Entry {
        let mut decoder = Decoder::default();
        let mut rest = bytes;
        loop {
            let (block, after) = rest.split_first_chunk::<BLOCK>().unwrap();
            rest = after;
            match decoder.block(block).unwrap() {
                Step::Entry(entry) => return entry,
                Step::Extension(size) => {
                    let whole = usize::try_from(size).unwrap();
                    decoder.extension(&rest[..whole]).unwrap();
                    rest = &rest[whole + padding(size)..];
                }
                Step::End => panic!("the archive has ended"),
            }
        }
    }

    #[test]
    fn entries_come_back_as_they_were_written() {
        for length in [1, 100, 101, 990, 4000] {
            let mut written = entry(&vec![b'a'; length]);
            assert_eq!(decode(&encode(&written)), written);
            written.kind = Kind::Symlink;
            written.size = 0;
            written.link = vec![b'b'; length];
            assert_eq!(decode(&encode(&written)), written);
        }
    }

    #[test]
    fn large_file_has_its_size_in_an_extended_header() {
        let mut written = entry(b"a");
        written.size = 1 << 40;
        assert_eq!(decode(&encode(&written)), written);
    }

    #[test]
    fn attributes_come_back_and_those_of_the_system_do_not() {
        let mut written = entry(b"a");
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut namespaced = capability.to_vec();
        namespaced[CAPABILITY_VERSION] = 3;
        namespaced.extend([0xe8, 3, 0, 0]);
        keep(&mut written, CAPABILITY.as_bytes(), &namespaced);
        keep(&mut written, b"user.a=b", b"x=y\n\0z");
        keep(&mut written, b"trusted.overlay.opaque", b"y");
        keep(&mut written, b"user.large", &vec![0; MAX_ATTRIBUTES]);
        let names: Vec<_> = written
            .attributes
            .iter()
            .map(|(name, _)| &name[..])
            .collect();
        assert_eq!(names, [CAPABILITY.as_bytes(), b"user.a=b"]);
        assert_eq!(written.attributes[0].1, capability);
        // The first equals sign ends a record's name, so that one in a name is lost.
        written.attributes[1].0 = b"user.a".to_vec();
        assert_eq!(decode(&encode(&written)), written);
        written.attributes = vec![(b"trusted.overlay.opaque".to_vec(), b"y".to_vec())];
        assert_eq!(decode(&encode(&written)).attributes, []);
    }

    #[test]
    fn changed_byte_is_seen() {
        let mut bytes = encode(&entry(b"a"));
        let end = bytes.len() - BLOCK;
        bytes[end + 3] ^= 1;
        let block = bytes[end..].first_chunk::<BLOCK>().unwrap();
        assert_eq!(Decoder::default().block(block), Err(TarError::Checksum));
    }

    #[test]
    fn records_that_lie_about_their_length_are_refused() {
        for bad in [
            "99 path=x\n",
            "5 path=x\n",
            "x path=y\n",
            "0 \n",
            "9 pathx=\n",
        ] {
            let mut decoder = Decoder {
                reading: b'x',
                ..Decoder::default()
            };
            let result = decoder.extension(bad.as_bytes());
            assert!(result.is_err() || decoder.path.is_none(), "{bad}");
        }
    }
}
