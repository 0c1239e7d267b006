//! Tests only: whole runs of nodes, clients and a store with all kinds of faults, from one seed.
//!
//! The code of `bindery-node` is real: a desk runs its turns, a follower its steps, clients poll real
//! futures. Everything around it is simulated. `database.rs` keeps all promises of the store; `handle.rs` is
//! a node's connection to it, where calls fail, hang, and lose their responses. Clocks, random numbers and
//! kills are simulated too. Between any two steps, and inside of calls that hang, only the seed decides what
//! happens next, so a seed is a run (`run.rs`).
//!
//! During a run, readers check every node; afterwards `check.rs` compares every response with the log.
//! `planted.rs` makes mistakes that these checks must find. Nothing that ships depends on this crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bindery_store::Store;

use crate::handle::Handle;
use crate::run::{Run, lock};

mod check;
mod client;
mod database;

mod founded;
mod handle;
mod operation;
mod planted;
mod reader;
mod requests;
mod run;
mod seat;
mod trace;

pub use planted::Mistake;
pub use trace::{Counts, Event};

/// Steps of a run before the faults end.
const STEPS: (u64, u64) = (20, 180);

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The first broken promise, if any.
    pub broken: Option<String>,
    /// A number that depends on everything that happened, and on the final logs.
    pub digest: u64,
    /// How often each event happened.
    pub counts: Counts,
    /// The events line by line, if they were requested.
    pub lines: Vec<String>,
}

/// Runs one seed to its end.
pub fn run(seed: u64, mistake: Option<Mistake>, is_told: bool) -> Outcome {
    let run = Run::new(seed, mistake, is_told);
    let ran = catch_unwind(AssertUnwindSafe(|| go(&run)));
    let checked = match ran {
        Ok(checked) => checked,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without a word")))
        }
    };
    let (violated, trace) = run.take_outcome();
    Outcome {
        broken: violated.or(checked.err()),
        digest: trace.digest,
        counts: trace.counts,
        lines: trace.lines.unwrap_or_default(),
    }
}

fn go(run: &Arc<Run>) -> Result<(), String> {
    for seat in 0..run.seats.len() {
        run.start(seat);
    }
    for _ in 0..STEPS.0 + run.below(STEPS.1 - STEPS.0) {
        run.step();
        if run.is_violated() {
            return Ok(());
        }
    }
    run.come_to_rest();
    run.write_once_more();
    run.digest_logs();
    if run.is_violated() {
        return Ok(());
    }
    run.check()
}

impl Run {
    /// At the end each node takes one more command for each account, and the others follow.
    fn write_once_more(self: &Arc<Self>) {
        for seat in &self.seats {
            let accounts = seat.node().map(|node| node.accounts()).unwrap_or_default();
            for account in accounts {
                self.last_word(seat.number, account);
            }
            self.flush(seat.number);
        }
        self.settle_down();
        // Some clients waited for this and have sent a request since, which left an audit entry.
        for seat in &self.seats {
            self.flush(seat.number);
        }
        self.settle_down();
    }

    fn digest_logs(&self) {
        let mut numbers = Vec::new();
        for ledger in lock(&self.database).ledgers.values() {
            for entry in &ledger.entries {
                let of_last = entry.changes.last().map_or(0, |change| change.key().1);
                numbers.extend([entry.revision.0, entry.batch, u64::from(of_last)]);
                numbers.push(entry.at.as_millis().unsigned_abs());
            }
        }
        self.digest(&numbers);
    }
}

/// The simulated store without faults and accounts, for the suite that every store must pass.
pub fn calm_store() -> impl Store {
    let run = Run::new(0, None, false);
    lock(&run.database).ledgers.clear();
    run.calm();
    Handle::keeping(&run)
}
