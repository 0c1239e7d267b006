//! Cursors, page tokens, and other short texts of a request.
#![no_main]

use bindery_fuzz as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bindery_api::fuzzing::tokens(bytes));
