//! What others say to commands, keepers and brokers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coracle::fuzzing::wire(bytes));
