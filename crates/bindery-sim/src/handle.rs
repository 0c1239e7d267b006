//! One node's connection to the database, with all faults: a call fails, hangs while others run, commits and
//! loses the response, or kills the node.

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
use crate::run::{Run, lock};
use crate::trace::Event;

/// The panic payload of a node that is killed inside of a call. The driver catches it and drops the node.
#[derive(Debug)]
pub(crate) struct Killed;

/// The store as one process has it; each start of the node creates a new one.
#[derive(Debug)]
pub(crate) struct Handle {
    run: Weak<Run>,
    seat: usize,
    /// Accounts whose last commit from here has no response.
    unsettled: Mutex<BTreeSet<AccountId>>,
    /// Set where no run holds the simulation.
    _kept: Option<Arc<Run>>,
}

/// The fault of a decided batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitOutcome {
    Answered,
    Failed,
    Refused,
    LostCommitted,
    LostNotCommitted,
    LostUnderWay,
}

impl Handle {
    pub(crate) fn new(run: &Arc<Run>, seat: usize) -> Self {
        Self {
            run: Arc::downgrade(run),
            seat,
            unsettled: Mutex::default(),
            _kept: None,
        }
    }

    /// A handle that owns its simulation.
    pub(crate) fn keeping(run: &Arc<Run>) -> Self {
        Self {
            _kept: Some(Arc::clone(run)),
            ..Self::new(run, 0)
        }
    }

    fn run(&self) -> Arc<Run> {
        let run = self.run.upgrade();
        run.expect("the run outlives its nodes")
    }

    /// Faults that can happen to any call before it does anything.
    fn reach(&self, call: &'static str) -> Result<Arc<Run>, Cause> {
        let run = self.run();
        if run.is_calm() {
            return Ok(run);
        }
        run.pass(20);
        if run.seats[self.seat].is_cut_off() {
            run.tell(Event::CallUnreachable, self.seat, || call.to_owned());
            return Err("cut off".into());
        }
        self.may_be_killed(&run, call);
        if run.chance(run.fault_rates.fail) {
            run.tell(Event::CallFailed, self.seat, || call.to_owned());
            return Err("failed".into());
        }
        Ok(run)
    }

    fn may_be_killed(&self, run: &Run, call: &'static str) {
        if run.may_kill(self.seat) && run.chance(run.fault_rates.kill_in_call) {
            run.tell(Event::KilledInCall, self.seat, || call.to_owned());
            resume_unwind(Box::new(Killed));
        }
    }

    fn read<T>(
        &self,
        call: &'static str,
        account: AccountId,
        read: impl FnOnce(&mut Ledger) -> T,
    ) -> Result<T, StoreError> {
        let run = self.reach(call).map_err(StoreError::Unavailable)?;
        let found = {
            let mut database = lock(&run.database);
            let ledger = database.ledgers.get_mut(&account);
            read(ledger.ok_or(StoreError::NoAccount(account))?)
        };
        run.may_hang(self.seat, call);
        Ok(found)
    }

    /// Takes the account's row; waits for its holder, up to a point.
    fn take_row(&self, run: &Run, account: AccountId) -> Result<Row, AppendError> {
        let timed_out = || {
            run.pass(3_000);
            run.tell(Event::RowTimedOut, self.seat, String::new);
            Err(AppendError::Unavailable("the row is taken".into()))
        };
        loop {
            let mut database = lock(&run.database);
            let ledger = ledger(&mut database.ledgers, account)?;
            if !ledger.is_taken && ledger.under_way.is_none() {
                ledger.is_taken = true;
                return Ok(Row {
                    run: Weak::clone(&self.run),
                    account,
                });
            }
            let is_taken = ledger.is_taken;
            drop(database);
            if is_taken && run.is_calm() {
                // Other threads, in the suite that every store passes.
                std::thread::yield_now();
            } else if is_taken || (!run.is_calm() && run.chance(250)) {
                return timed_out();
            } else {
                run.settle(account);
            }
        }
    }

    fn commit(&self, run: &Run, account: AccountId, batch: &Batch) -> Result<(), AppendError> {
        let commit_outcome = run.commit_outcome(batch);
        let write = || run.commit(account, batch, Some(self.seat));
        let revisions = || {
            let of = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.revision.0);
            format!(
                "revisions {}-{}",
                of(batch.entries.first()),
                of(batch.entries.last())
            )
        };
        let (event, committed) = match commit_outcome {
            CommitOutcome::Answered => {
                write();
                self.may_be_killed(run, "append, committed");
                return Ok(());
            }
            CommitOutcome::Failed => (
                Event::AppendFailed,
                AppendError::Unavailable("failed before the commit".into()),
            ),
            CommitOutcome::Refused => (
                Event::AppendRefused,
                AppendError::Contradiction("refused by chance".to_owned()),
            ),
            CommitOutcome::LostCommitted => {
                write();
                (Event::LostCommitted, unknown())
            }
            CommitOutcome::LostNotCommitted => (Event::LostNotCommitted, unknown()),
            CommitOutcome::LostUnderWay => {
                let mut database = lock(&run.database);
                ledger(&mut database.ledgers, account)?.under_way = Some(batch.clone());
                (Event::LostUnderWay, unknown())
            }
        };
        run.tell(event, self.seat, revisions);
        if let AppendError::Unknown(_) = committed {
            lock(&self.unsettled).insert(account);
            self.may_be_killed(run, "append, unanswered");
        }
        Err(committed)
    }
}

/// The account's row, held during a call. A killed node releases it.
struct Row {
    run: Weak<Run>,
    account: AccountId,
}

impl Drop for Row {
    fn drop(&mut self) {
        let Some(run) = self.run.upgrade() else {
            return;
        };
        if let Some(ledger) = lock(&run.database).ledgers.get_mut(&self.account) {
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
    AppendError::Unknown("the response was lost".into())
}

impl Run {
    /// Records why the log does not continue from the node's position.
    fn tell_gap(&self, gap: &StoreError, seat: usize, call: &'static str) {
        let event = match gap {
            StoreError::Diverged { .. } => Event::Diverged,
            _ => Event::Forgotten,
        };
        self.tell(event, seat, || call.to_owned());
    }

    /// A store has no reason to refuse a batch without changes, and refused audit entries would be dropped.
    fn commit_outcome(&self, batch: &Batch) -> CommitOutcome {
        let fault_rates = &self.fault_rates;
        if self.is_calm() {
            CommitOutcome::Answered
        } else if self.chance(fault_rates.lose) {
            match self.below(4) {
                0 => CommitOutcome::LostCommitted,
                1 => CommitOutcome::LostNotCommitted,
                _ => CommitOutcome::LostUnderWay,
            }
        } else if self.chance(fault_rates.fail) {
            CommitOutcome::Failed
        } else if !batch.entries.is_empty() && self.chance(fault_rates.refuse) {
            CommitOutcome::Refused
        } else {
            CommitOutcome::Answered
        }
    }
}

impl Store for Handle {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let run = self.reach("accounts").map_err(StoreError::Unavailable)?;
        let database = lock(&run.database);
        let ledgers = database.ledgers.values();
        Ok(ledgers
            .map(|ledger| ledger.state.account().clone())
            .collect())
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        let run = self.reach("heads").map_err(StoreError::Unavailable)?;
        let heads = {
            let database = lock(&run.database);
            let ledgers = database.ledgers.iter();
            ledgers
                .map(|(id, ledger)| (*id, ledger.state.position()))
                .collect()
        };
        run.may_hang(self.seat, "heads");
        Ok(heads)
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        let run = self
            .reach("create_account")
            .map_err(StoreError::Unavailable)?;
        let mut database = lock(&run.database);
        if database.ledgers.contains_key(&account.id) {
            return Err(StoreError::AccountExists(account.id));
        }
        database
            .ledgers
            .insert(account.id, Ledger::new(account.clone()));
        Ok(())
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        let run = self.run();
        let is_from_records = run.is_calm() || run.chance(125);
        let loaded = self.read("load", account, |ledger| {
            // The real load uses two threads, and is compared with this one after each run.
            if is_from_records {
                ledger.load()
            } else {
                ledger.state.clone()
            }
        });
        if is_from_records && loaded.is_ok() {
            run.tell(Event::Loaded, self.seat, String::new);
        }
        loaded
    }

    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        let run = self.reach("append").map_err(AppendError::Unavailable)?;
        let _row = self.take_row(&run, account)?;
        let (appended, head) = {
            let mut database = lock(&run.database);
            let ledger = ledger(&mut database.ledgers, account)?;
            (ledger.entries_after(known, usize::MAX), ledger.head())
        };
        let appended = appended.map_err(|error| {
            run.tell_gap(&error, self.seat, "append");
            match error {
                StoreError::Forgotten { until, .. } => AppendError::Forgotten { until },
                StoreError::Diverged { known, .. } => AppendError::Diverged { known },
                other => AppendError::Unavailable(other.into()),
            }
        })?;
        run.count(Event::EntriesCaughtUp, appended.len());
        let batch = decide(&appended);
        let newest = {
            let mut database = lock(&run.database);
            ledger(&mut database.ledgers, account)?.check(&batch)?
        };
        if batch.is_empty() {
            return Ok(head);
        }
        run.may_hang(self.seat, "append");
        self.may_be_killed(&run, "append, decided");
        self.commit(&run, account, &batch)?;
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
        let run = self.run();
        let entries = match entries {
            Some(Ok(entries)) => entries,
            Some(Err(gap)) => {
                lock(&self.unsettled).remove(&account);
                run.tell_gap(&gap, self.seat, "changes_since");
                return Err(gap);
            }
            None if !run.is_calm() && run.chance(300) => {
                run.pass(3_000);
                run.tell(Event::CallFailed, self.seat, || {
                    "changes_since, waiting for a commit".to_owned()
                });
                return Err(StoreError::Unavailable("the row is taken".into()));
            }
            None => {
                run.settle(account);
                return self.changes_since(account, known, limit);
            }
        };
        lock(&self.unsettled).remove(&account);
        run.count(Event::EntriesRead, entries.len());
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
        let run = self.run();
        let forgotten = self.read("forget_log", account, |ledger| {
            let forgotten = ledger.forget_log(until, before, limit);
            if forgotten > 0 {
                run.has_kept(self.seat, ledger);
            }
            forgotten
        })?;
        run.count(Event::EntriesForgotten, forgotten);
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
        let run = self.reach("owners").map_err(StoreError::Unavailable)?;
        let database = lock(&run.database);
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
        let run = self.reach("credentials").map_err(StoreError::Unavailable)?;
        let database = lock(&run.database);
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

    /// Never waits: the driver decides how much time passes between two steps.
    fn watch(&self, timeout: Duration) -> Wake {
        let run = self.run();
        let seat = &run.seats[self.seat];
        if run.is_calm() {
            lock(&seat.wakes).clear();
            return Wake::Quiet;
        }
        self.may_be_killed(&run, "watch");
        if seat.is_cut_off() || run.chance(30) {
            run.tell(Event::WakeMissed, self.seat, String::new);
            return Wake::Missed;
        }
        let mut heard = BTreeSet::new();
        let waiting = std::mem::take(&mut *lock(&seat.wakes));
        for account in waiting {
            // Later wake-ups may arrive before earlier ones, together or separately.
            if run.chance(700) {
                run.count(Event::WakeDelivered, 1);
                heard.insert(account);
            } else {
                lock(&seat.wakes).push(account);
            }
        }
        if run.chance(20) {
            run.tell(Event::WakeForNothing, self.seat, String::new);
            heard.insert(AccountId(1));
        }
        if heard.is_empty() {
            run.pass(
                u64::try_from(timeout.as_millis())
                    .unwrap_or(u64::MAX)
                    .min(100),
            );
            return Wake::Quiet;
        }
        Wake::Appended(heard)
    }
}
