//! Extended headers: records `length key=value\n` (POSIX, "pax Extended Header").

use std::collections::BTreeMap;

use super::sparse::{self, Run};

/// What comes before the name of an attribute, as GNU tar, Go and star write it.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// The same as libarchive writes it: name in percent signs, value in base 64.
const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";

/// What extended headers say about the next entry.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<(i64, u32)>,
    /// The last one of a name counts. A map, since a header has room for many.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: Option<PaxSparse>,
}

/// GNU's sparse formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    /// Format 1.0: the map stands before the data.
    pub(super) map_in_data: bool,
    pub(super) real_size: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) runs: Vec<Run>,
    /// An offset whose length has not come yet.
    offset: Option<u64>,
}

impl Extended {
    /// Adds the records of one header.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn add(&mut self, mut records: &[u8]) -> Result<(), String> {
        while !records.is_empty() {
            let (key, value, rest) = record(records)
                .ok_or_else(|| "an extended header has a malformed record".to_owned())?;
            self.set(key, value).ok_or_else(|| {
                format!(
                    "extended header {:?} has no valid value",
                    String::from_utf8_lossy(key)
                )
            })?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let bytes = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.link = bytes(),
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, signed)?,
            b"gid" => self.gid = optional(value, signed)?,
            b"mtime" => self.mtime = optional(value, time)?,
            _ if key.starts_with(XATTR) => {
                self.xattrs
                    .insert(key[XATTR.len()..].to_vec(), value.to_vec());
            }
            _ if key.starts_with(LIBARCHIVE_XATTR) => {
                let name = percent_decoded(&key[LIBARCHIVE_XATTR.len()..])?;
                self.xattrs.insert(name, base64_decoded(value)?);
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                self.sparse
                    .get_or_insert_default()
                    .set(&key[b"GNU.sparse.".len()..], value)?;
            }
            // Names of users, access times, character sets, comments: nothing that a layer keeps.
            _ => {}
        }
        Some(())
    }
}

impl PaxSparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"major" => self.map_in_data = decimal(value)? == 1,
            b"size" | b"realsize" => self.real_size = Some(decimal(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"offset" => self.offset = Some(decimal(value)?),
            b"numbytes" => {
                let offset = self.offset.take()?;
                sparse::push(&mut self.runs, offset, decimal(value)?)?;
            }
            b"map" => {
                self.runs.clear();
                let mut numbers = value.split(|byte| *byte == b',');
                while let Some(offset) = numbers.next().filter(|text| !text.is_empty()) {
                    sparse::push(&mut self.runs, decimal(offset)?, decimal(numbers.next()?)?)?;
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// Key, value and what follows the first record.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let body = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body
        .iter()
        .position(|byte| *byte == b'=')
        .filter(|position| *position > 0)?;
    Some((&body[..equals], &body[equals + 1..], &records[length..]))
}

/// An empty value takes back what was said before.
fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() {
        Some(None)
    } else {
        parse(value).map(Some)
    }
}

/// A decimal number of at most 63 bits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })?;
    i64::try_from(value).is_ok().then_some(value)
}

fn signed(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = i64::try_from(decimal(digits)?).ok()?;
    Some(if negative { -value } else { value })
}

/// Seconds and nanoseconds of a time such as `-1.25`.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = signed(whole)?;
    let mut nanoseconds = 0u32;
    for index in 0..9 {
        let digit = fraction.get(index).copied().unwrap_or(b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    if text.starts_with(b"-") && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.iter().filter(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_with_any_bytes_in_their_values() {
        let mut extended = Extended::default();
        extended
            .add(b"12 path=a\nb\n21 mtime=-1.25000000\n27 SCHILY.xattr.user.a=\0\n\xff\n")
            .unwrap();
        assert_eq!(extended.path.unwrap(), b"a\nb");
        assert_eq!(extended.mtime, Some((-2, 750_000_000)));
        assert_eq!(
            extended.xattrs,
            BTreeMap::from([(b"user.a".to_vec(), b"\0\n\xff".to_vec())])
        );
    }

    #[test]
    fn libarchive_attributes_are_decoded() {
        let mut extended = Extended::default();
        extended
            .add(b"38 LIBARCHIVE.xattr.user.%61=aGk/+w==\n")
            .unwrap();
        assert_eq!(extended.xattrs[&b"user.a"[..]], b"hi?\xfb");
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            &b"5 a=b\n"[..],
            b"7 a=b\n",
            b"x",
            b"99999999999999999999 a=b\n",
            b"5 =b\n",
            b"0 \n",
        ] {
            assert!(Extended::default().add(records).is_err(), "{records:?}");
        }
        assert!(Extended::default().add(b"9 size=x\n").is_err());
        assert!(
            Extended::default()
                .add(b"25 GNU.sparse.numbytes=1\n")
                .is_err()
        );
    }
}
