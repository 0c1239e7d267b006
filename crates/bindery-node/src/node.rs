//! All accounts of one store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use bindery_core::id::AccountId;
use bindery_core::place::Account as AccountRecord;
use bindery_store::{Store, StoreError};
use tokio::task::JoinSet;

use crate::account::Account;
use crate::clock::{Clock, ClockGuard};
use crate::desk::{Desk, Hands};
use crate::directory::Directory;
use crate::follow::Freshness;
use crate::lookup::Lookups;
use crate::meters::Meters;
use crate::presence::Presence;
use crate::random::Random;

/// How long pending audit entries and last uses may wait to be written.
pub const NOTES_INTERVAL: Duration = Duration::from_secs(1);

/// The accounts of a process. Those in use are loaded; the others are only in the store.
pub struct Node {
    store: Arc<dyn Store>,
    clock: Clock,
    guard: Arc<ClockGuard>,
    /// Whether the store's files were still the opened ones at the last check.
    is_in_place: AtomicBool,
    random: Random,
    hands: Hands,
    directory: Directory,
    accounts: RwLock<BTreeMap<AccountId, Arc<Account>>>,
    presence: Presence,
    lookups: Lookups,
    freshness: Freshness,
    meters: Arc<Meters>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("accounts", &self.accounts().len())
            .finish_non_exhaustive()
    }
}

impl Drop for Node {
    /// Closes all accounts before it joins the first writer: each may have to wait for the store.
    fn drop(&mut self) {
        for account in self.accounts_at_work().values_mut() {
            if let Some(account) = Arc::get_mut(account) {
                account.close();
            }
        }
    }
}

/// Why an account can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system could not start a thread for its writer.
    #[error("the system can't start a thread for a writer: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why no change of this node can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The files of the store were deleted, renamed or replaced.
    StoreMoved,
    /// The clock of this machine has run ahead since the last change.
    ClockAhead,
}

/// No result now: the store can't be reached, or too many requests wait. The log has the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store can't be reached, or too many requests wait")]
pub struct Unavailable;

impl Node {
    /// Opens a readable store without loading an account.
    pub fn open(store: Arc<dyn Store>, clock: Clock) -> Result<Self, OpenError> {
        Self::open_with(store, clock, Random::system(), Hands::Threads)
    }

    /// The same without threads: `take` gets the desk of each loaded account, and runs its turns.
    pub fn by_hand(
        store: Arc<dyn Store>,
        clock: Clock,
        random: Random,
        take: impl Fn(Desk) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        Self::open_with(store, clock, random, Hands::Given(Box::new(take)))
    }

    fn open_with(
        store: Arc<dyn Store>,
        clock: Clock,
        random: Random,
        hands: Hands,
    ) -> Result<Self, OpenError> {
        store.heads()?;
        let guard = ClockGuard::new(clock.clone(), store.database_time()?);
        if let Err(error) = guard.check(clock.now()) {
            tracing::error!(%error, "the clocks of this machine and of the database differ");
        }
        Ok(Self {
            guard: Arc::new(guard),
            is_in_place: AtomicBool::new(true),
            freshness: Freshness::new(clock.clone()),
            store,
            clock,
            random,
            hands,
            directory: Directory::default(),
            accounts: RwLock::default(),
            presence: Presence::new(),
            lookups: Lookups::default(),
            meters: Arc::new(Meters::new()),
        })
    }

    /// Stores a new account and loads it.
    pub fn create_account(&self, account: &AccountRecord) -> Result<Arc<Account>, OpenError> {
        self.store.create_account(account)?;
        self.load(account.id)
    }

    /// The loaded accounts, by number.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().cloned().collect()
    }

    /// The account with this number, if it is loaded.
    pub fn account(&self, id: AccountId) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(&id).cloned()
    }

    pub(crate) fn accounts_at_work(
        &self,
    ) -> RwLockWriteGuard<'_, BTreeMap<AccountId, Arc<Account>>> {
        self.accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    pub(crate) fn hands(&self) -> &Hands {
        &self.hands
    }

    /// The clock of this node.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether changes can be written, as far as is known: the last one of every loaded account was stored,
    /// and [`Node::obstacle`] finds nothing.
    pub fn takes_writes(&self) -> bool {
        self.obstacle().is_none() && self.accounts().iter().all(|account| account.takes_writes())
    }

    /// Why no change can be written now, whatever happened to the last one. Logs the remedy once each time.
    pub fn obstacle(&self) -> Option<Obstacle> {
        let place = self.store.check_place();
        let was_in_place = self.is_in_place.swap(place.is_ok(), Ordering::Relaxed);
        if let Err(error) = place {
            if was_in_place {
                tracing::error!(%error, "changes are refused");
            }
            return Some(Obstacle::StoreMoved);
        }
        if !was_in_place {
            tracing::info!("the files of the store are back; changes are accepted again");
        }
        self.guard.is_ahead().then_some(Obstacle::ClockAhead)
    }

    pub(crate) fn guard(&self) -> &Arc<ClockGuard> {
        &self.guard
    }

    /// How old the knowledge of this process about its loaded accounts can be. Zero while no other process
    /// can write to the store. At most about [`FOLLOW_INTERVAL`](crate::FOLLOW_INTERVAL) while
    /// [`Node::follow`] runs and the store can be reached.
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

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    pub(crate) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The counters of this node.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Writes pending audit entries and last uses every [`NOTES_INTERVAL`], for as long as it is polled.
    pub async fn keep_notes(self: &Arc<Self>) {
        let mut interval = tokio::time::interval(NOTES_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // In parallel: an account that waits for the store delays no other.
        let (mut flushes, mut flushing) = (JoinSet::new(), BTreeSet::new());
        loop {
            interval.tick().await;
            let node = Arc::clone(self);
            // Checks files, which blocks. Also without a request, so that the log has it soon.
            let _ = tokio::task::spawn_blocking(move || node.obstacle()).await;
            while let Some(ended) = flushes.try_join_next() {
                if let Ok(id) = ended {
                    flushing.remove(&id);
                }
            }
            for account in self.accounts() {
                if account.is_flushed() || !flushing.insert(account.id()) {
                    continue;
                }
                flushes.spawn(async move {
                    if let Err(error) = account.flush().await {
                        let AccountId(id) = account.id();
                        tracing::warn!(%error, account = id, "audit entries wait to be written");
                    }
                    account.id()
                });
            }
        }
    }
}
