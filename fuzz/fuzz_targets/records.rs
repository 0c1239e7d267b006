//! Stored CBOR.
#![no_main]

use bindery_fuzz as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bindery_core::fuzzing::records(bytes));
