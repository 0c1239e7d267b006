//! The place of a node: its clock and connection to the database, which stay while no node runs, and the node
//! itself with its desks and its follower, which are dropped when it is killed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bindery_core::command::AnyCommand;
use bindery_core::command::Caller;
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_node::drive::{Desk, Follower, Idle, Random, Turn};
use bindery_node::{Account, Clock, FOLLOW_INTERVAL, LOG_AGE_MIN, LogRetention, Node};
use bindery_store::Store;

use crate::database::Ledger;
use crate::founded::{self, FOUNDED, START};
use crate::handle::{Handle, Killed};
use crate::planted::Planted;
use crate::run::{Run, lock};
use crate::trace::Event;

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: usize,
    /// The offset of its clock from the simulation's, in milliseconds.
    pub(crate) offset: AtomicI64,
    /// Wake-ups that have not arrived.
    pub(crate) wakes: Mutex<Vec<AccountId>>,
    /// The number of the last batch that was begun.
    pub(crate) batch: Arc<AtomicU64>,
    /// What readers saw last here, by account, since the node started.
    pub(crate) seen: Mutex<Vec<(AccountId, Revision)>>,
    /// The state that a planted mistake shows readers instead of the snapshot.
    pub(crate) early: Mutex<Option<State>>,
    /// While the node truncates a log: how many entries it keeps, and from which time on all of them.
    pub(crate) retention: Mutex<Option<(u64, Timestamp)>>,
    /// Accounts that are being unloaded.
    pub(crate) eviction: Mutex<Option<Eviction>>,
    /// Whether an account is being loaded or unloaded: that happens one at a time, and clients that need an
    /// account wait.
    is_starting: AtomicBool,
    is_cut_off: AtomicBool,
    batches: AtomicU64,
    /// How many calls of the node are running: a follower goes on while a commit hangs.
    things: AtomicU64,
    node: Mutex<Option<Arc<Node>>>,
    desks: Mutex<Vec<Desk>>,
    follower: Mutex<Option<Follower>>,
}

/// The steps of an unload.
pub(crate) enum Eviction {
    /// Waits until their pending records are written.
    Finding(Pin<Box<dyn Future<Output = Idle> + Send>>),
    /// These can be unloaded.
    Found(Idle),
}

impl fmt::Debug for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finding(_) => "Finding",
            Self::Found(_) => "Found",
        })
    }
}

impl Seat {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            offset: AtomicI64::new(0),
            wakes: Mutex::default(),
            batch: Arc::default(),
            seen: Mutex::default(),
            early: Mutex::default(),
            retention: Mutex::default(),
            eviction: Mutex::default(),
            is_starting: AtomicBool::new(false),
            is_cut_off: AtomicBool::new(false),
            batches: AtomicU64::new(0),
            things: AtomicU64::new(0),
            node: Mutex::default(),
            desks: Mutex::default(),
            follower: Mutex::default(),
        }
    }

    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        lock(&self.node).clone()
    }

    pub(crate) fn is_up(&self) -> bool {
        lock(&self.node).is_some()
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.is_cut_off.load(Ordering::Relaxed)
    }

    pub(crate) fn cut_off(&self, is_cut_off: bool) {
        self.is_cut_off.store(is_cut_off, Ordering::Relaxed);
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.is_starting.load(Ordering::Relaxed)
    }

    /// The node, if no account is being loaded or unloaded there.
    fn free_node(&self) -> Option<Arc<Node>> {
        self.node().filter(|_| !self.is_starting())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.things.load(Ordering::Relaxed) == 0
    }

    /// Whether the node may be killed in a call: nothing else of it is running that would outlive it.
    pub(crate) fn is_at_one_thing(&self) -> bool {
        self.things.load(Ordering::Relaxed) == 1
    }
}

/// A unique number for each batch.
fn batch_number(seat: &Seat) -> u64 {
    let batches = seat.batches.fetch_add(1, Ordering::Relaxed) + 1;
    ((seat.number as u64 + 1) << 48) | batches
}

impl Run {
    /// Runs a call to the store, and drops the node if it is killed there.
    fn guard(&self, number: usize, work: impl FnOnce()) {
        let seat = &self.seats[number];
        seat.things.fetch_add(1, Ordering::Relaxed);
        let done = catch_unwind(AssertUnwindSafe(work));
        seat.things.fetch_sub(1, Ordering::Relaxed);
        match done {
            Ok(()) => {}
            Err(thrown) if thrown.is::<Killed>() => self.kill(number),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// The node's memory is lost, and clients that wait for it never get a response.
    pub(crate) fn kill(&self, number: usize) {
        let seat = &self.seats[number];
        self.clients_lose(number);
        drop(lock(&seat.follower).take());
        drop(lock(&seat.eviction).take());
        drop(std::mem::take(&mut *lock(&seat.desks)));
        drop(lock(&seat.node).take());
        lock(&seat.wakes).clear();
        lock(&seat.seen).clear();
        *lock(&seat.early) = None;
    }

    pub(crate) fn start(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        if seat.is_up() || !seat.is_idle() {
            return;
        }
        self.guard(number, || {
            let handle = Handle::new(self, number);
            let store: Arc<dyn Store> = match self.mistake {
                Some(mistake) => Arc::new(Planted::new(mistake, handle, self, number)),
                None => Arc::new(handle),
            };
            let run = Arc::downgrade(self);
            let take = move |desk| {
                let run = run.upgrade().expect("the run outlives its nodes");
                lock(&run.seats[number].desks).push(desk);
            };
            let opened = Node::by_hand(
                Arc::clone(&store),
                self.clock(number),
                self.random(number),
                take,
            );
            // Every account is loaded at once, as far as possible.
            let at_work = opened.and_then(|node| {
                for account in store.accounts()? {
                    node.load(account.id)?;
                }
                Ok(node)
            });
            match at_work {
                Ok(node) => {
                    let node = Arc::new(node);
                    *lock(&seat.follower) = Some(Follower::new(Arc::clone(&node)));
                    *lock(&seat.node) = Some(node);
                    self.tell(Event::Started, number, String::new);
                }
                Err(error) => {
                    lock(&seat.desks).clear();
                    self.tell(Event::StartFailed, number, || error.to_string());
                }
            }
        });
    }

    fn clock(self: &Arc<Self>, number: usize) -> Clock {
        let (of_now, of_steady) = (Arc::downgrade(self), Arc::downgrade(self));
        Clock::with_steady(
            move || {
                let run = of_now.upgrade().expect("the run outlives its nodes");
                run.now_at(number)
            },
            move || {
                let run = of_steady.upgrade().expect("the run outlives its nodes");
                Duration::from_millis(run.time())
            },
        )
    }

    pub(crate) fn now_at(&self, number: usize) -> Timestamp {
        let time = i64::try_from(self.time()).unwrap_or(i64::MAX);
        let offset = self.seats[number].offset.load(Ordering::Relaxed);
        Timestamp::from_millis(START.as_millis() + time + offset)
    }

    fn random(self: &Arc<Self>, number: usize) -> Random {
        let run = Arc::downgrade(self);
        Random::new(move || {
            let run = run.upgrade().expect("the run outlives its nodes");
            if !run.is_calm() && run.chance(run.fault_rates.fail / 10) {
                run.tell(Event::NoRandomNumbers, number, String::new);
                return Err(std::io::Error::other("none by chance"));
            }
            let seat = &run.seats[number];
            let batch = batch_number(seat);
            seat.batch.store(batch, Ordering::Relaxed);
            Ok(batch)
        })
    }

    /// One of the node's writers runs a turn.
    pub(crate) fn turn(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        let waiting = lock(&seat.desks).len();
        if waiting == 0 {
            return;
        }
        let mut desk = lock(&seat.desks).remove(self.index(waiting));
        self.guard(number, || {
            if desk.turn() == Turn::Later {
                self.tell(Event::TurnLater, number, String::new);
            }
            lock(&self.seats[number].desks).push(desk);
        });
    }

    /// Every writer of the node runs until nothing waits.
    pub(crate) fn turn_until_idle(self: &Arc<Self>, number: usize) {
        let mut desks = std::mem::take(&mut *lock(&self.seats[number].desks));
        for desk in &mut desks {
            let mut turns = 0;
            while desk.turn() != Turn::Idle {
                turns += 1;
                assert!(turns < 10_000, "the desk of node {number} is never done");
            }
        }
        lock(&self.seats[number].desks).append(&mut desks);
    }

    pub(crate) fn follow(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        let Some(mut follower) = lock(&seat.follower).take() else {
            return;
        };
        self.guard(number, || {
            let is_over = follower.step();
            assert!(!is_over, "others can always append");
            *lock(&self.seats[number].follower) = Some(follower);
        });
    }

    /// Flushes pending audit entries; no one waits for it.
    pub(crate) fn flush(&self, number: usize) {
        let Some(node) = self.seats[number].node() else {
            return;
        };
        for account in node.accounts() {
            self.tell(Event::NotesFlushed, number, String::new);
            let flush = pin!(account.flush());
            let _ = flush.poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// The account on this node: it is loaded if necessary and possible.
    pub(crate) fn wake(self: &Arc<Self>, number: usize, id: AccountId) -> Option<Arc<Account>> {
        let seat = &self.seats[number];
        let node = seat.free_node()?;
        if let Some(account) = node.account(id) {
            return Some(account);
        }
        self.with_one_account(number, || {
            if node.load(id).is_ok() {
                self.tell(Event::Woken, number, || format!("account {}", id.0));
            }
        });
        // It may have been killed meanwhile.
        seat.node()?.account(id)
    }

    /// Runs something during which clients that need an account must wait.
    fn with_one_account(&self, number: usize, work: impl FnOnce()) {
        let is_starting = &self.seats[number].is_starting;
        is_starting.store(true, Ordering::Relaxed);
        self.guard(number, work);
        is_starting.store(false, Ordering::Relaxed);
    }

    /// The node looks for idle accounts, or unloads those that it has found.
    pub(crate) fn evict(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        let Some(node) = seat.free_node() else {
            return;
        };
        let eviction = lock(&seat.eviction).take();
        let next = match eviction {
            None => {
                let idle = Duration::from_millis(self.below(2_000));
                let node = Arc::clone(&node);
                Some(Eviction::Finding(Box::pin(async move {
                    node.find_idle(idle).await
                })))
            }
            Some(Eviction::Finding(mut finding)) => {
                let found = finding
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                Some(match found {
                    Poll::Ready(idle) => Eviction::Found(idle),
                    Poll::Pending => Eviction::Finding(finding),
                })
            }
            // A writer inside of a call would have to be waited for, which is impossible here.
            Some(found) if lock(&seat.desks).len() < node.accounts().len() => Some(found),
            Some(Eviction::Found(idle)) => {
                self.with_one_account(number, || self.give_up(number, &node, &idle));
                None
            }
        };
        if seat.is_up() {
            *lock(&seat.eviction) = next;
        }
    }

    /// Dropping the last handle of an account waits for its writer.
    fn give_up(self: &Arc<Self>, number: usize, node: &Node, idle: &Idle) {
        let evicted = node.evict(idle);
        if evicted.is_empty() {
            self.tell(Event::EvictedNone, number, String::new);
            return;
        }
        self.tell(Event::Evicted, number, || format!("{evicted:?}"));
        let desks = &self.seats[number].desks;
        let take = || {
            let mut desks = lock(desks);
            let is_evicted = |desk: &Desk| evicted.contains(&desk.account());
            let place = desks.iter().position(is_evicted)?;
            Some(desks.remove(place))
        };
        while let Some(mut desk) = take() {
            let mut turns = 0;
            while desk.turn() != Turn::Over {
                turns += 1;
                assert!(turns < 10_000, "a desk of node {number} is never over");
            }
        }
    }

    /// The node truncates its logs by its retention, or an operator does so at will.
    pub(crate) fn forget(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        let Some(node) = seat.node().filter(|_| lock(&seat.retention).is_none()) else {
            return;
        };
        if self.chance(750) {
            let account = AccountId(u32::try_from(1 + self.below(FOUNDED.into())).unwrap_or(1));
            let Revision(head) = self.head(account);
            let some = self.below(head + 1);
            let until = Revision(if self.chance(500) { head } else { some });
            let late = Timestamp::from_millis(i64::MAX);
            let limit = self.index(200);
            self.guard(number, || {
                let _ = node.store().forget_log(account, until, late, limit);
            });
            return;
        }
        let kept = self.below(20);
        let age_ms = i64::try_from(LOG_AGE_MIN.as_millis()).unwrap_or(i64::MAX);
        let young = Timestamp::from_millis(self.now_at(number).as_millis() - age_ms);
        *lock(&seat.retention) = Some((kept, young));
        let retention = LogRetention {
            age: None,
            revisions: Some(kept),
        };
        self.guard(number, || node.forget_logs(retention));
        *lock(&seat.retention) = None;
    }

    /// Checks what retention keeps: the newest entries, and the young ones.
    pub(crate) fn has_kept(&self, number: usize, ledger: &Ledger) {
        let Some((kept, young)) = *lock(&self.seats[number].retention) else {
            return;
        };
        let last = ledger.base();
        self.tell(Event::RetentionForgot, number, || {
            format!("to {}", last.revision())
        });
        // What the node knew of the end of the log may be rolled back since.
        let is_whole = ledger.lost.is_none();
        if is_whole && last.revision().0 + kept > ledger.head().0 || last.latest() >= young {
            self.violate(format!(
                "node {number} keeps {kept} entries of the log, and forgot {} of {}",
                last.revision(),
                ledger.head()
            ));
        }
    }

    /// A node creates a new account, which the others load on demand.
    pub(crate) fn make_account(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        let Some(node) = seat.free_node() else {
            return;
        };
        let id = FOUNDED + 1;
        self.with_one_account(number, || {
            let made = node.create_account(&founded::account(id));
            // If it could not be loaded there, the next client does that.
            if made.is_ok() {
                self.tell(Event::AccountMade, number, String::new);
            }
        });
        let account = seat.node().and_then(|node| node.account(AccountId(id)));
        if let Some(account) = account.filter(|one| one.snapshot().is_unfounded()) {
            let bootstrap = founded::bootstrap(founded::secret(u64::from(id) * 1000));
            let command = AnyCommand::Bootstrap(bootstrap);
            self.submit(number, account, Caller::Operator, command);
        }
    }

    /// The faults end: every node starts, catches up, and writes once more.
    pub(crate) fn come_to_rest(self: &Arc<Self>) {
        self.calm();
        for seat in &self.seats {
            seat.cut_off(false);
            self.start(seat.number);
            for account in 1..=FOUNDED + 1 {
                self.wake(seat.number, AccountId(account));
            }
        }
        // Commits under way are settled by the next append or the next read; the rest end by themselves.
        for account in 1..=FOUNDED + 1 {
            if self.chance(500) {
                self.settle(AccountId(account));
            }
        }
        self.settle_down();
        for account in 1..=FOUNDED + 1 {
            self.settle(AccountId(account));
        }
        self.settle_down();
    }

    pub(crate) fn settle_down(self: &Arc<Self>) {
        for _ in 0..4 {
            let interval = u64::try_from(FOLLOW_INTERVAL.as_millis()).unwrap_or(u64::MAX);
            self.pass_exactly(interval);
            for number in 0..self.seats.len() {
                self.follow(number);
                self.turn_until_idle(number);
            }
            for client in 0..self.clients.len() {
                self.client_ends(client);
            }
        }
    }
}
