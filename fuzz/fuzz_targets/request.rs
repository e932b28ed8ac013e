//! What a client of the Docker Engine API sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coracle_api::fuzzing::request(bytes));
