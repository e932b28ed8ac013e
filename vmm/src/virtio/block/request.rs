//! Requests of the driver (virtio 1.2, section 5.2.6).

use virtio_queue::{DescriptorChain, desc::split::Descriptor};
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryBackend};

use super::{
    MAX_DISCARD_SECTORS, MAX_ZEROES_SECTORS,
    disk::{Disk, SECTOR},
};
use crate::virtio::{
    Memory,
    service::{self, Served},
};

/// Types of requests.
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

/// Status bytes.
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

/// What `GET_ID` gives: 20 bytes, padded with zeros.
const IDENTIFIER: [u8; 20] = *b"coracle\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Most bytes of data in one request: more would hold up the other queues of the disk. Linux puts at most 1280 KiB
/// into one, or 254 segments of 64 KiB if it is told to (`max_sectors_kb`).
const MAX_DATA: u64 = 16 << 20;

/// Bit of a range that asks for a hole (5.2.6.2).
const UNMAP: u32 = 1;

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Header {
    pub(super) kind: u32,
    pub(super) reserved: u32,
    pub(super) sector: u64,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Range {
    sector: u64,
    sectors: u32,
    flags: u32,
}

#[expect(unsafe_code, reason = "plain data of the driver's, read byte by byte")]
mod values {
    use super::{ByteValued, Header, Range};
    // SAFETY: only integers, without padding.
    unsafe impl ByteValued for Header {}
    // SAFETY: only integers, without padding.
    unsafe impl ByteValued for Range {}
}

/// What is wrong with a request, as its status byte.
struct Refusal(u8);

impl From<std::io::Error> for Refusal {
    fn from(_: std::io::Error) -> Self {
        Self(IO_ERROR)
    }
}

impl From<vm_memory::GuestMemoryError> for Refusal {
    fn from(_: vm_memory::GuestMemoryError) -> Self {
        Self(IO_ERROR)
    }
}

/// Serves one chain.
pub(super) fn serve(disk: &Disk, memory: &Memory, chain: DescriptorChain<&Memory>) -> Served {
    let descriptors = service::descriptors(chain).unwrap_or_default();
    let Some((last, rest)) = descriptors.split_last() else {
        return Served::default();
    };
    // Without a byte for the status there is nobody to tell.
    if !last.is_write_only() || last.len() == 0 {
        return Served::default();
    }
    let status_at = GuestAddress(last.addr().0.saturating_add(u64::from(last.len()) - 1));
    let (status, served) = match execute(disk, memory, rest, last) {
        Ok(served) => (OK, served),
        Err(Refusal(status)) => (status, Served::default()),
    };
    let written = match memory.write_obj(status, status_at) {
        Ok(()) => served.written.saturating_add(1),
        Err(_) => 0,
    };
    Served { written, ..served }
}

fn execute(
    disk: &Disk,
    memory: &Memory,
    descriptors: &[Descriptor],
    last: &Descriptor,
) -> Result<Served, Refusal> {
    let (first, data) = descriptors.split_first().ok_or(Refusal(IO_ERROR))?;
    if first.is_write_only() || first.len() as usize != size_of::<Header>() || last.len() != 1 {
        return Err(Refusal(IO_ERROR));
    }
    let header: Header = memory.read_obj(first.addr())?;
    match header.kind {
        IN => read(disk, memory, data, header.sector),
        OUT => write(disk, memory, data, header.sector),
        FLUSH => {
            disk.flush()?;
            Ok(Served::default())
        }
        GET_ID => match data {
            [only] if only.is_write_only() && only.len() as usize == IDENTIFIER.len() => {
                memory.write_slice(&IDENTIFIER, only.addr())?;
                Ok(Served::written(only.len()))
            }
            _ => Err(Refusal(IO_ERROR)),
        },
        DISCARD | WRITE_ZEROES => {
            give_back(disk, memory, data, header.kind)?;
            Ok(Served::default())
        }
        _ => Err(Refusal(UNSUPPORTED)),
    }
}

/// Checks that the data goes one way, has a size that can be, and lies on the disk; gives where.
fn extent(
    disk: &Disk,
    data: &[Descriptor],
    sector: u64,
    to_guest: bool,
) -> Result<(u64, u32), Refusal> {
    let one_way = data
        .iter()
        .all(|descriptor| descriptor.is_write_only() == to_guest);
    let length: u64 = data
        .iter()
        .map(|descriptor| u64::from(descriptor.len()))
        .sum();
    let offset = sector.checked_mul(SECTOR).ok_or(Refusal(IO_ERROR))?;
    let fits = length <= MAX_DATA && length.is_multiple_of(SECTOR) && disk.holds(offset, length);
    match u32::try_from(length) {
        Ok(length) if one_way && fits => Ok((offset, length)),
        _ => Err(Refusal(IO_ERROR)),
    }
}

fn read(disk: &Disk, memory: &Memory, data: &[Descriptor], sector: u64) -> Result<Served, Refusal> {
    let (mut offset, length) = extent(disk, data, sector, true)?;
    for descriptor in data {
        let slice = memory.get_slice(descriptor.addr(), descriptor.len() as usize)?;
        disk.read(offset, &slice)?;
        offset += u64::from(descriptor.len());
    }
    Ok(Served::written(length))
}

fn write(
    disk: &Disk,
    memory: &Memory,
    data: &[Descriptor],
    sector: u64,
) -> Result<Served, Refusal> {
    let (mut offset, length) = extent(disk, data, sector, false)?;
    for descriptor in data {
        let slice = memory.get_slice(descriptor.addr(), descriptor.len() as usize)?;
        disk.write(offset, &slice)?;
        offset += u64::from(descriptor.len());
    }
    Ok(Served {
        written: 0,
        moved: length.into(),
    })
}

/// Discards or zeroes one range, as many as configuration space offers.
fn give_back(disk: &Disk, memory: &Memory, data: &[Descriptor], kind: u32) -> Result<(), Refusal> {
    let [only] = data else {
        return Err(Refusal(IO_ERROR));
    };
    if only.is_write_only() || only.len() as usize != size_of::<Range>() {
        return Err(Refusal(IO_ERROR));
    }
    let range: Range = memory.read_obj(only.addr())?;
    // A discard has no flags, zeroing has one (5.2.6.2).
    let known = if kind == WRITE_ZEROES { UNMAP } else { 0 };
    if range.flags & !known != 0 {
        return Err(Refusal(UNSUPPORTED));
    }
    let most = match kind {
        DISCARD => MAX_DISCARD_SECTORS,
        _ => MAX_ZEROES_SECTORS,
    };
    if disk.read_only() || range.sectors > most {
        return Err(Refusal(IO_ERROR));
    }
    let offset = range.sector.checked_mul(SECTOR).ok_or(Refusal(IO_ERROR))?;
    let length = u64::from(range.sectors) * SECTOR;
    if !disk.holds(offset, length) {
        return Err(Refusal(IO_ERROR));
    }
    match kind {
        _ if length == 0 => {}
        DISCARD => disk.discard(offset, length)?,
        _ => disk.write_zeros(offset, length, range.flags & UNMAP != 0)?,
    }
    Ok(())
}
