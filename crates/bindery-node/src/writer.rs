//! The writer's decisions, without IO: the content of a batch, and the outcome of a commit without a
//! response. The thread around it only moves data between the queue, the store and the readers.

use bindery_core::access::Touched;
use bindery_core::change::{Entry, LogPosition};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::Batch;

use crate::submission::Submission;

/// One account's writer: the newest committed state, and the one it is working on.
pub(crate) struct Writer {
    committed: State,
    working: State,
    /// Facts of decisions that changed since [`Writer::take_touched`].
    touched: Vec<Touched>,
    /// Facts that the uncommitted work changes.
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

    /// Facts of decisions that changed since the last call.
    pub(crate) fn take_touched(&mut self) -> Vec<Touched> {
        std::mem::take(&mut self.touched)
    }

    /// The newest log position that this writer knows; the next append builds on it.
    pub(crate) fn known(&self) -> LogPosition {
        self.committed.position()
    }

    /// The time of the last change in the working state.
    pub(crate) fn known_time(&self) -> Timestamp {
        self.working.latest()
    }

    /// Makes a batch of the queue on the newest state: first what other nodes appended, then each command on
    /// the state that the previous one left.
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
            // Setting the clock back must not change the order in the log.
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

    /// The batch is committed: the working state becomes the committed one.
    pub(crate) fn commit(&mut self) {
        self.committed = self.working.clone();
        self.touched.append(&mut self.touched_by_work);
    }

    /// Nothing of the batch was written.
    pub(crate) fn abandon(&mut self) {
        self.working = self.committed.clone();
        self.touched_by_work.clear();
    }

    /// Applies what the log has after [`Writer::known`].
    pub(crate) fn follow(&mut self, log: &[Entry]) {
        for entry in log {
            self.committed.advance_noting(entry, &mut self.touched);
        }
        self.abandon();
    }

    /// Continues with another state: the entries in between are truncated, or the log was rolled back.
    pub(crate) fn reload(&mut self, state: State) {
        self.touched
            .append(&mut Touched::between(&self.committed, &state));
        self.committed = state;
        self.abandon();
    }

    /// After a lost response: applies what the log has after [`Writer::known`], and returns whether the batch
    /// with this number is in it.
    pub(crate) fn resolve(&mut self, log: &[Entry], batch: u64) -> bool {
        self.follow(log);
        log.iter().any(|entry| entry.batch == batch)
    }
}
