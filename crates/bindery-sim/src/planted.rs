//! Mistakes planted between a node and its store or its readers, which act like a bug in the node's code. A
//! simulation that doesn't find them proves nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
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
use bindery_store::{AppendError, AuditQuery, Batch, Store, StoreError, Wake};

use crate::handle::Handle;
use crate::run::{Run, lock};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Readers see a batch as soon as it is decided.
    PublishedBeforeCommit,
    /// A commit without a response counts as not written, without a look at the log.
    CatchUpSkippedAfterLostResponse,
    /// Two entries of other nodes are applied in the wrong order.
    AppliedOutOfOrder,
    /// One entry of other nodes is skipped.
    EntrySkipped,
    /// Clients get success although the commit has failed.
    AnsweredWithoutCommit,
    /// A commit without a response is sent again, as if it were known not to be written.
    SentAgainAfterLostResponse,
    /// A client's "at least" is ignored.
    AtLeastIsIgnored,
    /// Entries have the clock's time, even if that is before the last one.
    TimeGoesBack,
    /// A truncated log is taken for a log without news.
    TruncationIgnored,
    /// Retention removes everything old, including the newest revisions that it must keep.
    RetentionRemovesTooMuch,
    /// An account is unloaded with pending audit entries.
    UnloadedWithPendingEntries,
    /// An unloaded account is loaded again in its first state.
    LoadedInFirstState,
    /// Positions are compared by revision only, not by entry.
    EntryIsNotCompared,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::PublishedBeforeCommit,
        Self::CatchUpSkippedAfterLostResponse,
        Self::AppliedOutOfOrder,
        Self::EntrySkipped,
        Self::AnsweredWithoutCommit,
        Self::SentAgainAfterLostResponse,
        Self::AtLeastIsIgnored,
        Self::TimeGoesBack,
        Self::TruncationIgnored,
        Self::RetentionRemovesTooMuch,
        Self::UnloadedWithPendingEntries,
        Self::LoadedInFirstState,
        Self::EntryIsNotCompared,
    ];
}

/// A node's store with a mistake in front of it.
#[derive(Debug)]
pub(crate) struct Planted {
    mistake: Mistake,
    inner: Handle,
    run: Weak<Run>,
    seat: usize,
    /// Whether a response was lost and the log was not read since.
    is_lost: AtomicBool,
    /// Accounts as they were loaded first.
    first: Mutex<BTreeMap<AccountId, State>>,
}

impl Planted {
    pub(crate) fn new(mistake: Mistake, inner: Handle, run: &Arc<Run>, seat: usize) -> Self {
        Self {
            mistake,
            inner,
            run: Arc::downgrade(run),
            seat,
            is_lost: AtomicBool::new(false),
            first: Mutex::default(),
        }
    }

    fn run(&self) -> Arc<Run> {
        let run = self.run.upgrade();
        run.expect("the run outlives its nodes")
    }

    /// The entries of other nodes, changed by the mistake.
    fn spoil(&self, entries: &mut [Entry]) {
        if let [first, second, ..] = entries {
            if self.mistake == Mistake::AppliedOutOfOrder {
                std::mem::swap(&mut first.changes, &mut second.changes);
            } else if self.mistake == Mistake::EntrySkipped {
                first.changes.clear();
            }
        }
    }

    /// The state that readers would see if it were published now.
    fn publish_early(&self, account: AccountId, appended: &[Entry], batch: &Batch) {
        let run = self.run();
        let seat = &run.seats[self.seat];
        let published = seat.node().and_then(|node| node.account(account));
        if let Some(published) = published {
            let mut state: State = published.snapshot().as_ref().clone();
            for entry in appended.iter().chain(&batch.entries) {
                if entry.revision == state.revision().next() {
                    state.advance(entry);
                }
            }
            *lock(&seat.early) = Some(state);
        }
    }

    fn is_giving_up(&self) -> bool {
        lock(&self.run().seats[self.seat].eviction).is_some()
    }

    /// A position, changed by the mistake.
    fn as_known(&self, position: LogPosition) -> LogPosition {
        match self.mistake {
            Mistake::EntryIsNotCompared => position.revision.into(),
            _ => position,
        }
    }

    fn set_time_back(&self, batch: &mut Batch) {
        let now = self.run().now_at(self.seat);
        for entry in &mut batch.entries {
            entry.at = now;
        }
    }
}

impl Store for Planted {
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.inner.accounts()
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        let heads = self.inner.heads()?;
        let heads = heads.into_iter();
        Ok(heads.map(|(id, head)| (id, self.as_known(head))).collect())
    }

    fn create_account(&self, account: &Account) -> Result<(), StoreError> {
        self.inner.create_account(account)
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        let loaded = self.inner.load(account)?;
        if self.mistake != Mistake::LoadedInFirstState {
            return Ok(loaded);
        }
        Ok(lock(&self.first).entry(account).or_insert(loaded).clone())
    }

    fn append(
        &self,
        account: AccountId,
        known: LogPosition,
        decide: &mut dyn FnMut(&[Entry]) -> Batch,
    ) -> Result<Revision, AppendError> {
        let known = self.as_known(known);
        let mut decided = Batch::default();
        let appended = self.inner.append(account, known, &mut |appended| {
            let mut appended = appended.to_vec();
            self.spoil(&mut appended);
            let mut batch = decide(&appended);
            match self.mistake {
                Mistake::PublishedBeforeCommit => self.publish_early(account, &appended, &batch),
                Mistake::TimeGoesBack => self.set_time_back(&mut batch),
                Mistake::UnloadedWithPendingEntries
                    if self.is_giving_up() && batch.entries.is_empty() =>
                {
                    batch = Batch::default();
                }
                _ => {}
            }
            decided = batch.clone();
            batch
        });
        *lock(&self.run().seats[self.seat].early) = None;
        match (self.mistake, appended) {
            (Mistake::CatchUpSkippedAfterLostResponse, Err(AppendError::Unknown(cause))) => {
                self.is_lost.store(true, Ordering::Relaxed);
                Err(AppendError::Unknown(cause))
            }
            (Mistake::AnsweredWithoutCommit, Err(AppendError::Unavailable(cause))) => decided
                .entries
                .last()
                .map(|entry| entry.revision)
                .ok_or(AppendError::Unavailable(cause)),
            (Mistake::SentAgainAfterLostResponse, Err(AppendError::Unknown(_))) => {
                self.inner.append(account, known, &mut |appended| {
                    let mut again = decided.clone();
                    let last = appended
                        .last()
                        .map_or(known.revision, |entry| entry.revision);
                    let revisions = last.0 + 1..;
                    for (entry, revision) in again.entries.iter_mut().zip(revisions) {
                        entry.revision = Revision(revision);
                    }
                    again
                })
            }
            (_, appended) => appended,
        }
    }

    fn changes_since(
        &self,
        account: AccountId,
        known: LogPosition,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if self.is_lost.swap(false, Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        // A process reads this by itself before an account is loaded.
        let is_starting = self.run().seats[self.seat].is_starting();
        if self.mistake == Mistake::LoadedInFirstState && is_starting {
            return Ok(Vec::new());
        }
        let mut entries = match self
            .inner
            .changes_since(account, self.as_known(known), limit)
        {
            Err(StoreError::Forgotten { .. }) if self.mistake == Mistake::TruncationIgnored => {
                return Ok(Vec::new());
            }
            entries => entries?,
        };
        self.spoil(&mut entries);
        Ok(entries)
    }

    fn base(&self, account: AccountId) -> Result<State, StoreError> {
        self.inner.base(account)
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let until = match self.mistake {
            Mistake::RetentionRemovesTooMuch => Revision(u64::MAX),
            _ => until,
        };
        self.inner.forget_log(account, until, before, limit)
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

    fn owners(&self, secrets: &[SecretHash]) -> Result<Vec<Option<Owner>>, StoreError> {
        self.inner.owners(secrets)
    }

    fn credentials(
        &self,
        email: &Email,
        account: Option<AccountId>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Credential)>, StoreError> {
        self.inner.credentials(email, account, limit)
    }

    fn watch(&self, timeout: Duration) -> Wake {
        self.inner.watch(timeout)
    }
}
