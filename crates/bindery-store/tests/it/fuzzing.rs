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
        // A panic does not name the file.
        let ended = std::panic::catch_unwind(|| fuzz(&bytes));
        assert!(ended.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{target} has no corpus");
}

#[test]
fn every_backup_of_the_corpus_is_refused_or_written_again_as_it_is() {
    run("backups", bindery_store::fuzzing::backups);
}
