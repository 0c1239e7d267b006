//! Checks a property on generated histories, from a seed that a failure prints and `BINDERY_SEED` sets.

#![expect(clippy::panic, reason = "a failing case fails its test")]

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;

use bindery_model::history::{History, histories};
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestError, TestRunner};

/// A history that breaks a property, shortened.
#[derive(Debug)]
pub(crate) struct Counterexample {
    pub(crate) history: History,
    pub(crate) reason: String,
}

/// Checks the property on this many histories of this length.
pub(crate) fn check(
    cases: u32,
    length: Range<usize>,
    property: impl Fn(&History) -> TestCaseResult,
) {
    check_until(|| true, cases, length, property);
}

/// Checks the property on this many histories, and again on as many until enough of the relevant cases
/// occurred: rare cases do not occur as often with every seed.
pub(crate) fn check_until(
    seen_enough: impl Fn() -> bool,
    cases: u32,
    length: Range<usize>,
    property: impl Fn(&History) -> TestCaseResult,
) {
    const ROUNDS_MAX: u64 = 16;
    let first = seed();
    for round in 0..ROUNDS_MAX {
        let seed = first.wrapping_add(round);
        if let Some(Counterexample { history, reason }) =
            break_it(seed, cases, length.clone(), &property)
        {
            panic!("BINDERY_SEED={seed}\n{reason}\nby {history:?}");
        }
        if seen_enough() {
            return;
        }
    }
    panic!("BINDERY_SEED={first}\nnot enough was seen in {ROUNDS_MAX} rounds of {cases} histories");
}

/// Looks for a history that breaks the property, and shortens it.
pub(crate) fn break_it(
    seed: u64,
    cases: u32,
    length: Range<usize>,
    property: impl Fn(&History) -> TestCaseResult,
) -> Option<Counterexample> {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    });
    match runner.run(&histories(length), |history| property(&history)) {
        Ok(()) => None,
        Err(TestError::Abort(reason)) => panic!("BINDERY_SEED={seed}\n{reason}"),
        Err(TestError::Fail(reason, history)) => {
            let reason = reason.to_string();
            Some(shorten(Counterexample { history, reason }, property))
        }
    }
}

/// The given seed, or a new one.
pub(crate) fn seed() -> u64 {
    match std::env::var("BINDERY_SEED") {
        Ok(text) => text.parse().expect("BINDERY_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    }
}

/// Removes steps while the property stays broken. Proptest removes steps first and simplifies the rest
/// afterwards; a simplified history often needs fewer steps.
fn shorten(
    mut found: Counterexample,
    property: impl Fn(&History) -> TestCaseResult,
) -> Counterexample {
    let mut place = 0;
    while place < found.history.steps.len() {
        let mut history = found.history.clone();
        history.steps.remove(place);
        match property(&history) {
            Ok(()) => place += 1,
            Err(reason) => {
                let reason = reason.to_string();
                found = Counterexample { history, reason };
                place = 0;
            }
        }
    }
    found
}
