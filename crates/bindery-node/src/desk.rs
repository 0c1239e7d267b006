//! Where an account's writer works, turn by turn: it takes what has queued, has the store append it, finds out what became of
//! a commit whose answer was lost, publishes, and answers.
//!
//! A turn waits for nothing but the store, so a thread can take one after the other, and a simulation can do anything between
//! two of them.

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
/// How long to wait before the store is asked again what became of a commit.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);
/// How much of the log is read at once.
const LOG_PAGE: usize = 1000;

/// What one account's writer works with.
pub struct Desk {
    pub(crate) id: AccountId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) guard: Arc<ClockGuard>,
    pub(crate) random: Random,
    pub(crate) directory: Directory,
    /// Secrets of keys in what was read or made since readers were last shown something.
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
    /// What was waited for, before what waits.
    pub(crate) first: Option<Errand>,
    /// The batch that is being worked on; empty between two of them.
    pub(crate) queue: Vec<Box<dyn Submission>>,
    /// What gets a batch of its own: one of them contradicted the store, and the others shall not pay for it.
    pub(crate) singly: VecDeque<Box<dyn Submission>>,
    /// Whether what is in `queue` is one of them.
    pub(crate) is_single: bool,
    /// Whether notes get a batch of their own before those: they may be to blame, and must not be for whatever comes.
    pub(crate) are_notes_first: bool,
    /// The batch in `queue`, if nobody knows whether it was committed.
    pub(crate) lost: Option<Lost>,
    pub(crate) is_closing: bool,
}

/// A batch whose commit wasn't answered.
pub(crate) struct Lost {
    batch: u64,
    notes: Taken,
    /// Whether the part of the log that was read since has it.
    is_in: bool,
}

/// Why the log doesn't lead from what is known to what is there now.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// It has forgotten what comes next.
    Forgotten,
    /// It hasn't come there, or has lost it.
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

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing waits.
    Idle,
    /// Something was done, and more may wait.
    Done,
    /// The answer of a commit was lost and the log can't be read: nothing is decided and nobody answered before it can. To be
    /// tried again in a while.
    Later,
    /// Nobody holds the account any more, and nothing is left to write.
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

/// Who takes the turns of a node's desks.
pub(crate) enum Hands {
    /// A thread each.
    Threads,
    /// Whoever is given them.
    Given(Box<dyn Fn(Desk) + Send + Sync>),
}

impl Hands {
    /// Has someone work at the desk; a thread is to be waited for in the end.
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
    /// Whose it is.
    pub fn account(&self) -> AccountId {
        self.id
    }

    fn work_on_thread(self) -> io::Result<JoinHandle<()>> {
        let AccountId(number) = self.id;
        std::thread::Builder::new()
            .name(format!("writer-{number}"))
            .spawn(move || {
                // What it was at may be committed or not, and nobody may be told a guess: a new process reads the log.
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
                // The end of the queue is seen by the next turn.
                Turn::Idle => self.first = self.waiting.blocking_recv(),
                Turn::Later => std::thread::sleep(RESOLVE_PAUSE),
                Turn::Over => return,
            }
        }
    }

    /// Does the next thing that is to be done, one batch at the most.
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
            // An append catches up as well, if it gets so far.
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
        // Nobody holds the account any more; what was noted last is still to be written. Tried once.
        if self.notes.is_waiting() {
            if !self.is_closing {
                self.is_closing = true;
                return self.commit();
            }
            let entries = self.notes.waiting();
            tracing::error!(
                account = self.id.0,
                entries,
                "audit entries were given up: the store can't be written to"
            );
        }
        Turn::Over
    }

    /// Whatever queued while the last commit ran goes into the next one. Tells whether others have appended something, and
    /// whether nothing can queue any more.
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

    /// Commits what is in the queue as one batch.
    fn commit(&mut self) -> Turn {
        let batch = match self.random.batch() {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, account = self.id.0, "the system gives no random numbers");
                return self.answer(Err(ExecuteError::Unavailable));
            }
        };
        // One that is to show whether it is to blame is not to be blamed for notes.
        let mut taken = if self.is_single {
            Taken::default()
        } else {
            self.notes.take()
        };
        let began = Instant::now();
        let appended = match self.append(batch, &taken) {
            // Nothing was decided yet: once more, on what there is now. But not where numbers of who has queued are given again.
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
                tracing::error!(%cause, account = self.id.0, "a commit's answer was lost; reading the log");
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
        // A machine that was paused, and whose clock is right again: the database knows.
        if self.guard.ask(&*self.store) {
            match self.append_unless_ahead(batch, taken) {
                Ok(appended) => return appended,
                // With what the database says now.
                Err(still) => ahead = still,
            }
        }
        self.meters.clock_refusals.count();
        Err(AppendError::Unavailable(ahead.into()))
    }

    /// Nothing is written if the clock has run ahead.
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

    /// Takes the account as its records are now, where the log doesn't lead there from what is known. Whether that worked.
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
                        "what others have changed is forgotten in the log: the account is loaded anew"
                    ),
                    Gap::Diverged => {
                        self.meters.diverged.count();
                        tracing::error!(
                            account = self.id.0,
                            known,
                            newest,
                            "the store has lost changes that are known here: it was restored, or a server that hadn't heard of \
                            them took over. The account is loaded anew, as the store has it"
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
                    // After that: what is found in the state from before is never taken for something found since.
                    self.published.divergences.fetch_add(1, Ordering::AcqRel);
                }
                // Once readers know them, as in `publish`.
                self.directory
                    .add(self.id, self.writer.committed().api_keys());
                true
            }
            Err(error) => {
                tracing::error!(%error, account = self.id.0, "an account can't be loaded anew yet");
                false
            }
        }
    }

    /// Answers whoever has queued: they came in by a key or as a user that the log has lost, maybe, and what it lost of numbers is given
    /// again, so they could be taken for somebody else.
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

    /// Keys have other numbers now, or none: their last uses are what the store says.
    fn forget_uses(&self) {
        let uses = self.store.key_uses(self.id);
        match self.meters.watch(StoreCall::Load, uses) {
            Ok(uses) => self.notes.take_uses(uses),
            Err(error) => tracing::error!(
                %error,
                account = self.id.0,
                "when keys were last used can't be read yet, and may be shown of lost ones"
            ),
        }
    }

    /// Reads the log until it has no more to say. Nobody is told anything before that: a guess could be a lie.
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
                // Only after an outage that was longer than any entry is young, or where the log has lost its end.
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
                    tracing::error!(%error, account = self.id.0, "what became of the last changes can't be told");
                    return self.finish(Err(ExecuteError::Unknown), lost.notes);
                }
                Err(error) if self.waiting.is_closed() => {
                    // Nobody waits for an answer any more, and a process that is to end must not wait for a store that may never
                    // come back.
                    tracing::error!(%error, account = self.id.0, "what became of the last changes can't be read; the log will tell");
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

    /// It is known what became of the batch: readers see it, and then those who asked are told.
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

    /// Lets every reader see what is committed. The snapshot comes first, and the index while its readers are sent to the
    /// snapshot: whoever has seen a revision in one of them finds no older one in the other.
    fn publish(&mut self) {
        let touched = self.writer.take_touched();
        let state = self.writer.committed();
        if state.position() == self.published.snapshot.load().position() {
            return;
        }
        let next = Arc::new(state.clone());
        let swap = || self.published.snapshot.swap(next);
        let last = self.access.advance(state, &touched, swap);
        // Freeing it and waking who waits take time, which readers of the index don't have to spend as well.
        drop(last);
        self.directory.learn(self.id, &mut self.heard);
        self.published.revision.send_replace(state.revision());
    }

    /// Takes in what others have appended, as far as the log can be read now. Whether that is all.
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
                // Once: a log that doesn't go on from its own records is damaged, and no reading makes it better.
                Err(error) if !is_bridged && self.bridge(Gap::in_log(&error)) => is_bridged = true,
                Err(error) => {
                    tracing::warn!(%error, account = self.id.0, "what others have changed can't be read yet");
                    return false;
                }
            }
        }
    }
}
