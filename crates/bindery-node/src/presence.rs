//! Loads accounts on demand, each by one task for all that wait, and unloads those that were idle for a
//! while.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bindery_core::api_key::SecretHash;
use bindery_core::command::Caller;
use bindery_core::id::AccountId;
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::StoreError;
use tokio::sync::{Semaphore, watch};

use crate::account::Account;
use crate::follow::FOLLOW_INTERVAL;
use crate::lookup::ClientNetwork;
use crate::meters::StoreCall;
use crate::node::{Node, OpenError, Unavailable};
use crate::notes::Notes;

/// How many accounts are loaded at once for waiting requests; more wait for their turn.
const LOADS_MAX: usize = 2;
/// How long after a failed load the account is tried again.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// How long a request waits until an account has the revision that the store reports.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
/// A last change this far ahead of the clock is logged.
const AHEAD_MS_MAX: i64 = 60_000;
/// A last change this long ago is logged.
const REST_MS_MAX: i64 = 366 * 86_400_000;
/// How many accounts can be loaded or unloaded at once.
const TURNS: usize = 16;
/// How many entries of the log are read at once.
const LOG_PAGE: usize = 1000;

/// The loads that are running.
#[derive(Debug)]
pub(crate) struct Presence {
    /// Held while an account of this slot is loaded or unloaded, so that none is loaded twice.
    turns: [Mutex<()>; TURNS],
    loads: Mutex<BTreeMap<AccountId, Load>>,
    places: Semaphore,
}

#[derive(Debug)]
struct Load {
    /// `None` while loading; then whether the account is loaded.
    ended: watch::Receiver<Option<bool>>,
    began: Instant,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self {
            turns: Default::default(),
            loads: Mutex::default(),
            places: Semaphore::new(LOADS_MAX),
        }
    }

    fn turn(number: usize) -> usize {
        number % TURNS
    }

    fn loads(&self) -> MutexGuard<'_, BTreeMap<AccountId, Load>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn turn_of(AccountId(number): AccountId) -> usize {
    Presence::turn(usize::try_from(number).unwrap_or_default())
}

/// Accounts that were idle for a while, with nothing left to write.
#[derive(Debug)]
pub struct Idle {
    accounts: Vec<AccountId>,
    /// Idle since before this time.
    before: Timestamp,
}

/// What is known about a key without asking the store.
enum Recognised {
    Caller(Arc<Account>, Caller),
    Nobody,
    Unknown,
}

impl Node {
    /// The account and caller behind a key's hash at `now`, if the key is valid. Loads the account if
    /// necessary. An unknown key is looked up in the store, so a key that another process has just made is
    /// valid. `network` is the client's: each network has its own share of the queue of lookups.
    pub async fn admit(
        self: &Arc<Self>,
        hash: &SecretHash,
        now: Timestamp,
        network: ClientNetwork,
    ) -> Result<Option<(Arc<Account>, Caller)>, Unavailable> {
        match self.recognise(hash, now) {
            Recognised::Caller(account, caller) => Ok(Some((account, caller))),
            Recognised::Nobody => Ok(None),
            Recognised::Unknown => {
                let account = Box::pin(self.account_of_secret(hash, now, network)).await?;
                Ok(account.and_then(|account| {
                    let caller = account.authenticate(hash, now)?;
                    Some((account, caller))
                }))
            }
        }
    }

    /// The same without waiting, for loaded accounts only.
    pub fn authenticate(
        &self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Option<(Arc<Account>, Caller)> {
        match self.recognise(hash, now) {
            Recognised::Caller(account, caller) => Some((account, caller)),
            Recognised::Nobody | Recognised::Unknown => None,
        }
    }

    fn recognise(&self, hash: &SecretHash, now: Timestamp) -> Recognised {
        let account = self.directory().find(hash).and_then(|id| self.account(id));
        let Some(account) = account else {
            return Recognised::Unknown;
        };
        match account.authenticate(hash, now) {
            Some(caller) => Recognised::Caller(account, caller),
            None => Recognised::Nobody,
        }
    }

    /// The account that the store has for this secret of a key or link: loaded, and at the revision that the
    /// store reports.
    pub async fn account_of_secret(
        self: &Arc<Self>,
        secret: &SecretHash,
        now: Timestamp,
        network: ClientNetwork,
    ) -> Result<Option<Arc<Account>>, Unavailable> {
        let Some(owner) = self.look_up(secret, network).await? else {
            return Ok(None);
        };
        let account = self.wake(owner.account, now).await?;
        tokio::time::timeout(REACH_TIMEOUT, account.reach(owner.revision))
            .await
            .map_err(|_| Unavailable)?;
        Ok(Some(account))
    }

    /// The account with this number, loaded if necessary. Concurrent calls share one load.
    pub async fn wake(
        self: &Arc<Self>,
        id: AccountId,
        now: Timestamp,
    ) -> Result<Arc<Account>, Unavailable> {
        if let Some(account) = self.account(id) {
            account.touch(now);
            return Ok(account);
        }
        let mut ended = self.join_load(id);
        let is_at_work = match ended.wait_for(Option::is_some).await {
            Ok(outcome) => *outcome == Some(true),
            Err(_) => false,
        };
        let account = is_at_work.then(|| self.account(id)).flatten();
        account.ok_or(Unavailable)
    }

    /// Joins the running load of this account, or one that has just failed, or starts one.
    fn join_load(self: &Arc<Self>, id: AccountId) -> watch::Receiver<Option<bool>> {
        let mut loads = self.presence().loads();
        if let Some(load) = loads.get(&id) {
            let is_under_way = load.ended.borrow().is_none() && load.ended.has_changed().is_ok();
            let has_just_failed =
                *load.ended.borrow() == Some(false) && load.began.elapsed() < FAILED_PAUSE;
            if is_under_way || has_just_failed {
                return load.ended.clone();
            }
        }
        let (end, ended) = watch::channel(None);
        let load = Load {
            ended: ended.clone(),
            began: Instant::now(),
        };
        loads.insert(id, load);
        drop(loads);
        // A task of its own: a waiting request may be cancelled, while others still wait.
        tokio::spawn(Arc::clone(self).load_for_all(id, end));
        ended
    }

    async fn load_for_all(self: Arc<Self>, id: AccountId, end: watch::Sender<Option<bool>>) {
        let place = self.presence().places.acquire().await;
        let node = Arc::clone(&self);
        let loaded = tokio::task::spawn_blocking(move || node.load(id)).await;
        drop(place);
        let is_loaded = match loaded {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, account = id.0, "failed to load account");
                false
            }
            Err(error) => {
                tracing::error!(%error, account = id.0, "failed to load account");
                false
            }
        };
        let mut loads = self.presence().loads();
        if is_loaded {
            loads.remove(&id);
        } else if let Some(load) = loads.get_mut(&id) {
            load.began = Instant::now();
        }
        end.send_replace(Some(is_loaded));
    }

    /// The account with this number, loaded on this thread if necessary.
    pub fn load(&self, id: AccountId) -> Result<Arc<Account>, OpenError> {
        let turn = &self.presence().turns[turn_of(id)];
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = self.account(id) {
            return Ok(account);
        }
        let began = Instant::now();
        let mut read_at = self.clock().steady();
        let loaded = self.load_state(id);
        let state = self.meters().watch(StoreCall::Load, loaded)?;
        let now = self.clock().now();
        let ahead_ms = state.latest().as_millis() - now.as_millis();
        if ahead_ms > AHEAD_MS_MAX {
            tracing::error!(
                account = id.0,
                ahead_ms,
                "the last change is in the future; until then, everything counts as happening at its moment: check the clock; if it \
                is right, run `bindery account repair-time`"
            );
        }
        if -ahead_ms > REST_MS_MAX {
            tracing::warn!(
                account = id.0,
                days = -ahead_ms / 86_400_000,
                "nothing was changed for a long time: make sure that the clock is right before the next change, since time in the \
                log never goes back"
            );
        }
        self.directory().add(id, state.api_keys());
        let uses = self.store().key_uses(id);
        let uses = self.meters().watch(StoreCall::Load, uses)?;
        let (mut account, mut desk) = Account::new(
            state,
            Arc::clone(self.store()),
            Arc::clone(self.guard()),
            self.random().clone(),
            self.directory().clone(),
            Notes::new(uses),
            Arc::clone(self.meters()),
        );
        if self.has_others() {
            // Building the index of a large account takes a while, and the follower does not reach an account
            // that isn't there yet.
            let again_at = self.clock().steady();
            if desk.catch_up() {
                read_at = again_at;
            }
        }
        account.set_thread(self.hands().employ(desk)?);
        let account = Arc::new(account);
        account.touch(now);
        self.freshness().joins(read_at, || {
            self.accounts_at_work().insert(id, Arc::clone(&account));
        });
        self.meters().loads.count();
        self.meters().load_micros.observe_micros(began.elapsed());
        Ok(account)
    }

    /// The newest state, including what others appended during the load: the follower does not reach an
    /// account that isn't there yet.
    fn load_state(&self, id: AccountId) -> Result<State, StoreError> {
        let mut state = self.store().load(id)?;
        let mut is_anew = false;
        while self.has_others() {
            let entries = match self.store().changes_since(id, state.position(), LOG_PAGE) {
                // The log was rolled back or truncated meanwhile.
                Err(StoreError::Forgotten { .. } | StoreError::Diverged { .. }) if !is_anew => {
                    is_anew = true;
                    state = self.store().load(id)?;
                    continue;
                }
                entries => entries?,
            };
            for entry in &entries {
                state.advance(entry);
            }
            if entries.len() < LOG_PAGE {
                break;
            }
        }
        Ok(state)
    }

    /// Unloads the accounts that were idle for this long, with everything written, and returns their numbers.
    /// Unloads none while the store is unreachable: they could not be loaded again.
    pub async fn evict_idle(self: &Arc<Self>, idle: Duration) -> BTreeSet<AccountId> {
        let idle = self.find_idle(idle).await;
        if idle.accounts.is_empty() {
            return BTreeSet::new();
        }
        let node = Arc::clone(self);
        // Dropping the last handle of an account waits for its writer.
        let evicted = tokio::task::spawn_blocking(move || node.evict(&idle)).await;
        evicted.unwrap_or_else(|error| {
            tracing::error!(%error, "idle accounts are not unloaded");
            BTreeSet::new()
        })
    }

    /// The accounts that were idle for this long, once their pending records are written.
    pub async fn find_idle(&self, idle: Duration) -> Idle {
        let idle_ms = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
        let before = self.clock().now().as_millis().saturating_sub(idle_ms);
        let mut idle = Idle {
            accounts: Vec::new(),
            before: Timestamp::from_millis(before),
        };
        if !self.could_have_it_back() {
            return idle;
        }
        for account in self.accounts() {
            let is_idle = account.last_touch() <= idle.before;
            if is_idle && account.flush().await.is_ok() && account.takes_writes() {
                idle.accounts.push(account.id());
            }
        }
        idle
    }

    /// Whether the store is reachable, so that an unloaded account could be loaded again.
    fn could_have_it_back(&self) -> bool {
        self.staleness() <= FOLLOW_INTERVAL * 4
    }

    /// Unloads those that are still idle, and returns their numbers. Blocks.
    pub fn evict(&self, idle: &Idle) -> BTreeSet<AccountId> {
        let mut evicted = BTreeSet::new();
        if !self.could_have_it_back() {
            return evicted;
        }
        for turn in 0..TURNS {
            let ids = idle.accounts.iter().copied();
            let ids = ids.filter(|id| turn_of(*id) == turn);
            let lock = &self.presence().turns[turn];
            // Held until the writer has stopped and the keys are removed, so that the account can't be loaded
            // meanwhile.
            let _turn = lock.lock().unwrap_or_else(PoisonError::into_inner);
            let accounts: BTreeMap<AccountId, Arc<Account>> = ids
                .filter_map(|id| Some((id, self.take_idle(id, idle.before)?)))
                .collect();
            if !accounts.is_empty() {
                let ids = accounts.keys().copied().collect();
                drop(accounts);
                self.directory().forget(&ids);
                evicted.extend(ids);
            }
        }
        self.meters()
            .evictions
            .add(u64::try_from(evicted.len()).unwrap_or_default());
        evicted
    }

    /// Unloads an account that the store no longer has: the store was restored to before the account was
    /// made, or a server without it took over. Blocks.
    pub(crate) fn put_out_of_work(&self, id: AccountId) {
        let turn = &self.presence().turns[turn_of(id)];
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(account) = self.accounts_at_work().remove(&id) else {
            return;
        };
        tracing::error!(
            account = id.0,
            known = account.snapshot().revision().0,
            "the store has lost this account: it was restored, or a server without the account took over. Unloading it"
        );
        self.meters().diverged.count();
        // Before its writer stops: no caller is admitted by its keys meanwhile.
        self.directory().forget(&BTreeSet::from([id]));
        drop(account);
        self.meters().evictions.add(1);
    }

    /// Takes the account out if it is still idle and no other handle exists: a handle means that it is in
    /// use.
    fn take_idle(&self, id: AccountId, before: Timestamp) -> Option<Arc<Account>> {
        let mut accounts = self.accounts_at_work();
        let Entry::Occupied(entry) = accounts.entry(id) else {
            return None;
        };
        let account = entry.get();
        // While the accounts are locked, no new handle can be made.
        let is_idle = Arc::strong_count(account) == 1
            && account.last_touch() <= before
            && !account.has_notes();
        is_idle.then(|| entry.remove())
    }
}
