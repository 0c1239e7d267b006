//! The loop of an account's writer. One turn takes the queued commands, lets the store append them, publishes
//! the result, and responds. If the response to a commit is lost, it reads the log to find the outcome.
//!
//! A turn waits for the store only. So a thread can run turns one after the other, and a simulation can act
//! between two turns.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bindery_core::access::AccessWriter;
use bindery_core::api_key::SecretHash;
use bindery_core::id::{AccountId, Revision};
use bindery_store::{AppendError, Batch, Store, StoreError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use crate::account::{Errand, ExecuteError, Published};
use crate::clock::{ClockAhead, ClockGuard};
use crate::directory::{Directory, note_secrets};
use crate::meters::{Meters, StoreCall};
use crate::notes::{Notes, Taken};
use crate::random::Random;
use crate::submission::Submission;
use crate::usage::Usage;
use crate::writer::Writer;

/// How many commands one transaction takes.
const BATCH_MAX: usize = 1024;
/// How long to wait before the outcome of a commit is read again.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);
/// How many entries of the log are read at once.
const LOG_PAGE: usize = 1000;

/// The state of one account's writer.
pub struct Desk {
    pub(crate) id: AccountId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) guard: Arc<ClockGuard>,
    pub(crate) random: Random,
    pub(crate) directory: Directory,
    /// Secrets of keys that were read or made since the last publish.
    pub(crate) heard: Vec<SecretHash>,
    pub(crate) published: Arc<Published>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) takes_writes: Arc<AtomicBool>,
    pub(crate) is_called: Arc<AtomicBool>,
    pub(crate) access: AccessWriter,
    pub(crate) writer: Writer,
    pub(crate) meters: Arc<Meters>,
    pub(crate) waiting: mpsc::Receiver<Errand>,
    /// A message that was waited for; it goes before the ones in `waiting`.
    pub(crate) first: Option<Errand>,
    /// The commands of the current batch; empty between two batches.
    pub(crate) queue: Vec<Box<dyn Submission>>,
    /// Commands that get a batch each: one of their batch contradicted the store, and the others must not
    /// fail with it.
    pub(crate) singly: VecDeque<Box<dyn Submission>>,
    /// Whether `queue` holds one of `singly`.
    pub(crate) is_single: bool,
    /// Whether audit entries and uses get a batch of their own first: they may be the contradiction, and must
    /// not make commands fail.
    pub(crate) are_notes_first: bool,
    /// The batch in `queue`, if the outcome of its commit is unknown.
    pub(crate) lost: Option<Lost>,
    pub(crate) is_closing: bool,
}

/// A batch whose commit has no response.
pub(crate) struct Lost {
    batch: u64,
    notes: Taken,
    /// Whether the log, as far as it was read since, has the batch.
    is_in: bool,
}

/// Why the log does not continue from the known position.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// The log is truncated after the known position.
    Forgotten,
    /// The known position is not in the log: the log was rolled back, or does not reach it yet.
    Diverged,
}

impl Gap {
    fn in_log(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::Forgotten { .. } => Some(Self::Forgotten),
            StoreError::Diverged { .. } => Some(Self::Diverged),
            _ => None,
        }
    }

    fn in_append(error: &AppendError) -> Option<Self> {
        match error {
            AppendError::Forgotten { .. } => Some(Self::Forgotten),
            AppendError::Diverged { .. } => Some(Self::Diverged),
            _ => None,
        }
    }
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing waits.
    Idle,
    /// Something was done, and more may wait.
    Done,
    /// The response to a commit was lost, and the log can't be read. Until it can, nothing is decided and no
    /// response is sent. Try again later.
    Later,
    /// The account is closed, and nothing is left to write.
    Over,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("account", &self.id)
            .field("known", &self.writer.known())
            .finish_non_exhaustive()
    }
}

/// Who runs the turns of the desks.
pub(crate) enum Hands {
    /// One thread for each desk.
    Threads,
    /// The function that takes each desk.
    Given(Box<dyn Fn(Desk) + Send + Sync>),
}

impl Hands {
    /// Hands the desk over. If it gets a thread, the caller must join it in the end.
    pub(crate) fn employ(&self, desk: Desk) -> io::Result<Option<JoinHandle<()>>> {
        match self {
            Self::Threads => desk.work_on_thread().map(Some),
            Self::Given(take) => {
                take(desk);
                Ok(None)
            }
        }
    }
}

impl Desk {
    /// The account of this desk.
    pub fn account(&self) -> AccountId {
        self.id
    }

    fn work_on_thread(self) -> io::Result<JoinHandle<()>> {
        let AccountId(number) = self.id;
        std::thread::Builder::new()
            .name(format!("writer-{number}"))
            .spawn(move || {
                // The batch may be committed or not, and no client may get a guess: a new process reads the
                // log.
                if std::panic::catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
                    tracing::error!("the writer of an account has panicked; the process ends");
                    std::process::abort();
                }
            })
    }

    fn work(mut self) {
        loop {
            match self.turn() {
                Turn::Done => {}
                // The next turn notices the end of the queue.
                Turn::Idle => self.first = self.waiting.blocking_recv(),
                Turn::Later => std::thread::sleep(RESOLVE_PAUSE),
                Turn::Over => return,
            }
        }
    }

    /// Runs the next step: at most one batch.
    pub fn turn(&mut self) -> Turn {
        if let Some(lost) = self.lost.take() {
            return self.resolve(lost);
        }
        if std::mem::take(&mut self.are_notes_first) {
            return self.commit();
        }
        self.is_single = false;
        if let Some(single) = self.singly.pop_front() {
            self.is_single = true;
            self.queue.push(single);
            return self.commit();
        }
        let (is_called, is_over) = self.gather();
        if !self.queue.is_empty() {
            // An append also catches up, if it gets that far.
            let turn = self.commit();
            if is_called && self.lost.is_none() && !self.takes_writes.load(Ordering::Relaxed) {
                self.catch_up();
            }
            return turn;
        }
        if is_called {
            self.catch_up();
            return Turn::Done;
        }
        if !is_over {
            return Turn::Idle;
        }
        // The account is closed. Try once to write the last audit entries and uses.
        if self.notes.is_waiting() {
            if !self.is_closing {
                self.is_closing = true;
                return self.commit();
            }
            let entries = self.notes.waiting();
            tracing::error!(
                account = self.id.0,
                entries,
                "audit entries were dropped: the store can't be written"
            );
        }
        Turn::Over
    }

    /// Moves queued commands into the next batch. Returns whether others have appended something, and whether
    /// the queue is closed.
    fn gather(&mut self) -> (bool, bool) {
        let mut is_called = false;
        while self.queue.len() < BATCH_MAX {
            let errand = match self
                .first
                .take()
                .map_or_else(|| self.waiting.try_recv(), Ok)
            {
                Ok(errand) => errand,
                Err(end) => return (is_called, end == TryRecvError::Disconnected),
            };
            match errand {
                Errand::Commit(submission) => self.queue.push(submission),
                Errand::CatchUp => {
                    self.is_called.store(false, Ordering::Release);
                    is_called = true;
                }
            }
        }
        (is_called, false)
    }

    /// Commits the queue as one batch.
    fn commit(&mut self) -> Turn {
        let batch = match self.random.batch() {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, account = self.id.0, "the system returned no random numbers");
                return self.answer(Err(ExecuteError::Unavailable));
            }
        };
        // A single command is tested alone: the pending entries must not make it fail.
        let mut taken = if self.is_single {
            Taken::default()
        } else {
            self.notes.take()
        };
        let began = Instant::now();
        let appended = match self.append(batch, &taken) {
            // Nothing was decided yet, so decide again on the new state. Not after a rollback: ids of the
            // callers may belong to others now.
            Err(error) if self.bridge(Gap::in_append(&error)) => match error {
                AppendError::Forgotten { .. } => self.append(batch, &taken),
                error => {
                    taken.forget_uses();
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
                self.lost = Some(Lost {
                    batch,
                    notes: taken,
                    is_in: false,
                });
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
        self.finish(committed, taken)
    }

    fn append(&mut self, batch: u64, taken: &Taken) -> Result<Revision, AppendError> {
        let mut ahead = match self.append_unless_ahead(batch, taken) {
            Ok(appended) => return appended,
            Err(ahead) => ahead,
        };
        // If the machine was paused and its clock is right again, the database's clock shows it.
        if self.guard.ask(&*self.store) {
            match self.append_unless_ahead(batch, taken) {
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
        taken: &Taken,
    ) -> Result<Result<Revision, AppendError>, ClockAhead> {
        let known = self.writer.known();
        let Self {
            id,
            writer,
            guard,
            heard,
            queue,
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
            let mut made = writer.make_batch(appended, queue, now, batch);
            taken.add_to(&mut made, now.max(writer.known_time()));
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

    /// Reloads the account from its records if the log does not continue from the known position. Returns
    /// whether that worked.
    fn bridge(&mut self, gap: Option<Gap>) -> bool {
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

    /// Refuses all queued commands. Their keys or users may be lost, and lost id numbers are assigned again,
    /// so a command could act for the wrong person.
    fn turn_away(&mut self) {
        let mut queued: Vec<_> = self.singly.drain(..).collect();
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

    /// Reads the log to its end. No client gets a response before that: a guess could be wrong.
    fn resolve(&mut self, mut lost: Lost) -> Turn {
        loop {
            let known = self.writer.known();
            let changes = self.store.changes_since(self.id, known, LOG_PAGE);
            match self.meters.watch(StoreCall::Changes, changes) {
                Ok(entries) if entries.is_empty() => {
                    if lost.is_in {
                        self.meters.lost_and_found.count();
                    }
                    let committed = lost.is_in.then_some(()).ok_or(ExecuteError::Unavailable);
                    return self.finish(committed, lost.notes);
                }
                Ok(entries) => {
                    note_secrets(&entries, &mut self.heard);
                    lost.is_in |= self.writer.resolve(&entries, lost.batch);
                }
                // Only after an outage longer than the log is kept, or after a rollback.
                Err(error) if self.bridge(Gap::in_log(&error)) => {
                    let is_whole = matches!(error, StoreError::Forgotten { .. });
                    if !is_whole {
                        lost.notes.forget_uses();
                    }
                    let is_in = lost.is_in && is_whole;
                    let committed = is_in.then_some(()).ok_or(ExecuteError::Unknown);
                    return self.finish(committed, lost.notes);
                }
                Err(error @ StoreError::NoAccount(_)) => {
                    tracing::error!(%error, account = self.id.0, "the outcome of the last changes is unknown");
                    return self.finish(Err(ExecuteError::Unknown), lost.notes);
                }
                Err(error) if self.waiting.is_closed() => {
                    // No client waits for a response any more. A process that stops must not wait for a store
                    // that may never come back.
                    tracing::error!(%error, account = self.id.0, "the outcome of the last changes can't be read; the log has it");
                    return self.finish(Err(ExecuteError::Unknown), lost.notes);
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

    /// The outcome of the batch is known: publish it, then respond.
    fn finish(&mut self, committed: Result<(), ExecuteError>, notes: Taken) -> Turn {
        self.meters.batch(self.queue.len(), committed.is_ok());
        let is_reached = committed != Err(ExecuteError::Unavailable);
        self.takes_writes.store(is_reached, Ordering::Relaxed);
        if committed.is_ok() {
            self.notes.settle();
        } else if self.queue.is_empty() && committed == Err(ExecuteError::Contradiction) {
            self.notes.give_up(&notes);
        } else {
            self.notes.put_back(notes);
        }
        self.publish();
        self.answer(committed)
    }

    fn answer(&mut self, committed: Result<(), ExecuteError>) -> Turn {
        let may_blame_another = self.queue.len() > 1 || self.notes.is_waiting();
        let is_to_be_parted = !self.is_single && !self.queue.is_empty() && may_blame_another;
        if committed == Err(ExecuteError::Contradiction) && is_to_be_parted {
            self.are_notes_first = self.notes.is_waiting();
            self.singly.extend(self.queue.drain(..));
            return Turn::Done;
        }
        for submission in self.queue.drain(..) {
            submission.answer(committed);
        }
        Turn::Done
    }

    /// Shows the committed state to every reader. The state is published inside the index's section, while
    /// readers of the index are sent to it. So a caller who has seen a revision in one of the two finds no
    /// older one in the other.
    fn publish(&mut self) {
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
}
