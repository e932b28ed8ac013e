//! Who may connect to the port of a stream.
//!
//! Ports of the host are numbers that count up, and every process in a guest that may open a vsock
//! socket can connect to them. So each promise of a port comes with a secret of its own, which only
//! init is told, and which init sends before anything else. The host reads exactly these bytes
//! first, and takes and gives nothing by a connection that did not begin with them. Then it sends
//! [`TAKEN`] where the port says so, which init waits for before it sends anything more: a connection that ends without it was
//! not taken, whoever was in its way, and init connects again.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a [`Secret`]: 128 bits cannot be guessed in the lifetime of a promise, or at all.
pub const SECRET_BYTES: usize = 16;

/// The host's answer to a secret, before anything else on the connection.
pub const TAKEN: u8 = 0x06;

/// What proves that a connection is init's.
///
/// `==` is for tests and messages, and takes time that depends on the values; what a guest sent is
/// compared by [`Self::is_proved_by`].
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// A secret of these bytes, which must be random.
    #[must_use]
    pub const fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(random)
    }

    /// The bytes that init sends.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// Whether these are its bytes. Takes the same time whatever they are, so that a guest cannot
    /// find them out one by one.
    #[must_use]
    pub fn is_proved_by(&self, sent: &[u8; SECRET_BYTES]) -> bool {
        let pairs = self.0.iter().zip(sent);
        let different = pairs.fold(0, |all, (own, sent)| all | (own ^ sent));
        core::hint::black_box(different) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A port of the host that is promised for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub number: u32,
    /// The first bytes on the connection.
    pub secret: Secret,
    /// The host answers them with [`TAKEN`]. Where nobody else can be in the guest yet, nobody can be in the way of the
    /// connection, and a round trip is saved.
    pub answered: bool,
}

#[cfg(test)]
mod tests {
    extern crate alloc;

    use super::*;

    #[test]
    fn secret_is_proved_by_its_own_bytes_alone() {
        let bytes = [7; SECRET_BYTES];
        let secret = Secret::new(bytes);
        assert!(secret.is_proved_by(&bytes));
        for index in 0..SECRET_BYTES {
            for bit in 0..8 {
                let mut wrong = bytes;
                wrong[index] ^= 1 << bit;
                assert!(!secret.is_proved_by(&wrong), "{index} {bit}");
            }
        }
    }

    #[test]
    fn secret_is_not_shown() {
        let port = Port {
            number: 1025,
            secret: Secret::new([0xab; SECRET_BYTES]),
            answered: true,
        };
        let shown = alloc::format!("{port:?}");
        assert_eq!(
            shown,
            "Port { number: 1025, secret: Secret(…), answered: true }"
        );
    }
}
