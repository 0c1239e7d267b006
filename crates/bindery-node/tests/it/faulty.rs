//! SQLite behind a gate: each append takes the next fault off a list, and can be held until the test lets it go.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use bindery_core::audit::AuditEntry;
use bindery_core::change::Entry;
use bindery_core::id::{AccountId, ApiKeyId, Revision};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::sqlite::SqliteStore;
use bindery_store::{AppendError, AuditQuery, Batch, Store, StoreError, Wake};

/// What happens to one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is written, and that is known.
    Unavailable,
    /// Nothing is written, and the answer is lost.
    LostBeforeCommit,
    /// It is written, and the answer is lost.
    LostAfterCommit,
    /// The batch is decided, and the commit waits until [`Gate::open`].
    HeldBeforeCommit,
}

/// Holds a commit up.
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

    /// Waits until a commit stands at the gate.
    pub(crate) fn wait_until_held(&self) {
        let state = self.state.lock().expect("the gate");
        drop(self.changed.wait_while(state, |(is_held, _)| !*is_held));
    }

    /// Lets it through, and all that come later.
    pub(crate) fn open(&self) {
        self.state.lock().expect("the gate").1 = true;
        self.changed.notify_all();
    }
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: SqliteStore,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    pub(crate) gate: Gate,
    pub(crate) appends: AtomicUsize,
}

impl FaultyStore {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            gate: Gate::default(),
            appends: AtomicUsize::new(0),
        }
    }

    pub(crate) fn next(&self, fault: Fault) {
        self.faults.lock().expect("the list").push_back(fault);
    }
}

fn lost() -> AppendError {
    AppendError::Unknown("the answer was lost on purpose".into())
}

impl Store for FaultyStore {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.inner.accounts()
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        self.inner.create_account(account)
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        self.inner.load(account)
    }

    fn append(
        &self,
        account: AccountId,
        known: Revision,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults.lock().expect("the list").pop_front();
        match fault {
            None => self.inner.append(account, known, decide),
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
            Some(Fault::HeldBeforeCommit) => self.inner.append(account, known, &mut |news| {
                let batch = decide(news);
                self.gate.pass();
                batch
            }),
        }
    }

    fn changes_since(
        &self,
        account: AccountId,
        revision: Revision,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.changes_since(account, revision, limit)
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        self.inner.audit(account, query)
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.inner.forget_audit(account, before, limit)
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        self.inner.key_uses(account)
    }

    fn watch(&self, timeout: Duration) -> Wake {
        self.inner.watch(timeout)
    }
}
