//! Frames: a `u32` length, little endian, and that many bytes of postcard.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

extern crate alloc;

/// Largest body of a frame in bytes. A container's spec with a full environment fits many times;
/// more would let a guest make the host allocate without end.
pub const MAX_BODY: usize = 1 << 20;

/// Bytes of the length that stands before each body.
pub const HEADER: usize = 4;

/// Why a frame could not be written or read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// The body is longer than [`MAX_BODY`].
    #[error("frame of {0} bytes is longer than the limit of {MAX_BODY}")]
    TooLong(usize),
    /// The body is not the message that was expected.
    #[error("frame cannot be decoded: {0}")]
    Decode(postcard::Error),
    /// The message cannot be encoded.
    #[error("message cannot be encoded: {0}")]
    Encode(postcard::Error),
}

/// Encodes a message with its length before it.
///
/// # Errors
/// When the body would exceed [`MAX_BODY`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame =
        postcard::to_extend(message, Vec::from([0; HEADER])).map_err(FrameError::Encode)?;
    let length = frame.len() - HEADER;
    if length > MAX_BODY {
        return Err(FrameError::TooLong(length));
    }
    let header = u32::try_from(length)
        .map_err(|_| FrameError::TooLong(length))?
        .to_le_bytes();
    for (byte, value) in frame.iter_mut().zip(header) {
        *byte = value;
    }
    Ok(frame)
}

/// Reads the length of the body from a frame's header.
///
/// # Errors
/// When the length exceeds [`MAX_BODY`].
pub fn body_length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(header);
    match usize::try_from(length) {
        Ok(length) if length <= MAX_BODY => Ok(length),
        _ => Err(FrameError::TooLong(length as usize)),
    }
}

/// Decodes a frame's body; bytes left over are an error.
///
/// # Errors
/// When the bytes are not exactly one message of the type.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(body).map_err(FrameError::Decode)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Decode(postcard::Error::DeserializeBadEncoding))
    }
}

/// Collects bytes as they arrive and gives the messages in them.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes more bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// When a length exceeds [`MAX_BODY`] or a body cannot be decoded; the stream is then unusable.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = body_length(*header)?;
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = decode(body)?;
        self.buffer.drain(..HEADER + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{ExitStatus, GuestMessage};

    fn exited() -> GuestMessage {
        GuestMessage::Exited {
            id: "a".into(),
            status: ExitStatus::Code(3),
            oom: false,
            damaged: false,
            at: 7,
        }
    }

    #[test]
    fn message_split_at_every_byte_is_read_whole() {
        let bytes = encode(&exited()).unwrap();
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            decoder.push(&bytes[..cut]);
            assert_eq!(decoder.next_message::<GuestMessage>().unwrap(), None);
            decoder.push(&bytes[cut..]);
            assert_eq!(decoder.next_message().unwrap(), Some(exited()));
            assert_eq!(decoder.next_message::<GuestMessage>().unwrap(), None);
        }
    }

    #[test]
    fn length_above_the_limit_is_refused_before_the_body_arrives() {
        let mut decoder = Decoder::default();
        decoder.push(&(u32::try_from(MAX_BODY).unwrap() + 1).to_le_bytes());
        assert_eq!(
            decoder.next_message::<GuestMessage>(),
            Err(FrameError::TooLong(MAX_BODY + 1))
        );
    }

    #[test]
    fn body_with_bytes_left_over_is_refused() {
        let mut bytes = encode(&exited()).unwrap();
        bytes.push(0);
        assert!(decode::<GuestMessage>(&bytes[HEADER..]).is_err());
    }

    #[test]
    fn every_single_byte_body_is_decoded_or_refused_without_panic() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let _ = decode::<GuestMessage>(&[first, second]);
            }
        }
    }
}
