//! A guest's archive, which is to leave its directory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coracle_engine::fuzzing::unpack(bytes));
