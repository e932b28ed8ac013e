//! A keeper whose monitor, guest and clients say anything in any order.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coracle_engine::fuzzing::keeper(bytes));
