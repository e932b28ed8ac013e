//! Extended attributes, all kept with their inode.

/// Bytes before the first attribute.
const HEADER_LEN: usize = 12;
/// Bytes before the name of an attribute.
const ENTRY_LEN: usize = 4;

/// Prefixes of names that have a number, and whether anything must follow them.
const PREFIXES: &[(&[u8], u8, bool)] = &[
    (b"user.", 1, true),
    (b"system.posix_acl_access", 2, false),
    (b"system.posix_acl_default", 3, false),
    (b"trusted.", 4, true),
    (b"security.", 6, true),
];

/// Extended attributes as they are on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Xattrs(Vec<u8>);

impl Xattrs {
    /// Adds one. False when Linux has no such attribute or it is too long, and it is left out.
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) -> bool {
        let known = PREFIXES.iter().find_map(|(prefix, number, more)| {
            let rest = name.strip_prefix(*prefix)?;
            (rest.is_empty() != *more).then_some((rest, *number))
        });
        let Some((rest, number)) = known else {
            return false;
        };
        let (Ok(name_len), Ok(value_len)) = (u8::try_from(rest.len()), u16::try_from(value.len()))
        else {
            return false;
        };
        if self.0.is_empty() {
            self.0.resize(HEADER_LEN, 0);
        }
        let end = (self.0.len() + ENTRY_LEN + rest.len() + value.len()).next_multiple_of(4);
        self.0.extend([name_len, number]);
        self.0.extend(value_len.to_le_bytes());
        self.0.extend(rest);
        self.0.extend(value);
        self.0.resize(end, 0);
        true
    }

    /// Those of an inode that was written before.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        let mut rest = self.0.get(HEADER_LEN..).unwrap_or_default();
        while let [name_len, number, low, high, more @ ..] = rest {
            let own = more.get(..usize::from(*name_len)).unwrap_or_default();
            let prefix = PREFIXES
                .iter()
                .find(|(_, known, _)| known == number)
                .map_or(&b""[..], |(prefix, ..)| prefix);
            if name.strip_prefix(prefix) == Some(own) {
                return true;
            }
            let value = usize::from(u16::from_le_bytes([*low, *high]));
            let length = (ENTRY_LEN + usize::from(*name_len) + value).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        false
    }

    /// What an inode says about their length.
    pub(super) fn count_field(&self) -> u16 {
        let words = self.0.len().saturating_sub(HEADER_LEN) / 4;
        if self.0.is_empty() {
            0
        } else {
            u16::try_from(words + 1).expect("at most 64 KiB")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there() {
        let mut xattrs = Xattrs::default();
        assert!(!xattrs.has(b"user.a"));
        assert!(xattrs.add(b"user.a", b"12345"));
        assert!(xattrs.add(b"trusted.bc", b""));
        assert!(xattrs.add(b"system.posix_acl_access", b"x"));
        for name in [&b"user.a"[..], b"trusted.bc", b"system.posix_acl_access"] {
            assert!(xattrs.has(name));
        }
        for name in [&b"user.b"[..], b"trusted.a", b"user.", b"trusted.b", b"bc"] {
            assert!(!xattrs.has(name));
        }
    }
}
