//! Following what other processes append to the same store: woken by the store where it can, and by asking how far every
//! account has come where it can't. A wake-up that is missed costs time and nothing else.

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

/// How often the store is asked how far every account has come, whatever was heard in between.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

impl Node {
    /// Whether that is still to be done, of an account that is at work.
    fn is_wanted(&self, wanted: Wanted) -> bool {
        let account = self.account(wanted.account());
        account.is_some_and(|account| !wanted.is_done_at(account.snapshot().position()))
    }

    /// Follows what others append, for as long as it is polled. Ends by itself if nobody else can.
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
                    tracing::error!(%error, "what others change is not followed any more");
                    return;
                }
            }
        }
    }
}

/// One process's follower, step by step. [`Node::follow`] is what takes the steps in production.
#[derive(Debug)]
pub struct Follower {
    node: Arc<Node>,
    /// When every account's revision was last asked for, by [`Clock::steady`].
    asked: Option<Duration>,
    /// What that brought of accounts at work that are elsewhere.
    wanted: Vec<Wanted>,
    /// Whether the store was out of reach.
    is_cut_off: bool,
}

/// Where an account at work has to get.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// To this revision at least.
    To(AccountId, Revision),
    /// Away from this position, which its log has lost.
    From(AccountId, LogPosition),
}

impl Wanted {
    /// What is wanted of an account that was known to be at one place before the log turned out to be at another.
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
    /// Follows for this node.
    pub fn new(node: Arc<Node>) -> Self {
        node.freshness().expect_others();
        Self {
            node,
            asked: None,
            wanted: Vec::new(),
            is_cut_off: false,
        }
    }

    /// Waits for a wake-up, at most [`FOLLOW_INTERVAL`], and has the accounts catch up. Whether there is nothing to follow.
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
            // One that nobody here needs stays in the store: it is loaded as it is then.
            if let Some(account) = self.node.account(*id) {
                account.catch_up();
            }
        }
    }

    /// Asks how far every account has come, and has those catch up that are elsewhere.
    fn ask(&mut self) {
        self.node.freshness().asks();
        // Before that, so that nothing of it can be newer than the answer.
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
                // Those that have come to work since then are up to date themselves.
                let wanted = heads
                    .into_iter()
                    .filter_map(|(id, head)| Wanted::of(id, *known.get(&id)?, head));
                self.wanted = wanted.collect();
                // Each wake-up looks at them again.
                self.wanted.retain(|one| self.node.is_wanted(*one));
                let elsewhere = self.wanted.iter().map(|one| one.account()).collect();
                self.call(&elsewhere);
                self.node.freshness().seen(self.wanted.is_empty());
            }
            Err(error) => self.mourn(&error),
        }
    }

    /// Notes when everything that was asked for has come.
    fn settle(&self) {
        if !self.wanted.iter().any(|one| self.node.is_wanted(*one)) {
            self.node.freshness().settle();
        }
    }

    fn mourn(&mut self, error: &StoreError) {
        // Once, and not twice a second for as long as it lasts.
        if !self.is_cut_off {
            tracing::error!(%error, "the store can't be reached: deciding goes on from what is known");
        }
        self.is_cut_off = true;
    }
}

/// When everything in the store was last known here, of the accounts at work.
#[derive(Debug)]
pub(crate) struct Freshness {
    clock: Clock,
    /// Whether anyone else can write to the store.
    has_others: AtomicBool,
    /// In milliseconds of [`Clock::steady`].
    fresh_at: AtomicU64,
    questions: Mutex<Questions>,
}

/// How far every account had come was asked at some moment.
#[derive(Clone, Copy, Debug, Default)]
struct Question {
    at: Duration,
    /// Whether an account has come to work since that was read before it. The answer doesn't speak for that one.
    is_overtaken: bool,
}

#[derive(Debug)]
struct Questions {
    /// That whose answer is being caught up to.
    answered: Question,
    /// That which has no answer yet, if it ever gets one.
    asked: Question,
}

impl Freshness {
    /// Everything is loaded after this.
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

    /// An account comes to work that was read at this moment at the latest: whatever is known of the others, nothing later is known
    /// of this one.
    pub(crate) fn joins(&self, read_at: Duration, comes: impl FnOnce()) {
        let mut questions = self.questions();
        questions.answered.is_overtaken |= read_at < questions.answered.at;
        questions.asked.is_overtaken |= read_at < questions.asked.at;
        self.fresh_at.fetch_min(millis(read_at), Ordering::AcqRel);
        // Held until it has come: nothing makes everything fresher in between.
        comes();
        drop(questions);
    }

    /// How far everything has come is asked for now.
    fn asks(&self) {
        self.questions().asked = Question {
            at: self.clock.steady(),
            is_overtaken: false,
        };
    }

    /// That is answered; `is_reached` if all of it is known here.
    fn seen(&self, is_reached: bool) {
        let mut questions = self.questions();
        questions.answered = questions.asked;
        drop(questions);
        if is_reached {
            self.settle();
        }
    }

    /// What was asked for last is known here.
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
