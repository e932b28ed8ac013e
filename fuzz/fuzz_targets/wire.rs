//! What others say to commands, keepers and brokers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    coracle_engine::fuzzing::wire(bytes);
    coracle_software_host::fuzzing::wire(bytes);
});
