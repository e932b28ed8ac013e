//! Frames: what the byte channel between a software host's two ends carries.
//!
//! Each frame is a header (channel, kind, length of the payload; little-endian) and a payload of
//! at most [`MAX_PAYLOAD`] bytes.

use thiserror::Error;

/// Bytes of a frame's header.
pub const HEADER: usize = 9;

/// Most bytes of a frame's payload. virtio-serial is quick with large writes and no quicker
/// beyond this.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// What both ends say first: who they are, and the version of what follows.
pub const GREETING: &[u8] = b"coracle machine 1";

/// What a frame does to its channel. Each direction of a channel ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first frame of each side, on channel 0.
    Hello,
    /// A new channel; the payload says what for.
    Open,
    /// Bytes of the channel, no more than the receiver has granted.
    Data,
    /// The receiver grants as many more bytes as the payload's four tell.
    Credit,
    /// The sender has sent all.
    Finish,
    /// The sender gives up in the middle.
    Abort,
    /// The receiver wants no more.
    Refuse,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Hello,
        Self::Open,
        Self::Data,
        Self::Credit,
        Self::Finish,
        Self::Abort,
        Self::Refuse,
    ];

    fn code(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Open => 2,
            Self::Data => 3,
            Self::Credit => 4,
            Self::Finish => 5,
            Self::Abort => 6,
            Self::Refuse => 7,
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The channel.
    pub channel: u32,
    /// What the frame does.
    pub kind: Kind,
    /// Bytes of payload that follow, at most [`MAX_PAYLOAD`].
    pub length: usize,
}

/// A frame that breaks the rules; the connection is of no more use.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// No kind has this code.
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    /// The payload is too large.
    #[error("a frame of {0} bytes, over the {MAX_PAYLOAD} allowed")]
    Length(u32),
    /// The other side is another program or another version.
    #[error("the other side greets with {0:?} in place of {GREETING:?}; are both one version?")]
    Greeting(String),
    /// A frame for a channel that was never opened.
    #[error("a {1:?} frame for channel {0}, which was never opened")]
    Channel(u32, Kind),
    /// A new channel whose number is not the next of its side.
    #[error("channel {0} opened out of order")]
    Order(u32),
    /// More channels than allowed at once.
    #[error("more than {0} channels at once")]
    Channels(usize),
    /// More data than granted.
    #[error("{length} bytes on channel {channel}, over the {granted} granted")]
    Overrun {
        /// The channel.
        channel: u32,
        /// Bytes sent.
        length: usize,
        /// Bytes allowed.
        granted: usize,
    },
    /// A grant that is not four bytes, or more than a window.
    #[error("a grant that no window allows on channel {0}")]
    Grant(u32),
}

impl Header {
    /// The header as bytes.
    pub fn encode(self) -> [u8; HEADER] {
        let [a, b, c, d] = self.channel.to_le_bytes();
        let length = u32::try_from(self.length).expect("a payload is at most MAX_PAYLOAD");
        let [e, f, g, h] = length.to_le_bytes();
        [a, b, c, d, self.kind.code(), e, f, g, h]
    }

    /// The header from bytes.
    ///
    /// # Errors
    /// When the kind is unknown or the payload too large.
    pub fn decode(bytes: [u8; HEADER]) -> Result<Self, Violation> {
        let [a, b, c, d, code, e, f, g, h] = bytes;
        let kind = Kind::ALL.into_iter().find(|kind| kind.code() == code);
        let kind = kind.ok_or(Violation::Kind(code))?;
        let length = u32::from_le_bytes([e, f, g, h]);
        match usize::try_from(length) {
            Ok(length) if length <= MAX_PAYLOAD => Ok(Self {
                channel: u32::from_le_bytes([a, b, c, d]),
                kind,
                length,
            }),
            _ => Err(Violation::Length(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in Kind::ALL {
            let header = Header {
                channel: 0x0102_0304,
                kind,
                length: 517,
            };
            assert_eq!(Header::decode(header.encode()), Ok(header));
        }
    }

    #[test]
    fn unknown_kind_is_refused() {
        assert_eq!(
            Header::decode([1, 0, 0, 0, 99, 0, 0, 0, 0]),
            Err(Violation::Kind(99))
        );
    }

    #[test]
    fn payload_over_the_limit_is_refused() {
        let bytes = [1, 0, 0, 0, 3, 1, 0, 1, 0];
        assert_eq!(Header::decode(bytes), Err(Violation::Length(0x1_0001)));
    }
}
