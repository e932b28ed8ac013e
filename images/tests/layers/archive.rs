//! Tar archives byte by byte: what a library would refuse to write has to be written here.

/// Unit of a tar archive in bytes.
const BLOCK: usize = 512;

/// An entry that is being put together; [`Tar::add`] writes it.
#[derive(Clone)]
pub(crate) struct Entry {
    path: Vec<u8>,
    prefix: Vec<u8>,
    kind: u8,
    mode: i64,
    owner: (i64, i64),
    mtime: i64,
    link: Vec<u8>,
    device: (i64, i64),
    data: Vec<u8>,
    size: Option<i64>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes written over the header before its checksum is made.
    patches: Vec<(usize, Vec<u8>)>,
}

impl Entry {
    pub(crate) fn new(kind: u8, path: impl AsRef<[u8]>) -> Self {
        Self {
            path: path.as_ref().to_vec(),
            prefix: Vec::new(),
            kind,
            mode: 0o644,
            owner: (0, 0),
            mtime: 0,
            link: Vec::new(),
            device: (0, 0),
            data: Vec::new(),
            size: None,
            records: Vec::new(),
            patches: Vec::new(),
        }
    }

    pub(crate) fn file(path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        let mut entry = Self::new(b'0', path);
        entry.data = data.as_ref().to_vec();
        entry
    }

    pub(crate) fn directory(path: impl AsRef<[u8]>) -> Self {
        Self::new(b'5', path).mode(0o755)
    }

    pub(crate) fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(b'2', path).link(target).mode(0o777)
    }

    pub(crate) fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(b'1', path).link(target)
    }

    pub(crate) fn device(kind: u8, path: impl AsRef<[u8]>, major: i64, minor: i64) -> Self {
        let mut entry = Self::new(kind, path);
        entry.device = (major, minor);
        entry
    }

    pub(crate) fn mode(mut self, mode: i64) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn owner(mut self, uid: i64, gid: i64) -> Self {
        self.owner = (uid, gid);
        self
    }

    pub(crate) fn mtime(mut self, seconds: i64) -> Self {
        self.mtime = seconds;
        self
    }

    pub(crate) fn link(mut self, target: impl AsRef<[u8]>) -> Self {
        self.link = target.as_ref().to_vec();
        self
    }

    pub(crate) fn data(mut self, data: impl AsRef<[u8]>) -> Self {
        self.data = data.as_ref().to_vec();
        self
    }

    pub(crate) fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// What the header says about the size, where that is not the length of the data.
    pub(crate) fn size(mut self, size: i64) -> Self {
        self.size = Some(size);
        self
    }

    /// A record of an extended header before the entry.
    pub(crate) fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.records
            .push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    pub(crate) fn patch(mut self, offset: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.patches.push((offset, bytes.as_ref().to_vec()));
        self
    }

    fn header(&self) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        let mut put = |offset: usize, bytes: &[u8]| {
            header[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &self.path[..self.path.len().min(100)]);
        put(100, &number(self.mode, 8));
        put(108, &number(self.owner.0, 8));
        put(116, &number(self.owner.1, 8));
        let size = i64::try_from(self.data.len()).unwrap();
        put(124, &number(self.size.unwrap_or(size), 12));
        put(136, &number(self.mtime, 12));
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, &number(self.device.0, 8));
        put(337, &number(self.device.1, 8));
        put(345, &self.prefix);
        for (offset, bytes) in &self.patches {
            put(*offset, bytes);
        }
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

/// A number in a field of a header: octal where it fits, else base 256 as GNU has it.
pub(crate) fn number(value: i64, width: usize) -> Vec<u8> {
    let octal = format!("{value:0width$o}", width = width - 1);
    if value >= 0 && octal.len() < width {
        return [octal.as_bytes(), b"\0"].concat();
    }
    let mut bytes = vec![if value < 0 { 0xff } else { 0 }; width.saturating_sub(8)];
    bytes.extend(&value.to_be_bytes()[8 - width.min(8)..]);
    bytes[0] |= 0x80;
    bytes
}

/// An archive in memory.
#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut tar = Self::default();
        for entry in entries {
            tar.add(&entry);
        }
        tar
    }

    pub(crate) fn add(&mut self, entry: &Entry) {
        if !entry.records.is_empty() {
            let records: Vec<u8> = entry
                .records
                .iter()
                .flat_map(|(key, value)| record(key, value))
                .collect();
            self.add(&Entry::file("PaxHeaders/x", records).kind(b'x'));
        }
        self.0.extend(entry.header());
        self.0.extend(&entry.data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    /// The bytes with the two blocks of zeros that end an archive.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.0[..], &[0; 2 * BLOCK]].concat()
    }

    /// The bytes without an end mark.
    pub(crate) fn open_ended(&self) -> Vec<u8> {
        self.0.clone()
    }
}

impl Entry {
    fn kind(mut self, kind: u8) -> Self {
        self.kind = kind;
        self
    }
}

/// One record of an extended header; its length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}
