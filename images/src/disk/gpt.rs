//! The partition table (UEFI specification 2.10, chapter 5).

use std::path::PathBuf;

use crate::crc;
use contracts::monitor::Extent;

/// Bytes of a sector.
const SECTOR: u64 = 512;
const EMPTY_SECTOR: [u8; 512] = [0; 512];

/// Partitions begin at multiples of so many bytes: a block of EROFS.
const ALIGNMENT: u64 = 4096;

/// Bytes of a partition entry, and how many a table has at least, as partitioning tools make it.
const ENTRY: u64 = 128;
const ENTRIES: u64 = 128;

/// Most partitions: Linux numbers as many on a virtio disk (minor numbers, less the whole disk).
const MAX_PARTITIONS: usize = 255;

/// Type of a partition with Linux file system data, 0FC63DAF-8483-4772-8E79-3D69D8477DE4, as it is
/// stored.
const LINUX_DATA: [u8; 16] = [
    0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
];

/// Why layers cannot be joined.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JoinError {
    /// There are none, or more than a disk has partitions.
    #[error("an image of {0} layers cannot be made a disk: 1 to {MAX_PARTITIONS} are possible")]
    Count(usize),
    /// The disk would be larger than can be counted.
    #[error("the layers are too large for one disk")]
    Size,
}

/// Makes one disk of layers, given by file and size in bytes, lowest first: partition `n` is layer
/// `n`, from 1. The same layers always make the same disk.
///
/// # Errors
/// [`JoinError`].
pub fn join(layers: &[(PathBuf, u64)]) -> Result<Vec<Extent>, JoinError> {
    if layers.is_empty() || layers.len() > MAX_PARTITIONS {
        return Err(JoinError::Count(layers.len()));
    }
    let count = ENTRIES.max(layers.len() as u64);
    let table = (count * ENTRY).next_multiple_of(SECTOR);
    let first = (2 * SECTOR + table).next_multiple_of(ALIGNMENT);

    let mut data = Vec::with_capacity(2 * layers.len());
    let mut entries = Vec::new();
    let mut at = first;
    for (number, (path, size)) in (1_u32..).zip(layers) {
        let end = at.checked_add(*size).ok_or(JoinError::Size)?;
        let next = end
            .checked_next_multiple_of(ALIGNMENT)
            .ok_or(JoinError::Size)?;
        entries.extend_from_slice(&entry(number, at / SECTOR, next / SECTOR - 1));
        data.push(Extent::File {
            path: path.clone(),
            offset: 0,
            length: *size,
        });
        if next > end {
            data.push(Extent::Zeros(next - end));
        }
        at = next;
    }
    entries.resize(usize::try_from(table).map_err(|_| JoinError::Size)?, 0);
    // A disk of whole pages is read page by page; Linux reads any other one in sectors, and
    // looking for the partitions takes forty requests instead of six.
    let length = at
        .checked_add(table + SECTOR)
        .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
        .ok_or(JoinError::Size)?;
    let last = length / SECTOR - 1;
    let backup = last - table / SECTOR;

    let header = Header {
        count,
        check: !crc::update(&crc::ISO, u32::MAX, checked(&entries, count)),
        first_usable: first / SECTOR,
        last_usable: at / SECTOR - 1,
    };
    let mut start = protective_record(last).to_vec();
    start.extend_from_slice(&header.bytes(1, last, 2));
    start.extend_from_slice(&entries);
    start.resize(usize::try_from(first).map_err(|_| JoinError::Size)?, 0);
    let gap = backup * SECTOR - at;
    let mut end = vec![0; usize::try_from(gap).map_err(|_| JoinError::Size)?];
    end.extend_from_slice(&entries);
    end.extend_from_slice(&header.bytes(last, 1, backup));

    let mut extents = sparse(&start);
    extents.append(&mut data);
    extents.append(&mut sparse(&end));
    Ok(extents)
}

/// Bytes with their empty sectors left out: most of a table is empty, and it is told to each
/// machine that starts.
fn sparse(bytes: &[u8]) -> Vec<Extent> {
    let mut extents = Vec::new();
    for run in bytes.chunks(EMPTY_SECTOR.len()) {
        let length = run.len() as u64;
        // Compared as a whole, which is eight times as fast as byte by byte.
        let empty = EMPTY_SECTOR.starts_with(run);
        match extents.last_mut() {
            Some(Extent::Zeros(zeros)) if empty => *zeros += length,
            Some(Extent::Bytes(before)) if !empty => before.extend_from_slice(run),
            _ if empty => extents.push(Extent::Zeros(length)),
            _ => extents.push(Extent::Bytes(run.to_vec())),
        }
    }
    extents
}

/// The entries that the check is over, without what fills the last sector.
fn checked(entries: &[u8], count: u64) -> &[u8] {
    let length = usize::try_from(count * ENTRY).unwrap_or(entries.len());
    entries.get(..length).unwrap_or(entries)
}

/// An identifier that depends only on a number; names of nothing, but never all zero.
fn identifier(number: u32) -> [u8; 16] {
    let mut bytes = *b"coracle\0\x80\0layer\0";
    bytes
        .iter_mut()
        .skip(12)
        .zip(number.to_le_bytes())
        .for_each(|(byte, value)| *byte = value);
    bytes
}

fn entry(number: u32, first: u64, last: u64) -> [u8; 128] {
    let mut entry = [0; 128];
    let parts: [&[u8]; 4] = [
        &LINUX_DATA,
        &identifier(number),
        &first.to_le_bytes(),
        &last.to_le_bytes(),
    ];
    entry
        .iter_mut()
        .zip(parts.concat())
        .for_each(|(byte, value)| *byte = value);
    entry
}

struct Header {
    count: u64,
    check: u32,
    first_usable: u64,
    last_usable: u64,
}

impl Header {
    /// The header that stands in sector `own`, with the other copy in `other` and its entries from
    /// `entries` on.
    fn bytes(&self, own: u64, other: u64, entries: u64) -> [u8; 512] {
        const LENGTH: u32 = 92;
        let count = u32::try_from(self.count).unwrap_or(0);
        let with = |check: u32| {
            let parts: [&[u8]; 14] = [
                b"EFI PART",
                &[0, 0, 1, 0],
                &LENGTH.to_le_bytes(),
                &check.to_le_bytes(),
                &[0; 4],
                &own.to_le_bytes(),
                &other.to_le_bytes(),
                &self.first_usable.to_le_bytes(),
                &self.last_usable.to_le_bytes(),
                &identifier(0),
                &entries.to_le_bytes(),
                &count.to_le_bytes(),
                &128_u32.to_le_bytes(),
                &self.check.to_le_bytes(),
            ];
            parts.concat()
        };
        let check = !crc::update(&crc::ISO, u32::MAX, &with(0));
        let mut sector = [0; 512];
        sector
            .iter_mut()
            .zip(with(check))
            .for_each(|(byte, value)| *byte = value);
        sector
    }
}

/// The record that keeps tools of before GPT away (section 5.2.3).
fn protective_record(last: u64) -> [u8; 512] {
    let mut record = [0; 512];
    let size = u32::try_from(last).unwrap_or(u32::MAX);
    let parts: [&[u8]; 3] = [
        &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff],
        &1_u32.to_le_bytes(),
        &size.to_le_bytes(),
    ];
    record
        .iter_mut()
        .skip(446)
        .zip(parts.concat())
        .for_each(|(byte, value)| *byte = value);
    record
        .iter_mut()
        .skip(510)
        .zip([0x55, 0xaa])
        .for_each(|(byte, value)| *byte = value);
    record
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn partitions_are_where_partitioning_tools_find_them() {
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("disk");
        let sizes = [4096, 5000 * 512, 8192];
        let layers: Vec<_> = sizes
            .iter()
            .map(|size| (PathBuf::from("/layer"), *size))
            .collect();
        let mut bytes = Vec::new();
        for extent in join(&layers).unwrap() {
            match extent {
                Extent::Bytes(part) => bytes.extend(part),
                other => bytes.resize(bytes.len() + usize::try_from(other.length()).unwrap(), 0),
            }
        }
        fs::write(&disk, bytes).unwrap();
        let output = Command::new("/sbin/sfdisk")
            .arg("--json")
            .arg(&disk)
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let table: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let found: Vec<(u64, u64)> = table["partitiontable"]["partitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| {
                (
                    part["start"].as_u64().unwrap(),
                    part["size"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, [(40, 8), (48, 5000), (5048, 16)]);
    }

    #[test]
    fn counts_out_of_range_are_refused() {
        assert_eq!(join(&[]), Err(JoinError::Count(0)));
        let many = vec![(PathBuf::new(), 4096); MAX_PARTITIONS + 1];
        assert_eq!(join(&many), Err(JoinError::Count(256)));
        assert!(join(many.get(1..).unwrap()).is_ok());
        let large = [(PathBuf::new(), u64::MAX)];
        assert_eq!(join(&large), Err(JoinError::Size));
    }
}
