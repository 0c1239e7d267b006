//! All accounts of one store, and who may speak for which.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bindery_core::api_key::{ApiKey, SecretHash};
use bindery_core::change::{Change, Entry};
use bindery_core::command::Caller;
use bindery_core::id::AccountId;
use bindery_core::place::Account as AccountRecord;
use bindery_core::time::Timestamp;
use bindery_store::{Store, StoreError};

use crate::account::Account;
use crate::clock::Clock;
use crate::follow::Freshness;
use crate::notes::Notes;

/// How far the last change may be ahead of the clock without a word.
const AHEAD_MS_MAX: i64 = 60_000;

/// How long what was noted beside the changes may wait to be written down.
pub const NOTES_INTERVAL: Duration = Duration::from_secs(1);

/// A process's accounts.
pub struct Node {
    store: Arc<dyn Store>,
    clock: Clock,
    directory: Directory,
    accounts: RwLock<BTreeMap<AccountId, Arc<Account>>>,
    /// Held while an account is put to work, so that none is twice.
    starting: Mutex<()>,
    freshness: Freshness,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("accounts", &self.accounts().len())
            .finish_non_exhaustive()
    }
}

/// Why an account can't be put to work.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no thread for its writer.
    #[error("the system gives no thread for a writer: {0}")]
    Thread(#[from] std::io::Error),
}

impl Node {
    /// Loads every account of the store and starts its writer.
    pub fn open(store: Arc<dyn Store>, clock: Clock) -> Result<Self, OpenError> {
        let node = Self {
            store,
            clock,
            directory: Directory::default(),
            accounts: RwLock::default(),
            starting: Mutex::default(),
            freshness: Freshness::new(),
        };
        for account in node.store.accounts()? {
            node.start(account.id)?;
        }
        Ok(node)
    }

    /// Keeps a new account and starts its writer.
    pub fn create_account(&self, account: &AccountRecord) -> Result<Arc<Account>, OpenError> {
        self.store.create_account(account)?;
        self.start(account.id)
    }

    /// The accounts at work, by number.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().cloned().collect()
    }

    /// The account with this number, if it is at work.
    pub fn account(&self, id: AccountId) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(&id).cloned()
    }

    /// What tells the time here.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The account and caller behind a key's hash at `now`, if it is good.
    pub fn authenticate(
        &self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Option<(Arc<Account>, Caller)> {
        let id = self.directory.find(hash)?;
        let account = self.account(id)?;
        let snapshot = account.snapshot();
        // Never earlier than the last change: a clock that was set back brings no key back to life.
        let caller = snapshot.authenticate(hash, now.max(snapshot.latest()))?;
        if let Caller::Key { key, .. } = caller {
            account.note_use(key, now);
        }
        Some((account, caller))
    }

    /// Whether the last change of every account could be stored.
    pub fn takes_writes(&self) -> bool {
        self.accounts().iter().all(|account| account.takes_writes())
    }

    /// How long ago this process had surely read everything that was in the store: nothing while nobody else can write there,
    /// at most about [`FOLLOW_INTERVAL`](crate::FOLLOW_INTERVAL) while [`Node::follow`] runs and the store can be reached.
    pub fn staleness(&self) -> Duration {
        self.freshness.staleness()
    }

    /// Whether other processes may append to the same store; known once [`Node::follow`] runs.
    pub fn has_others(&self) -> bool {
        self.freshness.has_others()
    }

    pub(crate) fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Where the log and the audit log are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Has what was noted written down every [`NOTES_INTERVAL`], for as long as it is polled.
    pub async fn keep_notes(&self) {
        let mut interval = tokio::time::interval(NOTES_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for account in self.accounts() {
                if let Err(error) = account.flush().await {
                    tracing::warn!(%error, "audit entries wait to be written");
                }
            }
        }
    }

    pub(crate) fn start(&self, id: AccountId) -> Result<Arc<Account>, OpenError> {
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = self.account(id) {
            return Ok(account);
        }
        let state = self.store.load(id)?;
        let ahead_ms = state.latest().as_millis() - self.clock.now().as_millis();
        if ahead_ms > AHEAD_MS_MAX {
            tracing::error!(
                account = id.0,
                ahead_ms,
                "the last change is in the future; until then, everything counts as happening at its moment: check the clock"
            );
        }
        for key in state.api_keys() {
            self.directory.add(id, key);
        }
        let account = Account::start(
            state,
            Arc::clone(&self.store),
            self.clock.clone(),
            self.directory.clone(),
            Notes::new(self.store.key_uses(id)?),
        )?;
        let account = Arc::new(account);
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        accounts.insert(id, Arc::clone(&account));
        Ok(account)
    }
}

/// Which account a key belongs to. A hint only: the account decides whether the key is good, so an entry that has
/// outlived its secret does no harm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory(Arc<RwLock<HashMap<SecretHash, AccountId>>>);

impl Directory {
    fn find(&self, hash: &SecretHash) -> Option<AccountId> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(hash)
            .copied()
    }

    pub(crate) fn add(&self, account: AccountId, key: &ApiKey) {
        let mut accounts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        accounts.insert(key.secret.hash, account);
        if let Some(previous) = key.previous {
            accounts.insert(previous.hash, account);
        }
    }

    /// Takes the keys out of new log entries.
    pub(crate) fn learn(&self, account: AccountId, entries: &[Entry]) {
        for change in entries.iter().flat_map(|entry| &entry.changes) {
            if let Change::PutApiKey(key) = change {
                self.add(account, key);
            }
        }
    }
}
