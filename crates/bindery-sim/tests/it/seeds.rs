//! Runs that have to be clean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bindery_sim::{Counts, Event, run};

/// How many seeds the suite runs; `cargo xtask simulate` runs others.
const SEEDS: u64 = 4_000;

fn is_clean(seed: u64) -> Counts {
    let outcome = run(seed, None, false);
    assert_eq!(
        outcome.broken, None,
        "told by `cargo xtask simulate --seed {seed}`"
    );
    outcome.counts
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_put_in_another_order() {
    let next = AtomicU64::new(1);
    let counts = Mutex::new(Counts::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    let counted = is_clean(seed);
                    counts
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .add(&counted);
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap_or_default();
    for event in Event::ALL {
        let count = counts.of(*event);
        assert!(
            count > 0,
            "in {SEEDS} seeds there were no {}",
            event.words()
        );
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 1..=200 {
        let (first, again) = (run(seed, None, false), run(seed, None, true));
        assert_eq!(first.digest, again.digest, "seed {seed}");
        assert_eq!(first.counts, again.counts, "seed {seed}");
        assert!(!again.lines.is_empty());
    }
    assert_ne!(run(1, None, false).digest, run(2, None, false).digest);
}
