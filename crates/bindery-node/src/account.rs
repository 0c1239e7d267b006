//! The handle of one account: a snapshot to read, and a queue to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bindery_core::access::{AccessIndex, AccessWriter};
use bindery_core::api_key::SecretHash;
use bindery_core::audit::AuditEntry;
use bindery_core::command::{Caller, Command};
use bindery_core::decision::{Decision, Question};
use bindery_core::id::{AccountId, ApiKeyId, Revision, UserId};
use bindery_core::permission::Permission;
use bindery_core::refusal::Refusal;
use bindery_core::resource::{Level, Resource};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::Store;
use tokio::sync::{mpsc, watch};

use crate::clock::ClockGuard;
use crate::desk::{Desk, Mode};
use crate::directory::Directory;
use crate::in_flight::InFlight;
use crate::meters::Meters;
use crate::notes::Notes;
use crate::random::Random;
use crate::submission::{Audit, Flush, Pending, Submission};
use crate::usage::{Today, Usage};
use crate::writer::Writer;

/// How many commands may wait; more are refused and may be retried.
const QUEUE_MAX: usize = 4096;
/// How often a search of the index is tried before the snapshot is searched, if changes come in between.
const SEARCHES_MAX: usize = 2;
/// How often the index is asked a batch before the snapshot is, if it needs the snapshot for some questions and a change came
/// between the two.
const BATCHES_MAX: usize = 8;
/// A use of the account is recorded only if it is this much later than the last recorded one.
const TOUCH_STEP_MS: u64 = 1_000;

/// One loaded account. Cheap to share; closes when the last handle is dropped.
#[derive(Debug)]
pub struct Account {
    id: AccountId,
    published: Arc<Published>,
    access: AccessIndex,
    notes: Arc<Notes>,
    usage: Arc<Usage>,
    takes_writes: Arc<AtomicBool>,
    /// Whether the writer was asked to catch up and has not started.
    is_called: Arc<AtomicBool>,
    /// When the account was last used, in milliseconds.
    touched: AtomicI64,
    in_flight: Arc<InFlight>,
    queue: Option<mpsc::Sender<Errand>>,
    thread: Option<JoinHandle<()>>,
}

/// A message to the writer.
pub(crate) enum Errand {
    /// Decide and commit this command.
    Commit(Box<dyn Submission>),
    /// Read what others have appended.
    CatchUp,
}

/// What every reader sees.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) snapshot: ArcSwap<State>,
    /// Its revision, to wait for.
    pub(crate) revision: watch::Sender<Revision>,
    /// How often the log was found to be rolled back.
    pub(crate) divergences: AtomicU64,
}

impl Published {
    fn new(state: &State) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(state.clone()),
            revision: watch::Sender::new(state.revision()),
            divergences: AtomicU64::new(0),
        }
    }
}

/// Why a command has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The command was decided, and refused.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// Nothing was changed, and a retry may succeed.
    #[error("the store can't be reached, or too many changes are waiting; nothing was changed")]
    Unavailable,
    /// Nothing was changed: too many commands of the same key or person are waiting.
    #[error("too many changes of this key or person are waiting; nothing was changed")]
    Crowded,
    /// The response of the store was lost, and the log was truncated before the outcome could be read.
    #[error("it is unknown whether the change was made; read before you repeat it")]
    Unknown,
    /// Nothing was changed, and a retry will fail too: the change breaks a rule that the store enforces.
    #[error("the change contradicts what is stored; nothing was changed")]
    Contradiction,
}

impl Account {
    /// Creates the account and the desk of its writer. Neither works without the other.
    pub(crate) fn new(
        state: State,
        store: Arc<dyn Store>,
        guard: Arc<ClockGuard>,
        random: Random,
        directory: Directory,
        notes: Notes,
        meters: Arc<Meters>,
    ) -> (Self, Desk) {
        let id = state.account().id;
        let notes = Arc::new(notes);
        let takes_writes = Arc::new(AtomicBool::new(true));
        let is_called = Arc::new(AtomicBool::new(false));
        let published = Arc::new(Published::new(&state));
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let access_writer = AccessWriter::new(&state);
        let access = access_writer.index();
        let usage = Arc::<Usage>::default();
        let desk = Desk {
            id,
            store,
            guard,
            random,
            directory,
            published: Arc::clone(&published),
            notes: Arc::clone(&notes),
            usage: Arc::clone(&usage),
            takes_writes: Arc::clone(&takes_writes),
            is_called: Arc::clone(&is_called),
            access: access_writer,
            writer: Writer::new(state),
            meters,
            waiting,
            first: None,
            heard: Vec::new(),
            mode: Mode::default(),
            lost: None,
        };
        let account = Self {
            id,
            published,
            access,
            notes,
            usage,
            takes_writes,
            is_called,
            touched: AtomicI64::new(i64::MIN),
            in_flight: Arc::default(),
            queue: Some(queue),
            thread: None,
        };
        (account, desk)
    }

    /// Sets the thread that runs the desk. Dropping the account joins it.
    pub(crate) fn set_thread(&mut self, thread: Option<JoinHandle<()>>) {
        self.thread = thread;
    }

    /// The number of the account.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// The caller behind a key's hash at `now`, if the key is valid in this account.
    pub(crate) fn authenticate(&self, hash: &SecretHash, now: Timestamp) -> Option<Caller> {
        let snapshot = self.snapshot();
        // Never earlier than the last change: setting the clock back must not revive an expired key.
        let caller = snapshot.authenticate(hash, now.max(snapshot.latest()))?;
        if let Caller::Key { key, .. } = caller {
            self.note_use(key, now);
        }
        self.touch(now);
        Some(caller)
    }

    /// Records that the account is used.
    pub(crate) fn touch(&self, now: Timestamp) {
        // Many threads read this at once, so it is written at most once a second.
        let known = self.touched.load(Ordering::Relaxed);
        if known.abs_diff(now.as_millis()) >= TOUCH_STEP_MS {
            self.touched.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// When the account was last used, within a second.
    pub(crate) fn last_touch(&self) -> Timestamp {
        Timestamp::from_millis(self.touched.load(Ordering::Relaxed))
    }

    /// How many audit entries wait to be written.
    pub fn notes(&self) -> usize {
        self.notes.waiting()
    }

    /// Whether audit entries or last uses of keys wait to be written.
    pub(crate) fn has_notes(&self) -> bool {
        self.notes.is_waiting()
    }

    /// The newest committed state. Never waits.
    pub fn snapshot(&self) -> Arc<State> {
        self.published.snapshot.load_full()
    }

    /// Decides by everything that is committed, and returns the revision of the decision. Never waits: while
    /// the index is being changed, the snapshot decides.
    ///
    /// No reader goes back: a later call of this or of [`Account::snapshot`] sees this revision or a later
    /// one.
    #[inline]
    pub fn decide(&self, question: &Question, now: Timestamp) -> (Decision, Revision) {
        self.access.decide(question, now).unwrap_or_else(|| {
            let (state, now) = self.snapshot_for(now);
            (state.decide(question, now), state.revision())
        })
    }

    /// [`Account::decide`] for many questions, in order and at one revision. Replaces the content of
    /// `decisions`.
    pub fn decide_many(
        &self,
        questions: &[Question],
        now: Timestamp,
        decisions: &mut Vec<Decision>,
    ) -> Revision {
        for _ in 0..BATCHES_MAX {
            let Some(answered) = self.access.decide_many(questions, now, decisions) else {
                break;
            };
            if answered.ask_state.is_empty() {
                return answered.revision;
            }
            // The index can't answer these, but the state of its revision can.
            let (state, now) = self.snapshot_for(now);
            if state.revision() == answered.revision {
                for (question, decision) in asked(questions, decisions, &answered.ask_state) {
                    *decision = state.decide(question, now);
                }
                return answered.revision;
            }
        }
        let (state, now) = self.snapshot_for(now);
        decisions.clear();
        decisions.extend(questions.iter().map(|one| state.decide(one, now)));
        state.revision()
    }

    /// Decides by this state, for a caller who has already read names and rights from it: a later state may
    /// disagree on both. Uses the index while it is at the same revision, which takes a tenth of the time.
    #[inline]
    pub fn allows(&self, state: &State, question: &Question, now: Timestamp) -> bool {
        match self.access.allows(question, now) {
            Some((is_allowed, at)) if at == state.revision() => is_allowed,
            _ => by_state(state, question, now),
        }
    }

    /// [`Account::allows`] for many questions, in order. Replaces the content of `answers`.
    pub fn allows_many(
        &self,
        state: &State,
        questions: &[Question],
        now: Timestamp,
        answers: &mut Vec<bool>,
    ) {
        match self.access.allows_many(questions, now, answers) {
            Some(answered) if answered.revision == state.revision() => {
                for (question, answer) in asked(questions, answers, &answered.ask_state) {
                    *answer = by_state(state, question, now);
                }
            }
            _ => {
                answers.clear();
                answers.extend(questions.iter().map(|one| by_state(state, one, now)));
            }
        }
    }

    /// All resources of this level on which the user may use the permission, unordered. Replaces the content
    /// of `found`. Returns the state for which the result is true.
    pub fn resources_of(
        &self,
        user: UserId,
        permission: Permission,
        level: Level,
        now: Timestamp,
        found: &mut Vec<Resource>,
    ) -> Arc<State> {
        let access = &self.access;
        self.search(
            found,
            |found| access.resources_of(user, permission, level, now, found),
            |state| state.resources_of(user, permission, level, now.max(state.latest())),
        )
    }

    /// All users who may use the permission on the resource, unordered. Replaces the content of `found`.
    /// Returns the state for which the result is true.
    pub fn users_of(
        &self,
        resource: Resource,
        permission: Permission,
        now: Timestamp,
        found: &mut Vec<UserId>,
    ) -> Arc<State> {
        let access = &self.access;
        self.search(
            found,
            |found| access.users_of(resource, permission, now, found),
            |state| state.users_of(permission, resource, now.max(state.latest())),
        )
    }

    /// Searches the index if the snapshot is at its revision, else the snapshot, which is slower but not
    /// disturbed by changes.
    fn search<T>(
        &self,
        found: &mut Vec<T>,
        mut by_index: impl FnMut(&mut Vec<T>) -> Option<Revision>,
        of_state: impl FnOnce(&State) -> Vec<T>,
    ) -> Arc<State> {
        for _ in 0..SEARCHES_MAX {
            let Some(revision) = by_index(found) else {
                break;
            };
            let state = self.snapshot();
            if state.revision() == revision {
                return state;
            }
        }
        let state = self.snapshot();
        *found = of_state(&state);
        state
    }

    /// The snapshot, and the moment to use with it: never earlier than its last change, as in the index.
    /// Setting the clock back must not revive an expired key.
    #[cold]
    fn snapshot_for(&self, now: Timestamp) -> (Arc<State>, Timestamp) {
        let state = self.snapshot();
        let now = now.max(state.latest());
        (state, now)
    }

    /// The index alone, for several questions at one revision. On `None`, ask the snapshot.
    pub fn access(&self) -> &AccessIndex {
        &self.access
    }

    /// Asks the writer to read what others have appended to this account. Returns at once.
    pub fn catch_up(&self) {
        if let Some(queue) = &self.queue
            && !self.is_called.swap(true, Ordering::AcqRel)
            && queue.try_send(Errand::CatchUp).is_err()
        {
            // The queue is full: the next batch reads what others have appended as well.
            self.is_called.store(false, Ordering::Release);
        }
    }

    /// Waits until readers see this revision. Cancel it to stop waiting.
    pub async fn reach(&self, revision: Revision) {
        let mut published = self.published.revision.subscribe();
        if *published.borrow_and_update() < revision {
            self.catch_up();
            // It fails only when the account is dropped, and the caller holds the account.
            let _ = published.wait_for(|reached| *reached >= revision).await;
        }
    }

    /// How many commands wait for the writer.
    pub fn waiting(&self) -> usize {
        self.queue
            .as_ref()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Whether the last change could be stored.
    pub fn takes_writes(&self) -> bool {
        self.takes_writes.load(Ordering::Relaxed)
    }

    /// Adds an audit entry for a request that changed nothing. It is written with the next batch, or within
    /// the interval of [`Node::keep_notes`](crate::Node::keep_notes).
    pub fn note(&self, entry: AuditEntry) {
        let Some(entry) = self.usage.keep_room(&self.snapshot(), entry) else {
            return;
        };
        if self.notes.request(entry)
            && let Some(queue) = &self.queue
        {
            // A full queue causes a batch as well.
            let (flush, _) = Flush::new();
            let _ = queue.try_send(Errand::Commit(Box::new(flush)));
        }
    }

    /// Today's use of the daily quotas, as counted by this process.
    pub fn today(&self, person: UserId, now: Timestamp) -> Today {
        self.usage.today(person, now)
    }

    /// Records the use of a key, within a minute.
    pub fn note_use(&self, key: ApiKeyId, now: Timestamp) {
        self.notes.key_use(key, now);
    }

    /// When a key was last used, within a minute.
    pub fn last_use(&self, key: ApiKeyId) -> Option<Timestamp> {
        self.notes.last_use(key)
    }

    /// How often the log was found to be rolled back since the account was loaded. Results from before a
    /// rollback may name other things now.
    pub fn divergences(&self) -> u64 {
        self.published.divergences.load(Ordering::Acquire)
    }

    /// Closes the queue: the writer finishes what is left, and stops.
    pub(crate) fn close(&mut self) {
        drop(self.queue.take());
    }

    /// Whether nothing waits to be written, and the last change could be stored.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.notes.is_waiting() && self.takes_writes()
    }

    /// Waits until all pending audit entries and last uses are written. After a change that could not be
    /// stored it tries the store in any case. Otherwise a client that sends changes only to servers that take
    /// them would never find out that this one does again.
    pub async fn flush(&self) -> Result<(), ExecuteError> {
        if self.is_flushed() {
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
        let waits = match caller {
            Caller::Key { user, key } => {
                let person = self.snapshot().person_behind(user);
                let waits = self.in_flight.enter(person, key);
                Some(waits.ok_or(ExecuteError::Crowded)?)
            }
            Caller::Operator | Caller::Person(_) => None,
        };
        let usage = Arc::clone(&self.usage);
        let (pending, answer) = Pending::new(command, caller, audit, waits, usage);
        let queue = self.queue.as_ref().ok_or(ExecuteError::Unavailable)?;
        queue
            .try_send(Errand::Commit(Box::new(pending)))
            .map_err(|_| ExecuteError::Unavailable)?;
        answer.await.unwrap_or(Err(ExecuteError::Unavailable))
    }
}

/// The questions at these places, and where their answers go.
fn asked<'a, T>(
    questions: &'a [Question],
    answers: &'a mut [T],
    places: &'a [usize],
) -> impl Iterator<Item = (&'a Question, &'a mut T)> {
    let mut places = places.iter().copied().peekable();
    let all = questions.iter().zip(answers).enumerate();
    all.filter(move |(place, _)| places.next_if_eq(place).is_some())
        .map(|(_, one)| one)
}

/// Never earlier than the last change of the state, as in the index.
#[cold]
fn by_state(state: &State, question: &Question, now: Timestamp) -> bool {
    let now = now.max(state.latest());
    state.decide(question, now).is_allowed()
}

impl Drop for Account {
    /// Closes the queue and waits until all its commands are committed and answered.
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
