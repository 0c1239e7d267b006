//! Tests only: whole runs of nodes, clients and a store in which anything can go wrong, all from one seed.
//!
//! What runs is the real code of `bindery-node`: an account's desk takes its turns, a node's follower its steps, clients wait on
//! real futures. Everything around it is simulated: the store (`database.rs` keeps its promises, `handle.rs` is a node's way
//! there, where calls fail, hang, and lose their answers), clocks, random numbers, and being killed. Between any two steps,
//! and inside of calls that hang, the dice say what happens next; nothing else does, so a seed is a run (`world.rs`).
//!
//! While it runs, readers hold every node to what it says; afterwards `check.rs` holds every answer against the log.
//! `planted.rs` makes the mistakes that this has to find. Nothing that ships depends on this crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bindery_store::Store;

use crate::handle::Handle;
use crate::world::{World, lock};

mod check;
mod client;
mod database;

mod founded;
mod handle;
mod operation;
mod planted;
mod reader;
mod seat;
mod trace;
mod wish;
mod world;

pub use planted::Plant;
pub use trace::{Counts, Event};

/// Steps of a run before it comes to rest.
const STEPS: (u64, u64) = (20, 180);

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// A number that depends on everything that happened, and on the logs in the end.
    pub digest: u64,
    /// What happened, how often.
    pub counts: Counts,
    /// What happened, line by line, if that was asked for.
    pub lines: Vec<String>,
}

/// Runs one seed to its end.
pub fn run(seed: u64, plant: Option<Plant>, is_told: bool) -> Outcome {
    let world = World::new(seed, plant, is_told);
    let ran = catch_unwind(AssertUnwindSafe(|| go(&world)));
    let checked = match ran {
        Ok(checked) => checked,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without a word")))
        }
    };
    let (violated, trace) = world.take_outcome();
    Outcome {
        broken: violated.or(checked.err()),
        digest: trace.digest,
        counts: trace.counts,
        lines: trace.lines.unwrap_or_default(),
    }
}

fn go(world: &Arc<World>) -> Result<(), String> {
    for seat in 0..world.seats.len() {
        world.start(seat);
    }
    for _ in 0..STEPS.0 + world.below(STEPS.1 - STEPS.0) {
        world.step();
        if world.is_violated() {
            return Ok(());
        }
    }
    world.come_to_rest();
    world.write_once_more();
    world.digest_logs();
    if world.is_violated() {
        return Ok(());
    }
    world.check()
}

impl World {
    /// After all that, each node takes one more command for each account, and the others hear of it.
    fn write_once_more(self: &Arc<Self>) {
        for seat in &self.seats {
            let accounts = seat.node().map(|node| node.accounts()).unwrap_or_default();
            for account in accounts {
                self.last_word(seat.number, account);
            }
            self.flush(seat.number);
        }
        self.settle_down();
        // Whoever waited for one of these has asked something now, and that was noted.
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

/// The simulated store with nothing going wrong and no account in it, for the suite that every store has to pass.
pub fn calm_store() -> impl Store {
    let world = World::new(0, None, false);
    lock(&world.database).ledgers.clear();
    world.calm();
    Handle::keeping(&world)
}
