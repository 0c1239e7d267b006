//! Sends one batch to the store.

use std::time::Instant;

use bindery_core::id::Revision;
use bindery_store::{AppendError, Batch};

use super::outcome::LostCommit;
use super::reload::Gap;
use super::{Attempt, Desk, Turn};
use crate::account::ExecuteError;
use crate::clock::ClockAhead;
use crate::directory::note_secrets;
use crate::meters::StoreCall;

impl Desk {
    /// Commits the commands of an attempt, with pending audit entries and uses of keys, as one batch.
    pub(super) fn commit(&mut self, mut attempt: Attempt) -> Turn {
        let batch = match self.random.batch() {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, account = self.id.0, "the system returned no random numbers");
                return self.respond_or_separate(attempt, Err(ExecuteError::Unavailable));
            }
        };
        // A single command is tested alone: the pending entries must not make it fail.
        if !attempt.is_single {
            attempt.notes = self.notes.take();
        }
        let began = Instant::now();
        let appended = match self.append(batch, &mut attempt) {
            // Nothing was decided yet, so decide again on the new state. Not after a rollback: ids of the callers may belong to others now.
            Err(error) if self.bridge(Gap::in_append(&error)) => match error {
                AppendError::Forgotten { .. } => self.append(batch, &mut attempt),
                error => {
                    attempt.notes.forget_uses();
                    Err(error)
                }
            },
            appended => appended,
        };
        self.meters.append_micros.observe_micros(began.elapsed());
        let committed = match self.meters.watch(StoreCall::Append, appended) {
            Ok(_) => {
                self.writer.commit();
                Ok(())
            }
            Err(AppendError::Unknown(cause)) => {
                tracing::error!(%cause, account = self.id.0, "the response to a commit was lost; reading the log");
                self.writer.abandon();
                self.meters.lost.count();
                self.lost = Some(LostCommit::new(batch, attempt));
                return Turn::Done;
            }
            Err(
                error @ (AppendError::Unavailable(_)
                | AppendError::Forgotten { .. }
                | AppendError::Diverged { .. }),
            ) => {
                tracing::error!(%error, account = self.id.0, "a batch was not committed");
                self.writer.abandon();
                Err(ExecuteError::Unavailable)
            }
            Err(error @ AppendError::Contradiction(_)) => {
                tracing::error!(%error, account = self.id.0, "a batch was refused by the store");
                self.writer.abandon();
                Err(ExecuteError::Contradiction)
            }
        };
        self.finish(attempt, committed)
    }

    fn append(&mut self, batch: u64, attempt: &mut Attempt) -> Result<Revision, AppendError> {
        let mut ahead = match self.append_unless_ahead(batch, attempt) {
            Ok(appended) => return appended,
            Err(ahead) => ahead,
        };
        // If the machine was paused and its clock is right again, the database's clock shows it.
        if self.guard.ask(&*self.store) {
            match self.append_unless_ahead(batch, attempt) {
                Ok(appended) => return appended,
                // With the newest time of the database.
                Err(still) => ahead = still,
            }
        }
        self.meters.clock_refusals.count();
        Err(AppendError::Unavailable(ahead.into()))
    }

    /// Appends, unless the clock has run ahead.
    fn append_unless_ahead(
        &mut self,
        batch: u64,
        attempt: &mut Attempt,
    ) -> Result<Result<Revision, AppendError>, ClockAhead> {
        let known = self.writer.known();
        let Self {
            id,
            writer,
            guard,
            heard,
            usage,
            ..
        } = self;
        let mut decided_at = Ok(None);
        let appended = self.store.append(*id, known, &mut |appended| {
            let now = guard.now();
            decided_at = guard.check(now).map(|()| Some(now));
            if decided_at.is_err() {
                return Batch::default();
            }
            usage.begin_day(now);
            let mut made = writer.make_batch(appended, &mut attempt.commands, now, batch);
            attempt
                .notes
                .add_to(&mut made, now.max(writer.known_time()));
            note_secrets(appended, heard);
            note_secrets(&made.entries, heard);
            made
        });
        if let Some(now) = decided_at?
            && appended.is_ok()
        {
            guard.trust(now);
        }
        Ok(appended)
    }
}
