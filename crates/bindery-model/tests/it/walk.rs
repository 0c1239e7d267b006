//! An attacker with few rights gains nothing, takes nothing and outlives nothing, while administrators act beside it.

#![expect(clippy::print_stdout, reason = "the numbers say what was tested")]

use bindery_model::walk::{Planted, run};

use crate::runner::seed;

const CALLS: u64 = 4_000;
/// Enough for each of the mistakes, from this seed.
const PLANTED_CALLS: u64 = 60_000;

#[test]
fn an_attacker_beside_administrators_gains_nothing_that_was_not_given() {
    let outcome = run(seed(), CALLS, None);
    println!("{outcome:?}");
    if let Some(broken) = outcome.broken {
        let calls = broken.calls.join("\n");
        panic!("BINDERY_SEED={}\n{calls}\n{}", broken.seed, broken.what);
    }
    assert!(
        outcome.changed > 0 && outcome.as_victims > 0,
        "it gets nowhere"
    );
}

fn assert_found(planted: Planted) {
    let outcome = run(1, PLANTED_CALLS, Some(planted));
    let calls = outcome.calls;
    let broken = outcome.broken.expect("the mistake is found");
    println!("{planted:?} after {calls} calls: {}", broken.what);
}

#[test]
fn a_walk_finds_a_known_password_that_stays_good_after_a_promotion() {
    assert_found(Planted::KnownPasswordsStay);
}

#[test]
fn a_walk_finds_a_right_to_add_that_replaces() {
    assert_found(Planted::AddingReplaces);
}

#[test]
fn a_walk_finds_a_key_that_outlives_the_service_key_that_made_it() {
    assert_found(Planted::MadeKeysOutlive);
}

#[test]
fn a_walk_finds_a_key_that_survives_the_revocation_of_its_maker() {
    assert_found(Planted::MadeKeysSurvive);
}

#[test]
fn a_seed_is_a_walk() {
    let one = run(7, 500, None);
    let again = run(7, 500, None);
    assert_eq!(format!("{one:?}"), format!("{again:?}"));
}
