//! The corpus of the fuzz targets, as plain tests.

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
fn hyper_finds_the_requests_of_the_corpus_where_they_were_delimited() {
    run("requests", bindery_api::fuzzing::requests);
}

#[test]
fn every_body_of_the_corpus_is_read_as_the_same_in_another_spelling() {
    run("bodies", bindery_api::fuzzing::bodies);
}

#[test]
fn no_token_of_the_corpus_is_accepted_unless_it_was_given_out() {
    run("tokens", bindery_api::fuzzing::tokens);
}
