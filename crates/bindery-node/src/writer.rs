//! The writer's decisions, without IO: what a batch is made of, and what a commit whose answer was lost came to. The
//! thread around it only moves things between the queue, the store and the readers.

use bindery_core::access::Touched;
use bindery_core::change::{Entry, LogPosition};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::Batch;

use crate::submission::Submission;

/// One account's writer: the newest state it knows, and the one it is working on.
pub(crate) struct Writer {
    committed: State,
    working: State,
    /// Which facts of decisions have changed since [`Writer::take_touched`].
    touched: Vec<Touched>,
    /// Which more change by what is worked on.
    touched_by_work: Vec<Touched>,
}

impl Writer {
    pub(crate) fn new(state: State) -> Self {
        Self {
            committed: state.clone(),
            working: state,
            touched: Vec::new(),
            touched_by_work: Vec::new(),
        }
    }

    /// The newest committed state.
    pub(crate) fn committed(&self) -> &State {
        &self.committed
    }

    /// Which facts of decisions have changed since the last time this was asked.
    pub(crate) fn take_touched(&mut self) -> Vec<Touched> {
        std::mem::take(&mut self.touched)
    }

    /// Where the log has come to, as far as this writer knows: what the next append builds on.
    pub(crate) fn known(&self) -> LogPosition {
        self.committed.position()
    }

    /// The moment of the last change in the state that is worked on.
    pub(crate) fn known_time(&self) -> Timestamp {
        self.working.latest()
    }

    /// Makes a batch of the queue on the newest state: first what other nodes appended, then each command in turn on the
    /// state that the one before it left.
    pub(crate) fn make_batch(
        &mut self,
        appended: &[Entry],
        queue: &mut [Box<dyn Submission>],
        clock: Timestamp,
        batch: u64,
    ) -> Batch {
        self.follow(appended);
        let mut made = Batch::default();
        for submission in queue {
            // A clock that was set back doesn't take the order of the log with it.
            let now = clock.max(self.working.latest());
            let decided = submission.decide(&self.working, now, batch);
            if let Some(entry) = decided.entry {
                self.working
                    .advance_noting(&entry, &mut self.touched_by_work);
                made.entries.push(entry);
            }
            made.audit.extend(decided.audit);
        }
        made
    }

    /// The batch is safe: what was worked on is what is committed.
    pub(crate) fn commit(&mut self) {
        self.committed = self.working.clone();
        self.touched.append(&mut self.touched_by_work);
    }

    /// Nothing of the batch was written.
    pub(crate) fn abandon(&mut self) {
        self.working = self.committed.clone();
        self.touched_by_work.clear();
    }

    /// Takes in what the log says after [`Writer::known`].
    pub(crate) fn follow(&mut self, log: &[Entry]) {
        for entry in log {
            self.committed.advance_noting(entry, &mut self.touched);
        }
        self.abandon();
    }

    /// Begins anew with another state: the entries in between are forgotten, or the log has lost what led to the one before.
    pub(crate) fn reload(&mut self, state: State) {
        self.touched
            .append(&mut Touched::between(&self.committed, &state));
        self.committed = state;
        self.abandon();
    }

    /// The answer of a commit was lost, and this is what the log says after [`Writer::known`]. Takes it in, and tells
    /// whether the batch with this number is in it.
    pub(crate) fn resolve(&mut self, log: &[Entry], batch: u64) -> bool {
        self.follow(log);
        log.iter().any(|entry| entry.batch == batch)
    }
}
