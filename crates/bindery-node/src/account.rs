//! One account as the rest of the process sees it: a snapshot to read, and a queue to write.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bindery_core::access::{AccessIndex, AccessWriter};
use bindery_core::audit::AuditEntry;
use bindery_core::command::{Caller, Command};
use bindery_core::decision::{Decision, Question};
use bindery_core::id::{AccountId, ApiKeyId, Revision, UserId};
use bindery_core::permission::Permission;
use bindery_core::refusal::Refusal;
use bindery_core::resource::{Level, Resource};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::{AppendError, Store, StoreError};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::node::Directory;
use crate::notes::{Notes, Taken};
use crate::submission::{Audit, Flush, Pending, Submission};
use crate::writer::Writer;

/// How many commands may wait; more are told to come back.
const QUEUE_MAX: usize = 4096;
/// How many commands one transaction takes.
const BATCH_MAX: usize = 1024;
/// How long to wait before the store is asked again what became of a commit.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);
/// How much of the log is read at once.
const LOG_PAGE: usize = 1000;

/// One account at work. Cheap to share; ends when the last holder drops it.
#[derive(Debug)]
pub struct Account {
    id: AccountId,
    published: Arc<Published>,
    access: AccessIndex,
    notes: Arc<Notes>,
    takes_writes: Arc<AtomicBool>,
    /// Whether the writer has been called to catch up and hasn't begun.
    is_called: Arc<AtomicBool>,
    queue: Option<mpsc::Sender<Errand>>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer is asked for.
enum Errand {
    /// Deciding and committing this.
    Commit(Box<dyn Submission>),
    /// Reading what others have appended.
    CatchUp,
}

/// What every reader sees.
#[derive(Debug)]
struct Published {
    snapshot: ArcSwap<State>,
    /// Its revision, to wait for.
    revision: watch::Sender<Revision>,
}

impl Published {
    fn new(state: &State) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(state.clone()),
            revision: watch::Sender::new(state.revision()),
        }
    }
}

/// Why a command brought nothing, or why we can't tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The command was decided, and refused.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// Nothing was changed, and a repeat may succeed.
    #[error("the store can't be reached, or too many changes are waiting; nothing was changed")]
    Unavailable,
    /// The answer of the store was lost, and what the log says about it was forgotten before it could be read again.
    #[error("whether it was changed can't be told any more; look before you repeat it")]
    Unknown,
    /// Nothing was changed, and a repeat won't succeed: the store found that the change breaks a rule that it guards.
    #[error("the change contradicts what is stored; nothing was changed")]
    Contradiction,
}

impl Account {
    pub(crate) fn start(
        state: State,
        store: Arc<dyn Store>,
        clock: Clock,
        directory: Directory,
        notes: Notes,
    ) -> std::io::Result<Self> {
        let id = state.account().id;
        let notes = Arc::new(notes);
        let takes_writes = Arc::new(AtomicBool::new(true));
        let is_called = Arc::new(AtomicBool::new(false));
        let published = Arc::new(Published::new(&state));
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let access_writer = AccessWriter::new(&state);
        let access = access_writer.index();
        let desk = Desk {
            id,
            store,
            clock,
            directory,
            published: Arc::clone(&published),
            notes: Arc::clone(&notes),
            takes_writes: Arc::clone(&takes_writes),
            is_called: Arc::clone(&is_called),
            access: access_writer,
            writer: Writer::new(state),
        };
        let AccountId(number) = id;
        let thread = std::thread::Builder::new()
            .name(format!("writer-{number}"))
            .spawn(move || {
                // What it was at may be committed or not, and nobody may be told a guess: a new process reads the log.
                if std::panic::catch_unwind(AssertUnwindSafe(|| desk.run(waiting))).is_err() {
                    tracing::error!("the writer of an account has panicked; the process ends");
                    std::process::abort();
                }
            })?;
        Ok(Self {
            id,
            published,
            access,
            notes,
            takes_writes,
            is_called,
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Its number.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// The newest committed state. Never waits.
    pub fn snapshot(&self) -> Arc<State> {
        self.published.snapshot.load_full()
    }

    /// The decision, by everything that is committed, and the revision that it was made at. Never waits: while changes are put
    /// into the index, the snapshot answers.
    ///
    /// No reader ever goes back: what is asked later, of this or of [`Account::snapshot`], is answered at this revision or a
    /// later one.
    #[inline]
    pub fn decide(&self, question: &Question, now: Timestamp) -> (Decision, Revision) {
        self.access.decide(question, now).unwrap_or_else(|| {
            let (state, now) = self.snapshot_for(now);
            (state.decide(question, now), state.revision())
        })
    }

    /// [`Account::decide`] for many questions, in their order and at one revision; the decisions replace what is in
    /// `decisions`.
    pub fn decide_many(
        &self,
        questions: &[Question],
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) -> Revision {
        let decided = self.access.decide_many(questions, now, decisions);
        decided.unwrap_or_else(|| {
            let (state, now) = self.snapshot_for(now);
            decisions.clear();
            decisions.extend(questions.iter().map(|one| state.decide(one, now)));
            state.revision()
        })
    }

    /// Every resource of this level on which the user may use the permission, in no order, and the one revision at which that
    /// is so; they replace what is in `found`.
    pub fn resources_of(
        &self,
        user: UserId,
        permission: Permission,
        level: Level,
        now: Timestamp,
        found: &mut Vec<Resource>,
    ) -> Revision {
        let asked = self
            .access
            .resources_of(user, permission, level, now, found);
        asked.unwrap_or_else(|| {
            let (state, now) = self.snapshot_for(now);
            *found = state.resources_of(user, permission, level, now);
            state.revision()
        })
    }

    /// Everyone who may use the permission on the resource, in no order, and the one revision at which that is so; they replace
    /// what is in `found`.
    pub fn users_of(
        &self,
        resource: Resource,
        permission: Permission,
        now: Timestamp,
        found: &mut Vec<UserId>,
    ) -> Revision {
        let asked = self.access.users_of(resource, permission, now, found);
        asked.unwrap_or_else(|| {
            let (state, now) = self.snapshot_for(now);
            *found = state.users_of(permission, resource, now);
            state.revision()
        })
    }

    /// The snapshot, and the moment to ask it about: never earlier than its last change, as in the index. A clock that was set
    /// back brings no key back to life.
    #[cold]
    fn snapshot_for(&self, now: Timestamp) -> (Arc<State>, Timestamp) {
        let state = self.snapshot();
        let now = now.max(state.latest());
        (state, now)
    }

    /// The index alone, for what asks more at one revision than the above; whoever gets `None` from it asks the snapshot.
    pub fn access(&self) -> &AccessIndex {
        &self.access
    }

    /// Has the writer read what others have appended to this account. Returns at once.
    pub fn catch_up(&self) {
        if let Some(queue) = &self.queue
            && !self.is_called.swap(true, Ordering::AcqRel)
            && queue.try_send(Errand::CatchUp).is_err()
        {
            // The queue is full: whoever commits the next batch reads what others have appended as well.
            self.is_called.store(false, Ordering::Release);
        }
    }

    /// Waits until readers see this revision, for as long as the caller likes.
    pub async fn reach(&self, revision: Revision) {
        let mut published = self.published.revision.subscribe();
        if *published.borrow_and_update() < revision {
            self.catch_up();
            // It ends only with the account, which the caller holds.
            let _ = published.wait_for(|reached| *reached >= revision).await;
        }
    }

    /// How many commands wait for the writer: how far it is behind.
    pub fn waiting(&self) -> usize {
        self.queue
            .as_ref()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Whether the last change could be stored.
    pub fn takes_writes(&self) -> bool {
        self.takes_writes.load(Ordering::Relaxed)
    }

    /// Notes a request that changed nothing for the audit log. It is written with the next batch, or within the interval of
    /// [`Node::keep_notes`](crate::Node::keep_notes).
    pub fn note(&self, entry: AuditEntry) {
        if self.notes.request(entry)
            && let Some(queue) = &self.queue
        {
            // A full queue is as good a reason for a batch.
            let (flush, _) = Flush::new();
            let _ = queue.try_send(Errand::Commit(Box::new(flush)));
        }
    }

    /// Notes that a key was used, within a minute.
    pub fn note_use(&self, key: ApiKeyId, now: Timestamp) {
        self.notes.key_use(key, now);
    }

    /// When a key was last used, within a minute.
    pub fn last_use(&self, key: ApiKeyId) -> Option<Timestamp> {
        self.notes.last_use(key)
    }

    /// Has everything that was noted so far written down, and waits for it.
    pub async fn flush(&self) -> Result<(), ExecuteError> {
        if !self.notes.is_waiting() {
            return Ok(());
        }
        let (flush, answer) = Flush::new();
        let queue = self.queue.as_ref().ok_or(ExecuteError::Unavailable)?;
        queue
            .try_send(Errand::Commit(Box::new(flush)))
            .map_err(|_| ExecuteError::Unavailable)?;
        answer.await.unwrap_or(Err(ExecuteError::Unavailable))
    }

    /// Decides and commits a command. When this returns, the change is durable and every reader sees it.
    pub async fn execute<C>(
        &self,
        command: C,
        caller: Caller,
        audit: Option<Audit>,
    ) -> Result<C::Outcome, ExecuteError>
    where
        C: Command + Send + 'static,
        C::Outcome: Send,
    {
        let (pending, answer) = Pending::new(command, caller, audit);
        let queue = self.queue.as_ref().ok_or(ExecuteError::Unavailable)?;
        queue
            .try_send(Errand::Commit(Box::new(pending)))
            .map_err(|_| ExecuteError::Unavailable)?;
        answer.await.unwrap_or(Err(ExecuteError::Unavailable))
    }
}

impl Drop for Account {
    /// Closes the queue and waits until everything in it is committed and answered.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the writer's thread works with.
struct Desk {
    id: AccountId,
    store: Arc<dyn Store>,
    clock: Clock,
    directory: Directory,
    published: Arc<Published>,
    notes: Arc<Notes>,
    takes_writes: Arc<AtomicBool>,
    is_called: Arc<AtomicBool>,
    access: AccessWriter,
    writer: Writer,
}

impl Desk {
    fn run(mut self, mut waiting: mpsc::Receiver<Errand>) {
        let mut queue = Vec::new();
        while let Some(first) = waiting.blocking_recv() {
            let mut next = Some(first);
            // Whatever queued while the last commit ran goes into this one.
            while let Some(errand) = next {
                match errand {
                    Errand::Commit(submission) => queue.push(submission),
                    Errand::CatchUp => self.is_called.store(false, Ordering::Release),
                }
                let has_room = queue.len() < BATCH_MAX;
                next = has_room.then(|| waiting.try_recv().ok()).flatten();
            }
            if queue.is_empty() {
                self.catch_up();
                continue;
            }
            // An append catches up as well.
            match self.commit(&mut queue) {
                // One of them is to blame, and the others shall not pay for it.
                Err(ExecuteError::Contradiction) if queue.len() > 1 => {
                    for mut submission in queue.drain(..) {
                        let committed = self.commit(std::slice::from_mut(&mut submission));
                        submission.answer(committed);
                    }
                }
                committed => {
                    for submission in queue.drain(..) {
                        submission.answer(committed);
                    }
                }
            }
        }
        // Nobody holds the account any more; what was noted last is still to be written.
        if self.notes.is_waiting() {
            let _ = self.commit(&mut []);
        }
    }

    /// Commits one batch and publishes it: after the commit, and before anyone is answered.
    fn commit(&mut self, queue: &mut [Box<dyn Submission>]) -> Result<(), ExecuteError> {
        let batch = getrandom::u64().map_err(|error| {
            tracing::error!(%error, "the system gives no random numbers");
            ExecuteError::Unavailable
        })?;
        let taken = self.notes.take();
        let appended = match self.append(queue, batch, &taken) {
            // Nothing was decided yet: once more, on what there is now.
            Err(AppendError::Forgotten { .. }) if self.reload() => {
                self.append(queue, batch, &taken)
            }
            appended => appended,
        };
        let outcome = match appended {
            Ok(_) => {
                self.writer.commit();
                Ok(())
            }
            Err(AppendError::Unknown(cause)) => {
                tracing::error!(%cause, "a commit's answer was lost; reading the log");
                self.writer.abandon();
                self.resolve(batch)
            }
            Err(error @ (AppendError::Unavailable(_) | AppendError::Forgotten { .. })) => {
                tracing::error!(%error, "a batch was not committed");
                self.writer.abandon();
                Err(ExecuteError::Unavailable)
            }
            Err(error @ AppendError::Contradiction(_)) => {
                tracing::error!(%error, "a batch was refused by the store");
                self.writer.abandon();
                Err(ExecuteError::Contradiction)
            }
        };
        let is_reached = outcome != Err(ExecuteError::Unavailable);
        self.takes_writes.store(is_reached, Ordering::Relaxed);
        if outcome.is_ok() {
            self.notes.settle();
        } else {
            self.notes.put_back(taken);
        }
        self.publish();
        outcome
    }

    fn append(
        &mut self,
        queue: &mut [Box<dyn Submission>],
        batch: u64,
        taken: &Taken,
    ) -> Result<Revision, AppendError> {
        let known = self.writer.known();
        let Self {
            id,
            writer,
            clock,
            directory,
            ..
        } = self;
        self.store.append(*id, known, &mut |appended| {
            let mut made = writer.make_batch(appended, queue, clock.now(), batch);
            taken.add_to(&mut made);
            // Only a hint, so it may be early: the account itself knows which keys are good.
            directory.learn(*id, appended);
            directory.learn(*id, &made.entries);
            made
        })
    }

    /// Takes the account as its records are now: this node was behind the beginning of the log. Whether that worked.
    fn reload(&mut self) -> bool {
        match self.store.load(self.id) {
            Ok(state) => {
                tracing::warn!(
                    account = self.id.0,
                    known = self.writer.known().0,
                    newest = state.revision().0,
                    "what others have changed is forgotten in the log: the account is loaded anew"
                );
                for key in state.api_keys() {
                    self.directory.add(self.id, key);
                }
                self.writer.reload(state);
                self.publish();
                true
            }
            Err(error) => {
                tracing::error!(%error, "an account can't be loaded anew yet");
                false
            }
        }
    }

    /// Lets every reader see what is committed. The snapshot comes first, and the index while its readers are sent to the
    /// snapshot: whoever has seen a revision in one of them finds no older one in the other.
    fn publish(&mut self) {
        let touched = self.writer.take_touched();
        let state = self.writer.committed();
        if state.revision() == self.published.snapshot.load().revision() {
            return;
        }
        let next = Arc::new(state.clone());
        let swap = || self.published.snapshot.swap(next);
        let last = self.access.advance(state, &touched, swap);
        // Freeing it and waking who waits take time, which readers of the index don't have to spend as well.
        drop(last);
        self.published.revision.send_replace(state.revision());
    }

    /// Takes in what others have appended, as far as the log can be read now.
    fn catch_up(&mut self) {
        loop {
            let known = self.writer.known();
            match self.store.changes_since(self.id, known, LOG_PAGE) {
                Ok(entries) => {
                    self.directory.learn(self.id, &entries);
                    self.writer.follow(&entries);
                    self.publish();
                    if entries.len() < LOG_PAGE {
                        return;
                    }
                }
                Err(StoreError::Forgotten { .. }) if self.reload() => {}
                Err(error) => {
                    tracing::warn!(%error, "what others have changed can't be read yet");
                    return;
                }
            }
        }
    }

    /// Reads the log until it answers. Nobody is told anything before that: a guess could be a lie.
    fn resolve(&mut self, batch: u64) -> Result<(), ExecuteError> {
        let mut is_in = false;
        loop {
            match self
                .store
                .changes_since(self.id, self.writer.known(), LOG_PAGE)
            {
                Ok(entries) if entries.is_empty() && is_in => return Ok(()),
                Ok(entries) if entries.is_empty() => return Err(ExecuteError::Unavailable),
                Ok(entries) => {
                    self.directory.learn(self.id, &entries);
                    is_in |= self.writer.resolve(&entries, batch);
                }
                // Only after an outage that was longer than any entry is young.
                Err(StoreError::Forgotten { .. }) if self.reload() => {
                    return if is_in {
                        Ok(())
                    } else {
                        Err(ExecuteError::Unknown)
                    };
                }
                Err(error) => {
                    tracing::error!(%error, "the log can't be read yet");
                    std::thread::sleep(RESOLVE_PAUSE);
                }
            }
        }
    }
}
