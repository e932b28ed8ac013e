//! The other end of a software host's channel, which breaks every rule.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coracle_software_host::fuzzing::mux(bytes));
