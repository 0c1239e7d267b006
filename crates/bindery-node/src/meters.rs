//! Counts of what happens here, for whoever watches the process. Written without a lock and read at any time; what they are called
//! outside, `bindery-api` says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
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

/// Counts numbers by their size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is above all of them.
    counts: Box<[Counter]>,
    sum: Counter,
}

impl Histogram {
    /// With these bounds, each of which belongs to what is below it.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| Counter::default()).collect(),
            sum: Counter::default(),
        }
    }

    /// One more number.
    pub fn observe(&self, number: u64) {
        let place = self.bounds.partition_point(|bound| *bound < number);
        self.counts[place].count();
        self.sum.add(number);
    }

    /// One more duration, in microseconds.
    pub fn observe_micros(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Each bound with how many were below it and above the one before, then those above all, and the sum of all.
    pub fn read(&self) -> (impl Iterator<Item = (Option<u64>, u64)>, u64) {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.counts.iter().map(Counter::get);
        (bounds.zip(counts), self.sum.get())
    }
}

/// What a store was asked for when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall {
    /// To append.
    Append,
    /// For the log.
    Changes,
    /// For whole accounts.
    Load,
    /// How far accounts have come.
    Heads,
    /// Where secrets lead, and who has an address.
    Lookup,
    /// For the audit log, or to forget some of it.
    Audit,
}

impl StoreCall {
    /// All of them, in their order.
    pub const ALL: [Self; 6] = [
        Self::Append,
        Self::Changes,
        Self::Load,
        Self::Heads,
        Self::Lookup,
        Self::Audit,
    ];

    /// Its name.
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

/// What a process's accounts count.
#[derive(Debug)]
pub struct Meters {
    /// Batches that are committed, resolved ones included.
    pub committed: Counter,
    /// Batches that were not committed: the store couldn't be reached, or refused.
    pub not_committed: Counter,
    /// Batches that were not given to the store because the clock had run ahead.
    pub clock_refusals: Counter,
    /// Commits whose answer was lost.
    pub lost: Counter,
    /// Of these, those that the log was found to have.
    pub lost_and_found: Counter,
    /// Times that the store had lost changes of an account that were known here.
    pub diverged: Counter,
    /// How long appends took, in microseconds.
    pub append_micros: Histogram,
    /// How many commands they had.
    pub append_commands: Histogram,
    /// Accounts that were loaded.
    pub loads: Counter,
    /// How long loading took, in microseconds.
    pub load_micros: Histogram,
    /// Accounts that were given up because nobody used them.
    pub evictions: Counter,
    /// Secrets that were not known here, and looked up in the store.
    pub looked_up: Counter,
    /// Secrets that nobody has, as the store had just said.
    pub known_as_unknown: Counter,
    /// Queries that looked secrets up.
    pub lookups: Counter,
    /// Secrets that were not looked up because too many requests were waiting.
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

    /// A batch of so many commands has come to its end.
    pub(crate) fn batch(&self, commands: usize, is_committed: bool) {
        if is_committed {
            self.committed.count();
        } else {
            self.not_committed.count();
        }
        let commands = u64::try_from(commands).unwrap_or(u64::MAX);
        self.append_commands.observe(commands);
    }

    /// How often the store failed when it was asked for this.
    pub fn store_errors(&self, call: StoreCall) -> &Counter {
        &self.store_errors[call as usize]
    }

    /// Counts a failure of the store.
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
