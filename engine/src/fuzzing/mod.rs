//! Hostile bytes for a keeper: each function panics where a promise is broken.

mod unpack;

use coracle_platform::fuzzing::again;

pub use unpack::unpack;

use contracts::keeper::{Event, Request};

/// A keeper whose monitor, guest and clients say anything in any order.
///
/// # Panics
/// When the keeper waits for one of them, fails, or tells what is not so.
pub fn keeper(bytes: &[u8]) {
    let _ = crate::keeper::fuzzing::play(bytes);
    let _ = crate::keeper::fuzzing::play_held(bytes);
}

/// Packets of commands and keepers: whatever they are, they are understood in one way or refused.
///
/// # Panics
/// When one is understood in two ways.
pub fn wire(bytes: &[u8]) {
    again::<Request>(bytes);
    again::<Event>(bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn wire_stands_noise() {
        coracle_platform::fuzzing::with_noise(super::wire);
    }
}
