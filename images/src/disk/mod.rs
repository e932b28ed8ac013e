//! The layers of an image as one read-only disk: a GPT whose partitions are the layers, lowest
//! first, so that any number of layers takes one device.

mod gpt;

pub use gpt::{JoinError, join};
