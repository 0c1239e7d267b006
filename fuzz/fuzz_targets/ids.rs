//! Ids, and names that people choose.
#![no_main]

use bindery_fuzz as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bindery_core::fuzzing::ids(bytes));
