//! One node's way to the database, where anything can go wrong: a call fails, hangs while others go on, commits and loses the
//! answer, or is where its node is killed.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bindery_core::api_key::SecretHash;
use bindery_core::audit::AuditEntry;
use bindery_core::change::{Entry, LogPosition};
use bindery_core::credential::Credential;
use bindery_core::id::{AccountId, ApiKeyId, Revision};
use bindery_core::place::Account;
use bindery_core::state::State;
use bindery_core::text::Email;
use bindery_core::time::Timestamp;
use bindery_store::Owner;
use bindery_store::{AppendError, AuditQuery, Batch, Cause, Store, StoreError, Wake};

use crate::database::Ledger;
use crate::trace::Event;
use crate::world::{World, lock};

/// What is thrown where a node is killed inside of a call. The driver catches it and forgets the node.
#[derive(Debug)]
pub(crate) struct Killed;

/// The store as one process has it; a new one comes with each start of the node.
#[derive(Debug)]
pub(crate) struct Handle {
    world: Weak<World>,
    seat: usize,
    /// Accounts whose last commit from here went unanswered.
    unsettled: Mutex<BTreeSet<AccountId>>,
    /// Where no run holds the world.
    _kept: Option<Arc<World>>,
}

/// What becomes of a batch that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Failed,
    Refused,
    LostCommitted,
    LostNotCommitted,
    LostUnderWay,
}

impl Handle {
    pub(crate) fn new(world: &Arc<World>, seat: usize) -> Self {
        Self {
            world: Arc::downgrade(world),
            seat,
            unsettled: Mutex::default(),
            _kept: None,
        }
    }

    /// A handle that is all there is of its world.
    pub(crate) fn keeping(world: &Arc<World>) -> Self {
        Self {
            _kept: Some(Arc::clone(world)),
            ..Self::new(world, 0)
        }
    }

    fn world(&self) -> Arc<World> {
        let world = self.world.upgrade();
        world.expect("the world outlives its nodes")
    }

    /// What can happen to any call before it does anything.
    fn reach(&self, call: &'static str) -> Result<Arc<World>, Cause> {
        let world = self.world();
        if world.is_calm() {
            return Ok(world);
        }
        world.pass(20);
        if world.seats[self.seat].is_cut_off() {
            world.tell(Event::CallUnreachable, self.seat, || call.to_owned());
            return Err("cut off".into());
        }
        self.may_be_killed(&world, call);
        if world.chance(world.weather.fail) {
            world.tell(Event::CallFailed, self.seat, || call.to_owned());
            return Err("failed".into());
        }
        Ok(world)
    }

    fn may_be_killed(&self, world: &World, call: &'static str) {
        if world.may_kill(self.seat) && world.chance(world.weather.kill_in_call) {
            world.tell(Event::KilledInCall, self.seat, || call.to_owned());
            resume_unwind(Box::new(Killed));
        }
    }

    fn read<T>(
        &self,
        call: &'static str,
        account: AccountId,
        read: impl FnOnce(&mut Ledger) -> T,
    ) -> Result<T, StoreError> {
        let world = self.reach(call).map_err(StoreError::Unavailable)?;
        let found = {
            let mut database = lock(&world.database);
            let ledger = database.ledgers.get_mut(&account);
            read(ledger.ok_or(StoreError::NoAccount(account))?)
        };
        world.may_hang(self.seat, call);
        Ok(found)
    }

    /// Takes the account's row; whoever has it is waited for, up to a point.
    fn take_row(&self, world: &World, account: AccountId) -> Result<Row, AppendError> {
        let timed_out = || {
            world.pass(3_000);
            world.tell(Event::RowTimedOut, self.seat, String::new);
            Err(AppendError::Unavailable("the row is taken".into()))
        };
        loop {
            let mut database = lock(&world.database);
            let ledger = ledger(&mut database.ledgers, account)?;
            if !ledger.is_taken && ledger.under_way.is_none() {
                ledger.is_taken = true;
                return Ok(Row {
                    world: Weak::clone(&self.world),
                    account,
                });
            }
            let is_taken = ledger.is_taken;
            drop(database);
            if is_taken && world.is_calm() {
                // Other threads, in the suite that every store passes.
                std::thread::yield_now();
            } else if is_taken || (!world.is_calm() && world.chance(250)) {
                return timed_out();
            } else {
                world.settle(account);
            }
        }
    }

    fn commit(&self, world: &World, account: AccountId, batch: &Batch) -> Result<(), AppendError> {
        let fate = world.fate(batch);
        let write = || world.commit(account, batch, Some(self.seat));
        let revisions = || {
            let of = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.revision.0);
            format!(
                "revisions {}-{}",
                of(batch.entries.first()),
                of(batch.entries.last())
            )
        };
        let (event, committed) = match fate {
            Fate::Answered => {
                write();
                self.may_be_killed(world, "append, committed");
                return Ok(());
            }
            Fate::Failed => (
                Event::AppendFailed,
                AppendError::Unavailable("failed before the commit".into()),
            ),
            Fate::Refused => (
                Event::AppendRefused,
                AppendError::Contradiction("refused by chance".to_owned()),
            ),
            Fate::LostCommitted => {
                write();
                (Event::LostCommitted, unknown())
            }
            Fate::LostNotCommitted => (Event::LostNotCommitted, unknown()),
            Fate::LostUnderWay => {
                let mut database = lock(&world.database);
                ledger(&mut database.ledgers, account)?.under_way = Some(batch.clone());
                (Event::LostUnderWay, unknown())
            }
        };
        world.tell(event, self.seat, revisions);
        if let AppendError::Unknown(_) = committed {
            lock(&self.unsettled).insert(account);
            self.may_be_killed(world, "append, unanswered");
        }
        Err(committed)
    }
}

/// The account's row, for as long as a call has it. A node that is killed lets go of it.
struct Row {
    world: Weak<World>,
    account: AccountId,
}

impl Drop for Row {
    fn drop(&mut self) {
        let Some(world) = self.world.upgrade() else {
            return;
        };
        if let Some(ledger) = lock(&world.database).ledgers.get_mut(&self.account) {
            ledger.is_taken = false;
        }
    }
}

fn ledger(
    ledgers: &mut std::collections::BTreeMap<AccountId, Ledger>,
    account: AccountId,
) -> Result<&mut Ledger, AppendError> {
    let missing = || AppendError::Contradiction(StoreError::NoAccount(account).to_string());
    ledgers.get_mut(&account).ok_or_else(missing)
}

fn unknown() -> AppendError {
    AppendError::Unknown("the answer was lost".into())
}

impl World {
    /// A node is told why the log doesn't lead on from what it knows.
    fn tell_gap(&self, gap: &StoreError, seat: usize, call: &'static str) {
        let event = match gap {
            StoreError::Diverged { .. } => Event::Diverged,
            _ => Event::Forgotten,
        };
        self.tell(event, seat, || call.to_owned());
    }

    /// A store has no reason to refuse a batch that changes nothing, and notes that one refuses all the same are given up.
    fn fate(&self, batch: &Batch) -> Fate {
        let weather = &self.weather;
        if self.is_calm() {
            Fate::Answered
        } else if self.chance(weather.lose) {
            match self.below(4) {
                0 => Fate::LostCommitted,
                1 => Fate::LostNotCommitted,
                _ => Fate::LostUnderWay,
            }
        } else if self.chance(weather.fail) {
            Fate::Failed
        } else if !batch.entries.is_empty() && self.chance(weather.refuse) {
            Fate::Refused
        } else {
            Fate::Answered
        }
    }
}

impl Store for Handle {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let world = self.reach("accounts").map_err(StoreError::Unavailable)?;
        let database = lock(&world.database);
        let ledgers = database.ledgers.values();
        Ok(ledgers
            .map(|ledger| ledger.state.account().clone())
            .collect())
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        let world = self.reach("heads").map_err(StoreError::Unavailable)?;
        let heads = {
            let database = lock(&world.database);
            let ledgers = database.ledgers.iter();
            ledgers
                .map(|(id, ledger)| (*id, ledger.state.position()))
                .collect()
        };
        world.may_hang(self.seat, "heads");
        Ok(heads)
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        let world = self
            .reach("create_account")
            .map_err(StoreError::Unavailable)?;
        let mut database = lock(&world.database);
        if database.ledgers.contains_key(&account.id) {
            return Err(StoreError::AccountExists(account.id));
        }
        database
            .ledgers
            .insert(account.id, Ledger::new(account.clone()));
        Ok(())
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        let world = self.world();
        let is_from_records = world.is_calm() || world.chance(125);
        let loaded = self.read("load", account, |ledger| {
            // The other way takes two threads and is compared with this one after each run.
            if is_from_records {
                ledger.load()
            } else {
                ledger.state.clone()
            }
        });
        if is_from_records && loaded.is_ok() {
            world.tell(Event::Loaded, self.seat, String::new);
        }
        loaded
    }

    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        let world = self.reach("append").map_err(AppendError::Unavailable)?;
        let _row = self.take_row(&world, account)?;
        let (appended, head) = {
            let mut database = lock(&world.database);
            let ledger = ledger(&mut database.ledgers, account)?;
            (ledger.entries_after(known, usize::MAX), ledger.head())
        };
        let appended = appended.map_err(|error| {
            world.tell_gap(&error, self.seat, "append");
            match error {
                StoreError::Forgotten { until, .. } => AppendError::Forgotten { until },
                StoreError::Diverged { known, .. } => AppendError::Diverged { known },
                other => AppendError::Unavailable(other.into()),
            }
        })?;
        world.count(Event::EntriesCaughtUp, appended.len());
        let batch = decide(&appended);
        let newest = {
            let mut database = lock(&world.database);
            ledger(&mut database.ledgers, account)?.check(&batch)?
        };
        if batch.is_empty() {
            return Ok(head);
        }
        world.may_hang(self.seat, "append");
        self.may_be_killed(&world, "append, decided");
        self.commit(&world, account, &batch)?;
        Ok(newest)
    }

    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let is_unsettled = lock(&self.unsettled).contains(&account);
        let entries = self.read("changes_since", account, |ledger| {
            if is_unsettled && ledger.under_way.is_some() {
                return None;
            }
            Some(ledger.entries_after(known, limit))
        })?;
        let world = self.world();
        let entries = match entries {
            Some(Ok(entries)) => entries,
            Some(Err(gap)) => {
                lock(&self.unsettled).remove(&account);
                world.tell_gap(&gap, self.seat, "changes_since");
                return Err(gap);
            }
            None if !world.is_calm() && world.chance(300) => {
                world.pass(3_000);
                world.tell(Event::CallFailed, self.seat, || {
                    "changes_since, waiting for a commit".to_owned()
                });
                return Err(StoreError::Unavailable("the row is taken".into()));
            }
            None => {
                world.settle(account);
                return self.changes_since(account, known, limit);
            }
        };
        lock(&self.unsettled).remove(&account);
        world.count(Event::EntriesRead, entries.len());
        Ok(entries)
    }

    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        self.read("base", account, |ledger| ledger.base())
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let world = self.world();
        let forgotten = self.read("forget_log", account, |ledger| {
            let forgotten = ledger.forget_log(until, before, limit);
            if forgotten > 0 {
                world.has_kept(self.seat, ledger);
            }
            forgotten
        })?;
        world.count(Event::EntriesForgotten, forgotten);
        Ok(forgotten)
    }

    fn audit(
        &self,
        account: AccountId,
        query: &AuditQuery,
    ) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        self.read("audit", account, |ledger| ledger.find_audit(query))
    }

    fn forget_audit(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.read("forget_audit", account, |ledger| {
            ledger.forget_audit(before, limit)
        })
    }

    fn key_uses(&self, account: AccountId) -> Result<Vec<(ApiKeyId, Timestamp)>, StoreError> {
        self.read("key_uses", account, |ledger| {
            ledger.uses.iter().map(|(key, at)| (*key, *at)).collect()
        })
    }

    fn owners(&self, secrets: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        let world = self.reach("owners").map_err(StoreError::Unavailable)?;
        let database = lock(&world.database);
        let owner = |secret: &SecretHash| {
            let mut ledgers = database.ledgers.iter();
            let found = ledgers.find(|(_, ledger)| ledger.has_secret(secret));
            found.map(|(account, ledger)| Owner {
                account: *account,
                revision: ledger.head(),
            })
        };
        Ok(secrets.iter().map(owner).collect())
    }

    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError> {
        let world = self.reach("credentials").map_err(StoreError::Unavailable)?;
        let database = lock(&world.database);
        let ledgers = database.ledgers.iter();
        let ledgers =
            ledgers.filter(|(number, _)| account.is_none_or(|account| account == **number));
        let found =
            ledgers.filter_map(|(account, ledger)| Some((*account, ledger.credential(email)?)));
        let mut found: Vec<_> = found.take(limit).collect();
        found.sort_by_key(|(account, (_, until))| (until.map(Reverse), *account));
        let found = found.into_iter();
        Ok(found
            .map(|(account, (credential, _))| (account, credential))
            .collect())
    }

    /// Never waits: how much time passes between two steps is the driver's to say.
    fn watch(&self, timeout: Duration) -> Wake {
        let world = self.world();
        let seat = &world.seats[self.seat];
        if world.is_calm() {
            lock(&seat.wakes).clear();
            return Wake::Quiet;
        }
        self.may_be_killed(&world, "watch");
        if seat.is_cut_off() || world.chance(30) {
            world.tell(Event::WakeMissed, self.seat, String::new);
            return Wake::Missed;
        }
        let mut heard = BTreeSet::new();
        let waiting = std::mem::take(&mut *lock(&seat.wakes));
        for account in waiting {
            // Later ones may be heard before earlier ones, and together or apart.
            if world.chance(700) {
                world.count(Event::WakeDelivered, 1);
                heard.insert(account);
            } else {
                lock(&seat.wakes).push(account);
            }
        }
        if world.chance(20) {
            world.tell(Event::WakeForNothing, self.seat, String::new);
            heard.insert(AccountId(1));
        }
        if heard.is_empty() {
            world.pass(
                u64::try_from(timeout.as_millis())
                    .unwrap_or(u64::MAX)
                    .min(100),
            );
            return Wake::Quiet;
        }
        Wake::Appended(heard)
    }
}
