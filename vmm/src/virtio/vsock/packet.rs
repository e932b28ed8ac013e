//! Packets of virtio-vsock (virtio 1.2, section 5.10.6).

use virtio_queue::{DescriptorChain, desc::split::Descriptor};
use vm_memory::{ByteValued, Bytes, GuestMemoryBackend, GuestMemoryError, VolatileSlice};

use crate::virtio::{Memory, service};

/// Bytes of a header.
pub(super) const HEADER: usize = 44;

/// `VIRTIO_VSOCK_TYPE_STREAM`.
pub(super) const STREAM: u16 = 1;

/// Most bytes of a packet's data that are taken from the guest: Linux sends at most 64 KiB.
pub(super) const MAX_DATA: u32 = 64 << 10;

/// Operations.
pub(super) mod op {
    pub(in super::super) const REQUEST: u16 = 1;
    pub(in super::super) const RESPONSE: u16 = 2;
    pub(in super::super) const RST: u16 = 3;
    pub(in super::super) const SHUTDOWN: u16 = 4;
    pub(in super::super) const RW: u16 = 5;
    pub(in super::super) const CREDIT_UPDATE: u16 = 6;
    pub(in super::super) const CREDIT_REQUEST: u16 = 7;
}

/// Flags of a shutdown: the sender will receive, or send, no more.
pub(super) const NO_RECEIVE: u32 = 1;
pub(super) const NO_SEND: u32 = 2;

/// A packet's header, little endian as all of virtio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, packed)]
pub(super) struct Header {
    pub(super) source_cid: u64,
    pub(super) destination_cid: u64,
    pub(super) source_port: u32,
    pub(super) destination_port: u32,
    pub(super) length: u32,
    pub(super) kind: u16,
    pub(super) op: u16,
    pub(super) flags: u32,
    pub(super) buf_alloc: u32,
    pub(super) fwd_cnt: u32,
}

#[expect(unsafe_code, reason = "plain data of the driver's, read byte by byte")]
mod value {
    // SAFETY: only integers, and packed, so without padding.
    unsafe impl vm_memory::ByteValued for super::Header {}
}

/// A packet of the guest: a copy of its header, and where its data is.
pub(super) struct Incoming {
    pub(super) header: Header,
    data: Vec<Descriptor>,
}

impl Incoming {
    /// Reads a packet from a chain; `None` for one that is none.
    pub(super) fn read(memory: &Memory, chain: DescriptorChain<&Memory>) -> Option<Self> {
        let descriptors = service::descriptors(chain)?;
        let (first, rest) = descriptors.split_first()?;
        let length = first.len() as usize;
        let readable = descriptors
            .iter()
            .all(|descriptor| !descriptor.is_write_only());
        if !readable || length < HEADER {
            return None;
        }
        let header: Header = memory.read_obj(first.addr()).ok()?;
        let mut data = Vec::with_capacity(descriptors.len());
        if length > HEADER {
            // Header and data in one descriptor, as later drivers lay them out.
            let address = first.addr().0.checked_add(HEADER as u64)?;
            let left = first.len() - u32::try_from(HEADER).ok()?;
            data.push(Descriptor::new(address, left, 0, 0));
        }
        data.extend_from_slice(rest);
        let there: u64 = data
            .iter()
            .map(|descriptor| u64::from(descriptor.len()))
            .sum();
        let claimed = header.length;
        (claimed <= MAX_DATA && u64::from(claimed) <= there).then_some(Self { header, data })
    }

    /// In how many pieces of memory the data may be.
    pub(super) fn pieces_at_most(&self) -> usize {
        self.data.len()
    }

    /// The data in pieces, together as long as the header says.
    ///
    /// # Errors
    /// When a piece is not in the guest's memory.
    pub(super) fn pieces<'a>(
        &self,
        memory: &'a Memory,
    ) -> Result<Vec<VolatileSlice<'a>>, GuestMemoryError> {
        let mut left = self.header.length as usize;
        let mut pieces = Vec::with_capacity(self.data.len());
        for descriptor in &self.data {
            let length = (descriptor.len() as usize).min(left);
            left -= length;
            if length > 0 {
                pieces.push(memory.get_slice(descriptor.addr(), length)?);
            }
        }
        Ok(pieces)
    }
}

/// Room for a packet to the guest.
pub(super) struct Outgoing {
    head: Descriptor,
    /// Where data goes: one piece, as the driver's buffers are.
    data: Descriptor,
}

impl Outgoing {
    /// Takes a chain of the guest's for a packet; `None` when a header does not fit.
    pub(super) fn new(chain: DescriptorChain<&Memory>) -> Option<Self> {
        let descriptors = service::descriptors(chain)?;
        let mut descriptors = descriptors.into_iter().filter(|each| each.is_write_only());
        let head = descriptors.next()?;
        let length = head.len();
        let header = u32::try_from(HEADER).ok()?;
        let data = if length > header {
            Descriptor::new(
                head.addr().0.checked_add(HEADER as u64)?,
                length - header,
                0,
                0,
            )
        } else {
            descriptors.next().unwrap_or_default()
        };
        (length >= header).then_some(Self { head, data })
    }

    /// Where data goes, at most so many bytes; `None` without room.
    pub(super) fn data<'a>(&self, memory: &'a Memory, most: u32) -> Option<VolatileSlice<'a>> {
        let length = self.data.len().min(most) as usize;
        if length == 0 {
            return None;
        }
        memory.get_slice(self.data.addr(), length).ok()
    }

    /// Writes the header; gives the bytes that the packet has.
    pub(super) fn finish(&self, memory: &Memory, header: Header) -> u32 {
        match memory.write_slice(header.as_slice(), self.head.addr()) {
            Ok(()) => header
                .length
                .saturating_add(u32::try_from(HEADER).unwrap_or(0)),
            Err(_) => 0,
        }
    }
}
