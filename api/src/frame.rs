//! Several streams on one connection: each piece has a header of eight bytes, as docker's clients
//! take it apart.

/// Largest piece that gets a header of its own.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// Which stream a piece is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Appends a piece of a stream with its header: the stream's number, three zeros, and the length with
/// its highest byte first.
pub fn append(frames: &mut Vec<u8>, channel: Channel, payload: &[u8]) {
    for piece in payload.chunks(MAX_PAYLOAD) {
        let number = match channel {
            Channel::Output => 1,
            Channel::Error => 2,
        };
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        frames.extend_from_slice(&[number, 0, 0, 0]);
        frames.extend_from_slice(&length.to_be_bytes());
        frames.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_docker_writes_them() {
        let mut frames = Vec::new();
        append(&mut frames, Channel::Output, b"hi\n");
        append(&mut frames, Channel::Error, b"");
        append(&mut frames, Channel::Error, b"no");
        assert_eq!(frames, b"\x01\0\0\0\0\0\0\x03hi\n\x02\0\0\0\0\0\0\x02no");
    }

    #[test]
    fn large_pieces_are_divided() {
        let mut frames = Vec::new();
        append(&mut frames, Channel::Output, &vec![7; MAX_PAYLOAD + 1]);
        assert_eq!(frames[..8], [1, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(frames[8 + MAX_PAYLOAD..], [1, 0, 0, 0, 0, 0, 0, 1, 7]);
    }
}
