//! Reads the store to find out what is committed: by this node if an answer was lost, and by others.

use std::sync::atomic::Ordering;

use bindery_store::{AppendError, StoreError};

use super::{Attempt, Desk, Mode, Turn};
use crate::account::{Errand, ExecuteError};
use crate::directory::note_secrets;
use crate::meters::StoreCall;

/// How many entries of the log are read at once.
const LOG_PAGE: usize = 1000;

/// A commit whose answer was lost.
pub(crate) struct Unanswered {
    batch: u64,
    attempt: Attempt,
    /// Whether the log, as far as it was read since, has the batch.
    is_in: bool,
}

impl Unanswered {
    pub(super) fn new(batch: u64, attempt: Attempt) -> Self {
        Self {
            batch,
            attempt,
            is_in: false,
        }
    }
}

/// Why the log doesn't lead from the known position to the newest one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gap {
    /// The entries after it are truncated.
    Forgotten,
    /// The known position is not in the log: it was rolled back.
    Diverged,
}

impl Gap {
    pub(super) fn in_log(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::Forgotten { .. } => Some(Self::Forgotten),
            StoreError::Diverged { .. } => Some(Self::Diverged),
            _ => None,
        }
    }

    pub(super) fn in_append(error: &AppendError) -> Option<Self> {
        match error {
            AppendError::Forgotten { .. } => Some(Self::Forgotten),
            AppendError::Diverged { .. } => Some(Self::Diverged),
            _ => None,
        }
    }
}

impl Desk {
    /// Reads the log to its end, then answers. No caller gets an answer before that: a guess could be wrong.
    pub(super) fn resolve(&mut self, mut lost: Unanswered) -> Turn {
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
                // Only after an outage that outlasted the retention of the log, or if the log was rolled back.
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
                    // No caller waits for an answer, and a process that ends must not wait for a store that may never come back.
                    tracing::error!(%error, account = self.id.0, "the outcome of the last changes can't be read; the log has it");
                    return self.finish(lost.attempt, Err(ExecuteError::Unknown));
                }
                Err(error) => {
                    tracing::error!(%error, account = self.id.0, "the log can't be read yet");
                    self.takes_writes.store(false, Ordering::Relaxed);
                    self.mode = Mode::Resolve {
                        lost,
                        then: Box::new(std::mem::take(&mut self.mode)),
                    };
                    return Turn::Later;
                }
            }
        }
    }

    /// Reads what others have appended, as far as the log can be read. Returns whether it reached the end.
    pub(crate) fn catch_up(&mut self) -> bool {
        let mut is_bridged = false;
        loop {
            let known = self.writer.known();
            let changes = self.store.changes_since(self.id, known, LOG_PAGE);
            match self.meters.watch(StoreCall::Changes, changes) {
                Ok(entries) => {
                    note_secrets(&entries, &mut self.heard);
                    self.writer.follow(&entries);
                    self.publish();
                    if entries.len() < LOG_PAGE {
                        return true;
                    }
                }
                // Only once: if the log does not continue from its own records it is damaged, and reading
                // again does not help.
                Err(error) if !is_bridged && self.bridge(Gap::in_log(&error)) => is_bridged = true,
                Err(error) => {
                    tracing::warn!(%error, account = self.id.0, "changes of other servers can't be read yet");
                    return false;
                }
            }
        }
    }

    /// Loads the account anew if there is a gap in the log. Returns whether it did.
    pub(super) fn bridge(&mut self, gap: Option<Gap>) -> bool {
        let Some(gap) = gap else {
            return false;
        };
        let loaded = self.store.load(self.id);
        match self.meters.watch(StoreCall::Load, loaded) {
            Ok(state) => {
                let known = self.writer.known().revision.0;
                let newest = state.revision().0;
                match gap {
                    Gap::Forgotten => tracing::warn!(
                        account = self.id.0,
                        known,
                        newest,
                        "the log is truncated after the last known revision: reloading the account"
                    ),
                    Gap::Diverged => {
                        self.meters.diverged.count();
                        tracing::error!(
                            account = self.id.0,
                            known,
                            newest,
                            "the log was rolled back: the store was restored, or a server without the last changes took over. \
                            Reloading the account"
                        );
                    }
                }
                self.writer.reload(state);
                if matches!(gap, Gap::Diverged) {
                    self.turn_away();
                    self.forget_uses();
                }
                self.publish();
                if matches!(gap, Gap::Diverged) {
                    // Set this after the publish: results from the old state must not be taken for results
                    // from the new one.
                    self.published.divergences.fetch_add(1, Ordering::AcqRel);
                }
                // After readers can see them, as in `publish`.
                self.directory
                    .add(self.id, self.writer.committed().api_keys());
                true
            }
            Err(error) => {
                tracing::error!(%error, account = self.id.0, "the account can't be reloaded yet");
                false
            }
        }
    }

    /// Refuses all commands that wait. Their key or user may be one that the log has lost, and its number may be issued again: they could
    /// be taken for another caller's.
    fn turn_away(&mut self) {
        let mut queued = Vec::new();
        if let Mode::Separate(separated) = &mut self.mode {
            queued.extend(separated.commands.drain(..));
        }
        for _ in 0..=self.waiting.len() {
            let errand = self.first.take().or_else(|| self.waiting.try_recv().ok());
            match errand {
                Some(Errand::Commit(submission)) => queued.push(submission),
                Some(Errand::CatchUp) => self.is_called.store(false, Ordering::Release),
                None => break,
            }
        }
        for submission in queued {
            submission.answer(Err(ExecuteError::Unavailable));
        }
    }

    /// Key ids may belong to other keys now, or to none: take their last uses from the store.
    fn forget_uses(&self) {
        let uses = self.store.key_uses(self.id);
        match self.meters.watch(StoreCall::Load, uses) {
            Ok(uses) => self.notes.take_uses(uses),
            Err(error) => tracing::error!(
                %error,
                account = self.id.0,
                "last uses of keys can't be read yet; those of lost keys may be shown"
            ),
        }
    }
}
