//! The corpus of the fuzz targets, as plain tests.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose setting can't be made has failed"
)]

use std::fs;
use std::path::Path;

fn run(target: &str, fuzz: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut count = 0;
    for entry in fs::read_dir(corpus.join(target)).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // A panic names no file by itself.
        let ended = std::panic::catch_unwind(|| fuzz(&bytes));
        assert!(ended.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{target} has no corpus");
}

#[test]
fn every_id_of_the_corpus_has_one_spelling() {
    run("ids", bindery_core::fuzzing::ids);
}

#[test]
fn what_is_stored_in_the_corpus_is_the_same_when_it_is_written_again() {
    run("records", bindery_core::fuzzing::records);
}
