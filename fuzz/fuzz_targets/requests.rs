//! The bytes of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bindery_api::fuzzing::requests(bytes));
