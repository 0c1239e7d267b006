//! Mistakes planted on purpose: each is found, and soon.

use bindery_sim::{Mistake, run};

/// Each mistake must be found within this many seeds.
const SEEDS: u64 = 1_000;

#[test]
fn every_planted_mistake_is_found() {
    for mistake in Mistake::ALL {
        let found = (1..=SEEDS).find(|seed| run(*seed, Some(mistake), false).broken.is_some());
        assert!(
            found.is_some(),
            "{mistake:?} was not found within {SEEDS} seeds"
        );
    }
}
