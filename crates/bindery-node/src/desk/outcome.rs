//! Finds the outcome of a commit whose response was lost.

use std::sync::atomic::Ordering;

use bindery_store::StoreError;

use super::reload::{Gap, LOG_PAGE};
use super::{Attempt, Desk, Turn};
use crate::account::ExecuteError;
use crate::directory::note_secrets;
use crate::meters::StoreCall;

/// A commit whose response was lost.
pub(crate) struct LostCommit {
    batch: u64,
    attempt: Attempt,
    /// Whether the log has the batch, as far as it was read since.
    is_in: bool,
}

impl LostCommit {
    pub(super) fn new(batch: u64, attempt: Attempt) -> Self {
        Self {
            batch,
            attempt,
            is_in: false,
        }
    }
}

impl Desk {
    /// Reads the log to its end. No client gets a response before that: a guess could be wrong.
    pub(super) fn resolve(&mut self, mut lost: LostCommit) -> Turn {
        loop {
            let known = self.writer.known();
            let changes = self.store.changes_since(self.id, known, LOG_PAGE);
            match self.meters.watch(StoreCall::Changes, changes) {
                Ok(entries) if entries.is_empty() => {
                    if lost.is_in {
                        self.meters.lost_and_found.count();
                    }
                    let committed = lost.is_in.then_some(()).ok_or(ExecuteError::Unavailable);
                    return self.finish(lost.attempt, committed);
                }
                Ok(entries) => {
                    note_secrets(&entries, &mut self.heard);
                    lost.is_in |= self.writer.resolve(&entries, lost.batch);
                }
                // Only after an outage longer than the log is kept, or after a rollback.
                Err(error) if self.bridge(Gap::in_log(&error)) => {
                    let is_whole = matches!(error, StoreError::Forgotten { .. });
                    if !is_whole {
                        lost.attempt.notes.forget_uses();
                    }
                    let is_in = lost.is_in && is_whole;
                    let committed = is_in.then_some(()).ok_or(ExecuteError::Unknown);
                    return self.finish(lost.attempt, committed);
                }
                Err(error @ StoreError::NoAccount(_)) => {
                    tracing::error!(%error, account = self.id.0, "the outcome of the last changes is unknown");
                    return self.finish(lost.attempt, Err(ExecuteError::Unknown));
                }
                Err(error) if self.waiting.is_closed() => {
                    // No client waits for a response any more. A process that stops must not wait for a store that may never come back.
                    tracing::error!(%error, account = self.id.0, "the outcome of the last changes can't be read; the log has it");
                    return self.finish(lost.attempt, Err(ExecuteError::Unknown));
                }
                Err(error) => {
                    tracing::error!(%error, account = self.id.0, "the log can't be read yet");
                    self.takes_writes.store(false, Ordering::Relaxed);
                    self.lost = Some(lost);
                    return Turn::Later;
                }
            }
        }
    }
}
