//! A fuzzer's bytes, taken as numbers and pieces.

use std::collections::VecDeque;

/// What is left of an input.
pub struct Input(VecDeque<u8>);

impl Input {
    /// All of it is left.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().collect())
    }

    /// The next byte; `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        self.0.pop_front()
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, limit: usize) -> Option<usize> {
        Some(usize::from(self.byte()?) % limit)
    }

    /// As many of the next bytes as there are.
    pub fn piece(&mut self, length: usize) -> Vec<u8> {
        self.0.drain(..length.min(self.0.len())).collect()
    }
}
