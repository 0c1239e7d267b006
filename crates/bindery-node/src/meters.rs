//! Counters for monitoring. Written without a lock and read at any time. `bindery-api` gives them their
//! public names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds this many.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of durations, in microseconds.
pub static MICROS: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000,
    5_000_000,
];
/// Upper bounds of sizes.
static SIZES: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// A histogram.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for everything above.
    counts: Box<[Counter]>,
    sum: Counter,
}

impl Histogram {
    /// With these upper bounds, each inclusive.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| Counter::default()).collect(),
            sum: Counter::default(),
        }
    }

    /// Counts a number.
    pub fn observe(&self, number: u64) {
        let place = self.bounds.partition_point(|bound| *bound < number);
        self.counts[place].count();
        self.sum.add(number);
    }

    /// Counts a duration, in microseconds.
    pub fn observe_micros(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Each bound with the count between the previous bound and it, then the count above all, and the sum of
    /// all numbers.
    pub fn read(&self) -> (impl Iterator<Item = (Option<u64>, u64)>, u64) {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.counts.iter().map(Counter::get);
        (bounds.zip(counts), self.sum.get())
    }
}

/// The call to the store that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall {
    /// Appends.
    Append,
    /// Reads of the log.
    Changes,
    /// Loads of whole accounts.
    Load,
    /// Polls of revisions.
    Heads,
    /// Look-ups of secrets and addresses.
    Lookup,
    /// Reads and truncation of the audit log.
    Audit,
}

impl StoreCall {
    /// All calls, in order.
    pub const ALL: [Self; 6] = [
        Self::Append,
        Self::Changes,
        Self::Load,
        Self::Heads,
        Self::Lookup,
        Self::Audit,
    ];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Changes => "changes",
            Self::Load => "load",
            Self::Heads => "heads",
            Self::Lookup => "lookup",
            Self::Audit => "audit",
        }
    }
}

/// The counters of a process's accounts.
#[derive(Debug)]
pub struct Meters {
    /// Committed batches, including those found in the log after a lost response.
    pub committed: Counter,
    /// Batches that were not committed: the store was unreachable, or refused.
    pub not_committed: Counter,
    /// Batches that were not sent to the store because the clock had run ahead.
    pub clock_refusals: Counter,
    /// Commits without a response.
    pub lost: Counter,
    /// Of these, those that the log was found to have.
    pub lost_and_found: Counter,
    /// Rollbacks: times that the log no longer had changes that were known here.
    pub diverged: Counter,
    /// Durations of appends, in microseconds.
    pub append_micros: Histogram,
    /// Commands in each append.
    pub append_commands: Histogram,
    /// Accounts that were loaded.
    pub loads: Counter,
    /// Durations of loads, in microseconds.
    pub load_micros: Histogram,
    /// Idle accounts that were unloaded.
    pub evictions: Counter,
    /// Secrets that were unknown here, and looked up in the store.
    pub looked_up: Counter,
    /// Secrets that the store had just reported as unknown.
    pub known_as_unknown: Counter,
    /// Queries that looked secrets up.
    pub lookups: Counter,
    /// Secrets that were not looked up because too many requests waited.
    pub lookups_refused: Counter,
    store_errors: [Counter; StoreCall::ALL.len()],
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            committed: Counter::default(),
            not_committed: Counter::default(),
            clock_refusals: Counter::default(),
            lost: Counter::default(),
            lost_and_found: Counter::default(),
            diverged: Counter::default(),
            append_micros: Histogram::new(&MICROS),
            append_commands: Histogram::new(&SIZES),
            loads: Counter::default(),
            load_micros: Histogram::new(&MICROS),
            evictions: Counter::default(),
            looked_up: Counter::default(),
            known_as_unknown: Counter::default(),
            lookups: Counter::default(),
            lookups_refused: Counter::default(),
            store_errors: Default::default(),
        }
    }

    /// Counts a finished batch.
    pub(crate) fn batch(&self, commands: usize, is_committed: bool) {
        if is_committed {
            self.committed.count();
        } else {
            self.not_committed.count();
        }
        let commands = u64::try_from(commands).unwrap_or(u64::MAX);
        self.append_commands.observe(commands);
    }

    /// How often this call to the store failed.
    pub fn store_errors(&self, call: StoreCall) -> &Counter {
        &self.store_errors[call as usize]
    }

    /// Counts the result if it is an error.
    pub fn watch<T, E>(&self, call: StoreCall, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.store_errors(call).count();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        let histogram = Histogram::new(&[1, 10]);
        for number in [0, 1, 2, 10, 11, 1_000] {
            histogram.observe(number);
        }
        let (counts, sum) = histogram.read();
        let counts: Vec<_> = counts.collect();
        assert_eq!(counts, [(Some(1), 2), (Some(10), 2), (None, 2)]);
        assert_eq!(sum, 1_024);
    }

    #[test]
    fn every_call_of_the_store_has_a_count_of_its_own() {
        let meters = Meters::new();
        for call in StoreCall::ALL {
            let failed: Result<(), ()> = meters.watch(call, Err(()));
            assert_eq!(failed, Err(()));
        }
        for call in StoreCall::ALL {
            assert_eq!(meters.store_errors(call).get(), 1, "{call:?}");
        }
    }
}
