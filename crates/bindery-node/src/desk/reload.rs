//! Reads what others have appended, and reloads the account where the log does not lead there.

use std::sync::atomic::Ordering;

use bindery_store::{AppendError, StoreError};

use super::{Desk, Mode};
use crate::account::{Errand, ExecuteError};
use crate::directory::{note_keys, note_secrets};
use crate::meters::StoreCall;

/// How many entries of the log are read at once.
pub(super) const LOG_PAGE: usize = 1000;

/// Why the log does not continue from the known position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gap {
    /// The log is truncated after the known position.
    Forgotten,
    /// The known position is not in the log: the log was rolled back, or does not reach it yet.
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
                // Only once: if the log does not continue from its own records it is damaged, and reading again does not help.
                Err(error) if !is_bridged && self.bridge(Gap::in_log(&error)) => is_bridged = true,
                Err(error) => {
                    tracing::warn!(%error, account = self.id.0, "changes of other servers can't be read yet");
                    return false;
                }
            }
        }
    }

    /// Reloads the account from its records if there is a gap in the log. Returns whether it did.
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
                // `publish` adds them to the directory, before anyone who waits for the revision goes on.
                note_keys(self.writer.committed().api_keys(), &mut self.heard);
                if matches!(gap, Gap::Diverged) {
                    self.turn_away();
                    self.forget_uses();
                }
                self.publish();
                if matches!(gap, Gap::Diverged) {
                    // After the publish: results from the old state must not be taken for results from the new one.
                    self.published.divergences.fetch_add(1, Ordering::AcqRel);
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, account = self.id.0, "the account can't be reloaded yet");
                false
            }
        }
    }

    /// Refuses all queued commands. Their keys or users may be lost, and lost ids are assigned again, so a command could act for the
    /// wrong person.
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

    /// Key ids may belong to other keys now, or to none: takes their last uses from the store.
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
