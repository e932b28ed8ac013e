//! What hostile bytes are fed to: each function takes a fuzzer's input, makes of it what a guest, a client or
//! the other end of a channel could do, and panics where a promise is broken. The targets of `fuzz/` are
//! these functions; the unit tests feed them with noise.

mod input;
mod mux;
mod unpack;
mod wire;

pub(crate) use input::Input;
pub use mux::mux;
pub use unpack::unpack;
pub use wire::wire;

/// A keeper whose monitor, guest and clients say anything in any order.
///
/// # Panics
/// When the keeper waits for one of them, fails, or tells what is not so.
pub fn keeper(bytes: &[u8]) {
    let _ = crate::keeper::fuzzing::play(bytes);
    let _ = crate::keeper::fuzzing::play_held(bytes);
}

/// Feeds a function with inputs that are the same each time.
#[cfg(test)]
pub(crate) fn with_noise(function: impl Fn(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for length in (0..400).step_by(3) {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        function(&bytes);
    }
}
