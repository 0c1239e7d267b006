//! Follows what other processes append to the same store. The store wakes the follower where it can; in any
//! case it polls the revision of every account. A missed wake-up only costs time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bindery_core::change::LogPosition;
use bindery_core::id::{AccountId, Revision};
use bindery_store::{StoreError, Wake};

use crate::clock::Clock;
use crate::meters::StoreCall;
use crate::node::Node;

/// How often the revisions of all accounts are polled, besides wake-ups.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

impl Node {
    /// Whether the account is loaded and still has to get there.
    fn is_wanted(&self, wanted: Wanted) -> bool {
        let account = self.account(wanted.account());
        account.is_some_and(|account| !wanted.is_done_at(account.snapshot().position()))
    }

    /// Follows what others append, for as long as it is polled. Returns if no other process can write to the
    /// store.
    pub async fn follow(self: Arc<Self>) {
        let mut follower = Follower::new(self);
        loop {
            // The store blocks.
            let stepped = tokio::task::spawn_blocking(move || {
                let is_over = follower.step();
                (follower, is_over)
            });
            match stepped.await {
                Ok((_, true)) => return,
                Ok((next, false)) => follower = next,
                Err(error) => {
                    tracing::error!(%error, "changes of other servers are no longer followed");
                    return;
                }
            }
        }
    }
}

/// The follower of one process, step by step. In production [`Node::follow`] runs the steps.
#[derive(Debug)]
pub struct Follower {
    node: Arc<Node>,
    /// When the revisions were last polled, by [`Clock::steady`].
    asked: Option<Duration>,
    /// Loaded accounts that the last poll found elsewhere.
    wanted: Vec<Wanted>,
    /// Whether the store was unreachable.
    is_cut_off: bool,
}

/// Where a loaded account has to get.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// To this revision at least.
    To(AccountId, Revision),
    /// Away from this position, which its log no longer has.
    From(AccountId, LogPosition),
}

impl Wanted {
    /// What an account must do if it was at `known` before the log was found at `head`.
    fn of(account: AccountId, known: LogPosition, head: LogPosition) -> Option<Self> {
        if known.is_met_by(head) {
            None
        } else if known.revision < head.revision {
            Some(Self::To(account, head.revision))
        } else {
            Some(Self::From(account, known))
        }
    }

    fn account(self) -> AccountId {
        match self {
            Self::To(account, _) | Self::From(account, _) => account,
        }
    }

    fn is_done_at(self, position: LogPosition) -> bool {
        match self {
            Self::To(_, revision) => position.revision >= revision,
            Self::From(_, lost) => position != lost,
        }
    }
}

impl Follower {
    /// A follower for this node.
    pub fn new(node: Arc<Node>) -> Self {
        node.freshness().expect_others();
        Self {
            node,
            asked: None,
            wanted: Vec::new(),
            is_cut_off: false,
        }
    }

    /// Waits for a wake-up, at most [`FOLLOW_INTERVAL`], and lets the accounts catch up. Returns whether
    /// there is nothing to follow.
    pub fn step(&mut self) -> bool {
        let since = self.since_asked();
        let left = FOLLOW_INTERVAL.saturating_sub(since.unwrap_or(FOLLOW_INTERVAL));
        match self.node.store().watch(left) {
            Wake::Alone => {
                self.node.freshness().expect_nobody();
                return true;
            }
            Wake::Quiet => {}
            Wake::Appended(accounts) => self.call(&accounts),
            Wake::Missed => self.asked = None,
        }
        self.settle();
        if self
            .since_asked()
            .is_none_or(|since| since >= FOLLOW_INTERVAL)
        {
            self.ask();
        }
        false
    }

    fn since_asked(&self) -> Option<Duration> {
        let now = self.node.clock().steady();
        self.asked.map(|asked| now.saturating_sub(asked))
    }

    fn call(&self, accounts: &BTreeSet<AccountId>) {
        for id in accounts {
            // An account that is not loaded stays so: a later load reads its newest state.
            if let Some(account) = self.node.account(*id) {
                account.catch_up();
            }
        }
    }

    /// Polls the revisions, and lets accounts that are elsewhere catch up.
    fn ask(&mut self) {
        self.node.freshness().asks();
        // Read before the poll, so that nothing here is newer than its result.
        let known: BTreeMap<AccountId, LogPosition> = self
            .node
            .accounts()
            .into_iter()
            .map(|account| (account.id(), account.snapshot().position()))
            .collect();
        let heads = self.node.store().heads();
        let heads = self.node.meters().watch(StoreCall::Heads, heads);
        self.asked = Some(self.node.clock().steady());
        match heads {
            Ok(heads) => {
                if self.is_cut_off {
                    tracing::info!("the store can be reached again");
                }
                self.is_cut_off = false;
                let there: BTreeSet<AccountId> = heads.iter().map(|(id, _)| *id).collect();
                for id in known.keys().filter(|id| !there.contains(id)) {
                    self.node.put_out_of_work(*id);
                }
                // Accounts that were loaded since then are up to date.
                let wanted = heads
                    .into_iter()
                    .filter_map(|(id, head)| Wanted::of(id, *known.get(&id)?, head));
                self.wanted = wanted.collect();
                // Each wake-up checks them again.
                self.wanted.retain(|one| self.node.is_wanted(*one));
                let elsewhere = self.wanted.iter().map(|one| one.account()).collect();
                self.call(&elsewhere);
                self.node.freshness().seen(self.wanted.is_empty());
            }
            Err(error) => self.mourn(&error),
        }
    }

    /// Records when everything that was polled has arrived.
    fn settle(&self) {
        if !self.wanted.iter().any(|one| self.node.is_wanted(*one)) {
            self.node.freshness().settle();
        }
    }

    fn mourn(&mut self, error: &StoreError) {
        // Log it once, not twice a second.
        if !self.is_cut_off {
            tracing::error!(%error, "the store can't be reached; decisions continue from memory");
        }
        self.is_cut_off = true;
    }
}

/// When this process last knew everything that the store had, for its loaded accounts.
#[derive(Debug)]
pub(crate) struct Freshness {
    clock: Clock,
    /// Whether another process can write to the store.
    has_others: AtomicBool,
    /// In milliseconds of [`Clock::steady`].
    fresh_at: AtomicU64,
    questions: Mutex<Questions>,
}

/// One poll of the revisions.
#[derive(Clone, Copy, Debug, Default)]
struct Question {
    at: Duration,
    /// Whether an account was loaded since, from a state that was read before the poll. The poll says nothing
    /// about it.
    is_overtaken: bool,
}

#[derive(Debug)]
struct Questions {
    /// The newest poll with a result.
    answered: Question,
    /// The newest poll, with or without a result.
    asked: Question,
}

impl Freshness {
    /// Call it before anything is loaded.
    pub(crate) fn new(clock: Clock) -> Self {
        let at = clock.steady();
        let question = Question {
            at,
            is_overtaken: false,
        };
        Self {
            clock,
            has_others: AtomicBool::new(false),
            fresh_at: AtomicU64::new(millis(at)),
            questions: Mutex::new(Questions {
                answered: question,
                asked: question,
            }),
        }
    }

    pub(crate) fn staleness(&self) -> Duration {
        if !self.has_others.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        let fresh_at = Duration::from_millis(self.fresh_at.load(Ordering::Acquire));
        self.clock.steady().saturating_sub(fresh_at)
    }

    pub(crate) fn has_others(&self) -> bool {
        self.has_others.load(Ordering::Acquire)
    }

    fn expect_others(&self) {
        self.has_others.store(true, Ordering::Release);
    }

    fn expect_nobody(&self) {
        self.has_others.store(false, Ordering::Release);
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a loaded account with a state that was read at `read_at` or earlier. Nothing later is known of
    /// it, even if more is known of the others.
    pub(crate) fn joins(&self, read_at: Duration, comes: impl FnOnce()) {
        let mut questions = self.questions();
        questions.answered.is_overtaken |= read_at < questions.answered.at;
        questions.asked.is_overtaken |= read_at < questions.asked.at;
        self.fresh_at.fetch_min(millis(read_at), Ordering::AcqRel);
        // The lock is held meanwhile, so freshness can't advance in between.
        comes();
        drop(questions);
    }

    /// A poll starts now.
    fn asks(&self) {
        self.questions().asked = Question {
            at: self.clock.steady(),
            is_overtaken: false,
        };
    }

    /// The poll has a result; `is_reached` if all of it is known here.
    fn seen(&self, is_reached: bool) {
        let mut questions = self.questions();
        questions.answered = questions.asked;
        drop(questions);
        if is_reached {
            self.settle();
        }
    }

    /// Everything of the newest result is known here.
    fn settle(&self) {
        let questions = self.questions();
        let Question { at, is_overtaken } = questions.answered;
        if !is_overtaken {
            self.fresh_at.fetch_max(millis(at), Ordering::AcqRel);
        }
    }
}

fn millis(steady: Duration) -> u64 {
    u64::try_from(steady.as_millis()).unwrap_or(u64::MAX)
}
