//! Sends one batch to the store.

use std::time::Instant;

use bindery_core::id::Revision;
use bindery_store::{AppendError, Batch};

use super::outcome::{Gap, Unanswered};
use super::{Attempt, Desk, Mode, Turn};
use crate::account::ExecuteError;
use crate::clock::ClockAhead;
use crate::directory::note_secrets;
use crate::meters::StoreCall;

impl Desk {
    /// Commits the commands of an attempt, with pending audit entries, as one batch.
    pub(super) fn commit(&mut self, mut attempt: Attempt) -> Turn {
        let batch = match self.random.batch() {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, account = self.id.0, "the system returned no random numbers");
                return self.answer(attempt, Err(ExecuteError::Unavailable));
            }
        };
        // A single command shows whether it is to blame, so no audit entry may be to blame instead.
        if !attempt.is_single {
            attempt.notes = self.notes.take();
        }
        let began = Instant::now();
        let appended = match self.append(batch, &mut attempt) {
            // Nothing was decided yet: once more, on the state as it is now. But not if numbers in the waiting commands are issued again.
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
                self.mode = Mode::Resolve {
                    lost: Unanswered::new(batch, attempt),
                    then: Box::new(std::mem::take(&mut self.mode)),
                };
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
        // A machine that was paused may have a right clock again: the database knows.
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
