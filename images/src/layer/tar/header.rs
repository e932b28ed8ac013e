//! The 512 bytes before each entry, in the forms of V7, POSIX (`ustar`), GNU and star.

/// Unit of a tar archive in bytes.
pub(in crate::layer) const BLOCK: usize = 512;

/// One block of an archive.
pub(super) type Block = [u8; BLOCK];

/// A field of a header: first byte and length.
type Field = (usize, usize);

const NAME: Field = (0, 100);
const MODE: Field = (100, 8);
const UID: Field = (108, 8);
const GID: Field = (116, 8);
const SIZE: Field = (124, 12);
const MTIME: Field = (136, 12);
const CHECKSUM: Field = (148, 8);
const TYPE: usize = 156;
const LINK: Field = (157, 100);
const MAGIC: Field = (257, 6);
const DEVICE_MAJOR: Field = (329, 8);
const DEVICE_MINOR: Field = (337, 8);
const PREFIX: Field = (345, 155);
/// star uses the end of the prefix for times, and says so in the last four bytes.
const STAR_PREFIX: Field = (345, 131);
const STAR_TRAILER: Field = (508, 4);

/// A header whose checksum is right.
pub(super) struct Header<'a>(pub(super) &'a Block);

impl<'a> Header<'a> {
    /// `None` when the checksum is wrong. Old programs summed signed bytes; both are taken.
    pub(super) fn parse(block: &'a Block) -> Option<Self> {
        let header = Self(block);
        let said = header.number(CHECKSUM)?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (index, byte) in block.iter().enumerate() {
            let inside = (CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1).contains(&index);
            let byte = if inside { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        (said == unsigned || said == signed).then_some(header)
    }

    fn bytes(&self, (start, length): Field) -> &'a [u8] {
        &self.0[start..start + length]
    }

    /// A field up to its first zero byte.
    fn text(&self, field: Field) -> &'a [u8] {
        let bytes = self.bytes(field);
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        &bytes[..end]
    }

    fn number(&self, field: Field) -> Option<i64> {
        number(self.bytes(field))
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[TYPE]
    }

    /// The name, joined with its prefix where the form has one.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = self.text(NAME);
        let prefix = if self.bytes(MAGIC) != b"ustar\0" {
            b""
        } else if self.bytes(STAR_TRAILER) == b"tar\0" {
            self.text(STAR_PREFIX)
        } else {
            self.text(PREFIX)
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link(&self) -> &'a [u8] {
        self.text(LINK)
    }

    pub(super) fn mode(&self) -> Option<i64> {
        self.number(MODE)
    }

    pub(super) fn uid(&self) -> Option<i64> {
        self.number(UID)
    }

    pub(super) fn gid(&self) -> Option<i64> {
        self.number(GID)
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.number(SIZE)?.try_into().ok()
    }

    pub(super) fn mtime(&self) -> Option<i64> {
        self.number(MTIME)
    }

    /// Major and minor number; V7 headers have none.
    pub(super) fn device(&self) -> Option<(i64, i64)> {
        if self.bytes(MAGIC).starts_with(b"ustar") {
            Some((self.number(DEVICE_MAJOR)?, self.number(DEVICE_MINOR)?))
        } else {
            Some((0, 0))
        }
    }
}

/// An octal number among spaces and zero bytes, or GNU's base 256: a first byte with its highest
/// bit set, then a big-endian number in two's complement. Nothing at all is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Bit 6 of the first byte is the sign.
        let high = if first & 0x40 != 0 {
            i64::from(first.cast_signed())
        } else {
            i64::from(first & 0x3f)
        };
        return field[1..].iter().try_fold(high, |value, byte| {
            value.checked_mul(256)?.checked_add(i64::from(*byte))
        });
    }
    let end = field
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | 0))
        .map_or(0, |last| last + 1);
    let start = field
        .iter()
        .position(|byte| !matches!(byte, b' ' | 0))
        .unwrap_or(end);
    // Some programs leave other bytes after the terminator.
    let digits = field[start..end]
        .split(|byte| matches!(byte, b' ' | 0))
        .next()?;
    digits.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   755 \0"), Some(0o755));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777777"), Some(0o77_777_777_777));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(2 << 32));
        assert_eq!(
            number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"),
            Some(-2)
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(number(b"0000689\0"), None);
        assert_eq!(number(b"-1\0"), None);
        assert_eq!(
            number(b"\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            None
        );
    }
}
