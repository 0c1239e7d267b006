//! SQLite behind a gate. Each append takes the next fault from a list, and can be held until the test
//! releases it. Several nodes can share a store, each behind a gate of its own, and can be partitioned from
//! it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::change::{Entry, LogPosition};
use bindery_core::id::{AccountId, ApiKeyId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AppendError, Batch, Layer, Owner, Store, StoreError, Wake};

/// The fault of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is written, and the node knows it.
    Unavailable,
    /// Nothing is written, and the response is lost.
    LostBeforeCommit,
    /// It is written, and the response is lost.
    LostAfterCommit,
    /// It is written, the response is lost, and the log is truncated before anyone can read it.
    LostAndForgotten,
    /// It is written, the response is lost, and the store is unreachable from then on.
    LostAndCutOff,
    /// The batch is decided, and the commit waits until [`Gate::open`].
    HeldBeforeCommit,
}

/// Holds a commit.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().expect("the gate");
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, is_open)| !*is_open));
    }

    /// Waits until a commit is held.
    pub(crate) fn wait_until_held(&self) {
        let state = self.state.lock().expect("the gate");
        drop(self.changed.wait_while(state, |(is_held, _)| !*is_held));
    }

    /// Releases it and all later ones.
    pub(crate) fn open(&self) {
        self.state.lock().expect("the gate").1 = true;
        self.changed.notify_all();
    }
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<SqliteStore>,
    /// The store that replaces `inner`.
    pub(crate) instead: OnceLock<SqliteStore>,
    /// Whether other nodes share it. There are no wake-ups: a follower has to poll.
    pub(crate) is_shared: bool,
    /// Whether the store is unreachable.
    pub(crate) is_cut_off: AtomicBool,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    pub(crate) gate: Gate,
    pub(crate) appends: AtomicUsize,
    pub(crate) loads: AtomicUsize,
    pub(crate) lookups: AtomicUsize,
    /// The database's own clock, if it has one.
    pub(crate) database_time: Mutex<Option<Timestamp>>,
    /// Runs once, while an account that was read is being loaded.
    pub(crate) meanwhile: Meanwhile,
}

type Happens = Box<dyn FnOnce(&SqliteStore) + Send>;

#[derive(Default)]
pub(crate) struct Meanwhile(pub(crate) Mutex<Option<Happens>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile(..)")
    }
}

impl FaultyStore {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self {
            is_shared: false,
            ..Self::share(&Arc::new(inner))
        }
    }

    /// A gate of another node to the same store.
    pub(crate) fn share(inner: &Arc<SqliteStore>) -> Self {
        Self {
            inner: Arc::clone(inner),
            instead: OnceLock::new(),
            is_shared: true,
            is_cut_off: AtomicBool::new(false),
            faults: Mutex::default(),
            gate: Gate::default(),
            appends: AtomicUsize::new(0),
            loads: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
            database_time: Mutex::default(),
            meanwhile: Meanwhile::default(),
        }
    }

    pub(crate) fn cut_off(&self, is_cut_off: bool) {
        self.is_cut_off.store(is_cut_off, Ordering::SeqCst);
    }

    /// The current store, if it can be reached.
    pub(crate) fn there(&self) -> &SqliteStore {
        self.instead.get().unwrap_or(&self.inner)
    }

    pub(crate) fn next(&self, fault: Fault) {
        self.faults.lock().expect("the list").push_back(fault);
    }
}

/// The store refuses an audit entry with this operation, whatever else is in the batch.
pub(crate) const REFUSED: &str = "refused on purpose";

impl FaultyStore {
    fn append_sound(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        let mut is_refused = false;
        let appended = self.there().append(account, known, &mut |news| {
            let batch = decide(news);
            is_refused = batch.audit.iter().any(|one| one.operation == REFUSED);
            if is_refused { Batch::default() } else { batch }
        });
        if is_refused {
            return Err(AppendError::Contradiction(REFUSED.to_owned()));
        }
        appended
    }
}

fn lost() -> AppendError {
    AppendError::Unknown("the answer was lost on purpose".into())
}

impl Layer for FaultyStore {
    fn below(&self) -> &dyn Store {
        self.there()
    }

    fn check_reachable(&self) -> Result<(), StoreError> {
        if self.is_cut_off.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("cut off on purpose".into()));
        }
        Ok(())
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.check_reachable()?;
        self.there().load(account)
    }

    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.check_reachable()
            .map_err(|error| AppendError::Unavailable(error.into()))?;
        let fault = self.faults.lock().expect("the list").pop_front();
        match fault {
            None => self.append_sound(account, known, decide),
            Some(Fault::Unavailable) => {
                decide(&[]);
                Err(AppendError::Unavailable("out of reach on purpose".into()))
            }
            Some(Fault::LostBeforeCommit) => {
                decide(&[]);
                Err(lost())
            }
            Some(Fault::LostAfterCommit) => {
                self.inner.append(account, known, decide)?;
                Err(lost())
            }
            Some(Fault::LostAndForgotten) => {
                let newest = self.inner.append(account, known, decide)?;
                let late = Timestamp::from_millis(i64::MAX);
                let forgotten = self.inner.forget_log(account, newest, late, usize::MAX);
                forgotten.expect("it is there");
                Err(lost())
            }
            Some(Fault::LostAndCutOff) => {
                self.inner.append(account, known, decide)?;
                self.cut_off(true);
                Err(lost())
            }
            Some(Fault::HeldBeforeCommit) => self.inner.append(account, known, &mut |news| {
                let batch = decide(news);
                self.gate.pass();
                batch
            }),
        }
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        let meanwhile = self.meanwhile.0.lock().expect("the list").take();
        if let Some(meanwhile) = meanwhile {
            meanwhile(&self.inner);
        }
        self.check_reachable()?;
        self.there().key_uses(account)
    }

    fn owners(&self, secrets: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.check_reachable()?;
        self.there().owners(secrets)
    }

    fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(*self.database_time.lock().expect("the time"))
    }

    fn watch(&self, timeout: Duration) -> Wake {
        if !self.is_shared {
            return self.inner.watch(timeout);
        }
        std::thread::sleep(timeout);
        Wake::Quiet
    }
}
