//! Publishes what is committed, and answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Attempt, Desk, Mode, Separated, Turn};
use crate::account::ExecuteError;

impl Desk {
    /// Ends an attempt whose outcome is known: readers see the new state, and then the callers get their answers.
    pub(super) fn finish(
        &mut self,
        mut attempt: Attempt,
        committed: Result<(), ExecuteError>,
    ) -> Turn {
        self.meters.batch(attempt.commands.len(), committed.is_ok());
        let is_reached = committed != Err(ExecuteError::Unavailable);
        self.takes_writes.store(is_reached, Ordering::Relaxed);
        let notes = std::mem::take(&mut attempt.notes);
        if committed.is_ok() {
            self.notes.settle();
        } else if attempt.commands.is_empty() && committed == Err(ExecuteError::Contradiction) {
            self.notes.give_up(&notes);
        } else {
            self.notes.put_back(notes);
        }
        self.publish();
        self.answer(attempt, committed)
    }

    /// Answers the commands of an attempt. Those of a refused batch are separated instead, unless there was only one to blame.
    pub(super) fn answer(&mut self, attempt: Attempt, committed: Result<(), ExecuteError>) -> Turn {
        let Attempt {
            commands,
            is_single,
            ..
        } = attempt;
        let are_notes_waiting = self.notes.is_waiting();
        let may_blame_another = commands.len() > 1 || are_notes_waiting;
        let is_to_be_separated = !is_single && !commands.is_empty() && may_blame_another;
        if committed == Err(ExecuteError::Contradiction) && is_to_be_separated {
            self.mode = Mode::Separate(Separated {
                are_notes_first: are_notes_waiting,
                commands: commands.into(),
            });
            return Turn::Done;
        }
        for submission in commands {
            submission.answer(committed);
        }
        Turn::Done
    }

    /// Shows the committed state to every reader. The snapshot changes first, and the index while its readers use the snapshot: a
    /// reader who has seen a revision in one of them finds no older one in the other.
    pub(super) fn publish(&mut self) {
        let touched = self.writer.take_touched();
        let state = self.writer.committed();
        if state.position() == self.published.snapshot.load().position() {
            return;
        }
        let next = Arc::new(state.clone());
        let swap = || self.published.snapshot.swap(next);
        let last = self.access.advance(state, &touched, swap);
        // Freeing it and waking waiters take time. Readers of the index need not wait for that.
        drop(last);
        self.directory.learn(self.id, &mut self.heard);
        self.published.revision.send_replace(state.revision());
    }
}
