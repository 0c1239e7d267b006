//! Publishes what is committed, and responds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Attempt, Desk, Mode, Separated, Turn};
use crate::account::ExecuteError;

impl Desk {
    /// The outcome of an attempt is known: publishes it, then responds.
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
        self.respond_or_separate(attempt, committed)
    }

    /// Responds to the commands of an attempt. If it was refused and has more than one part to blame, separates them instead.
    pub(super) fn respond_or_separate(
        &mut self,
        attempt: Attempt,
        committed: Result<(), ExecuteError>,
    ) -> Turn {
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

    /// Shows the committed state to every reader. The state is published inside the index's section, while readers of the index are sent
    /// to it. So a caller who has seen a revision in one of the two finds no older one in the other.
    pub(super) fn publish(&mut self) {
        let touched = self.writer.take_touched();
        let state = self.writer.committed();
        if state.position() == self.published.snapshot.load().position() {
            return;
        }
        let next = Arc::new(state.clone());
        let swap = || self.published.snapshot.swap(next);
        let last = self.access.advance(state, &touched, swap);
        // Outside of the section: freeing the old state and waking waiters takes time.
        drop(last);
        self.directory.learn(self.id, &mut self.heard);
        self.published.revision.send_replace(state.revision());
    }
}
