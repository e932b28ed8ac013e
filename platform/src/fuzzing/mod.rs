//! What the fuzzers of several rooms share.

mod input;

use serde::{Serialize, de::DeserializeOwned};

pub use input::Input;

/// What was understood can be said again, and means the same.
pub fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<T>(bytes) {
        let said = serde_json::to_value(&message).expect("a message can be written");
        let text = said.to_string();
        let understood: T = serde_json::from_str(&text).expect("what was written can be read");
        let understood = serde_json::to_value(&understood).expect("a message can be written");
        assert_eq!(understood, said);
    }
}

/// Feeds a function with inputs that are the same each time.
pub fn with_noise(function: impl Fn(&[u8])) {
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
