//! Mistakes planted between a node and its store or its readers, so that it does what it would do if its code were wrong. A
//! simulation that doesn't find them proves nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bindery_core::change::{Entry, LogPosition};
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_store::{AppendError, Batch, Layer, Store, StoreError};

use crate::handle::Handle;
use crate::world::{World, lock};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Readers see a batch as soon as it is decided.
    PublishedBeforeCommit,
    /// A commit whose answer was lost counts as not written, without a look at the log.
    CatchUpSkippedAfterLostAnswer,
    /// What others appended is taken in with two entries in each other's place.
    AppliedOutOfOrder,
    /// One entry of what others appended is passed over.
    EntrySkipped,
    /// Whoever asked is told that all is well when the commit has failed.
    AnsweredWithoutCommit,
    /// A commit that failed is sent once more, as if it were known not to be written.
    SentAgainAfterLostAnswer,
    /// A client's "at least" is not waited for.
    AtLeastIsIgnored,
    /// Entries carry the clock's moment, even if that is before the last one.
    TimeGoesBack,
    /// That the log has forgotten what comes next is taken for nothing new.
    ForgottenTakenForNothing,
    /// Retention forgets whatever is old, also of the newest revisions that it was told to keep.
    RetentionForgetsTooMuch,
    /// An account is given up without what it has noted.
    GivenUpWithNotes,
    /// An account that was given up comes back as this process knew it first.
    ComesBackAsItWas,
    /// A log that has come as far counts as the one that is known, whatever its entries are.
    EndIsNotCompared,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::PublishedBeforeCommit,
        Self::CatchUpSkippedAfterLostAnswer,
        Self::AppliedOutOfOrder,
        Self::EntrySkipped,
        Self::AnsweredWithoutCommit,
        Self::SentAgainAfterLostAnswer,
        Self::AtLeastIsIgnored,
        Self::TimeGoesBack,
        Self::ForgottenTakenForNothing,
        Self::RetentionForgetsTooMuch,
        Self::GivenUpWithNotes,
        Self::ComesBackAsItWas,
        Self::EndIsNotCompared,
    ];
}

/// A node's store with a mistake in front of it.
#[derive(Debug)]
pub(crate) struct Planted {
    plant: Plant,
    inner: Handle,
    world: Weak<World>,
    seat: usize,
    /// Whether an answer was lost and nobody has looked since.
    is_lost: AtomicBool,
    /// Accounts as they were loaded first.
    first: Mutex<BTreeMap<AccountId, State>>,
}

impl Planted {
    pub(crate) fn new(plant: Plant, inner: Handle, world: &Arc<World>, seat: usize) -> Self {
        Self {
            plant,
            inner,
            world: Arc::downgrade(world),
            seat,
            is_lost: AtomicBool::new(false),
            first: Mutex::default(),
        }
    }

    fn world(&self) -> Arc<World> {
        let world = self.world.upgrade();
        world.expect("the world outlives its nodes")
    }

    /// What others appended, as the mistake has it.
    fn spoil(&self, entries: &mut [Entry]) {
        if let [first, second, ..] = entries {
            if self.plant == Plant::AppliedOutOfOrder {
                std::mem::swap(&mut first.changes, &mut second.changes);
            } else if self.plant == Plant::EntrySkipped {
                first.changes.clear();
            }
        }
    }

    /// What readers would see if it were published now.
    fn publish_early(&self, account: AccountId, appended: &[Entry], batch: &Batch) {
        let world = self.world();
        let seat = &world.seats[self.seat];
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
        lock(&self.world().seats[self.seat].eviction).is_some()
    }

    /// A position as the mistake has it.
    fn as_known(&self, position: LogPosition) -> LogPosition {
        match self.plant {
            Plant::EndIsNotCompared => position.revision.into(),
            _ => position,
        }
    }

    fn set_time_back(&self, batch: &mut Batch) {
        let now = self.world().now_at(self.seat);
        for entry in &mut batch.entries {
            entry.at = now;
        }
    }
}

impl Layer for Planted {
    fn below(&self) -> &dyn Store {
        &self.inner
    }

    fn heads(&self) -> Result<Vec<(AccountId, LogPosition)>, StoreError> {
        let heads = self.inner.heads()?;
        let heads = heads.into_iter();
        Ok(heads.map(|(id, head)| (id, self.as_known(head))).collect())
    }

    fn load(&self, account: AccountId) -> Result<State, StoreError> {
        let loaded = self.inner.load(account)?;
        if self.plant != Plant::ComesBackAsItWas {
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
            match self.plant {
                Plant::PublishedBeforeCommit => self.publish_early(account, &appended, &batch),
                Plant::TimeGoesBack => self.set_time_back(&mut batch),
                Plant::GivenUpWithNotes if self.is_giving_up() && batch.entries.is_empty() => {
                    batch = Batch::default();
                }
                _ => {}
            }
            decided = batch.clone();
            batch
        });
        *lock(&self.world().seats[self.seat].early) = None;
        match (self.plant, appended) {
            (Plant::CatchUpSkippedAfterLostAnswer, Err(AppendError::Unknown(cause))) => {
                self.is_lost.store(true, Ordering::Relaxed);
                Err(AppendError::Unknown(cause))
            }
            (Plant::AnsweredWithoutCommit, Err(AppendError::Unavailable(cause))) => decided
                .entries
                .last()
                .map(|entry| entry.revision)
                .ok_or(AppendError::Unavailable(cause)),
            (Plant::SentAgainAfterLostAnswer, Err(AppendError::Unknown(_))) => {
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
        // Nobody else tells a process what it reads before an account is at work.
        let is_starting = self.world().seats[self.seat].is_starting();
        if self.plant == Plant::ComesBackAsItWas && is_starting {
            return Ok(Vec::new());
        }
        let mut entries = match self
            .inner
            .changes_since(account, self.as_known(known), limit)
        {
            Err(StoreError::Forgotten { .. }) if self.plant == Plant::ForgottenTakenForNothing => {
                return Ok(Vec::new());
            }
            entries => entries?,
        };
        self.spoil(&mut entries);
        Ok(entries)
    }

    fn forget_log(
        &self,
        account: AccountId,
        until: Revision,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let until = match self.plant {
            Plant::RetentionForgetsTooMuch => Revision(u64::MAX),
            _ => until,
        };
        self.inner.forget_log(account, until, before, limit)
    }
}
