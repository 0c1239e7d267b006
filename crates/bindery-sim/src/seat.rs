//! A place for a node: what is there while none runs (a clock, a way to the database), and the node itself with the desks of
//! its accounts and its follower, which are forgotten when it is killed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bindery_core::command::Caller;
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;
use bindery_model::command::AnyCommand;
use bindery_node::drive::{Desk, Follower, Random, Turn};
use bindery_node::{Account, Clock, FOLLOW_INTERVAL, Node};
use bindery_store::Store;

use crate::founded::{self, FOUNDED, START};
use crate::handle::{Handle, Killed};
use crate::planted::Planted;
use crate::trace::Event;
use crate::world::{World, lock};

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: usize,
    /// How far its clock is from the world's, in milliseconds.
    pub(crate) offset: AtomicI64,
    /// Wake-ups on their way.
    pub(crate) wakes: Mutex<Vec<AccountId>>,
    /// The number of the batch that was begun last.
    pub(crate) batch: Arc<AtomicU64>,
    /// What readers saw last here, by account, since the node started.
    pub(crate) seen: Mutex<Vec<(AccountId, Revision)>>,
    /// What a planted mistake shows readers instead of the snapshot.
    pub(crate) early: Mutex<Option<State>>,
    /// Whether a call hangs for which the node starts no other account.
    pub(crate) is_starting: AtomicBool,
    is_cut_off: AtomicBool,
    batches: AtomicU64,
    /// How many things the node is at: a follower goes on while a commit hangs.
    things: AtomicU64,
    node: Mutex<Option<Arc<Node>>>,
    desks: Mutex<Vec<Desk>>,
    follower: Mutex<Option<Follower>>,
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

    pub(crate) fn is_idle(&self) -> bool {
        self.things.load(Ordering::Relaxed) == 0
    }

    /// Whether a call of this node can be where it is killed: nothing else of it is under way that would outlive it.
    pub(crate) fn is_at_one_thing(&self) -> bool {
        self.things.load(Ordering::Relaxed) == 1
    }
}

/// No two batches have the same, whoever makes them.
fn batch_number(seat: &Seat) -> u64 {
    let batches = seat.batches.fetch_add(1, Ordering::Relaxed) + 1;
    ((seat.number as u64 + 1) << 48) | batches
}

impl World {
    /// Does something that calls the store, and forgets the node if it is killed there.
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

    /// The node's memory is gone, and whoever waited for it is never answered.
    pub(crate) fn kill(&self, number: usize) {
        let seat = &self.seats[number];
        self.clients_lose(number);
        drop(lock(&seat.follower).take());
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
            let store: Arc<dyn Store> = match self.plant {
                Some(plant) => Arc::new(Planted::new(plant, handle, self, number)),
                None => Arc::new(handle),
            };
            let world = Arc::downgrade(self);
            let take = move |desk| {
                let world = world.upgrade().expect("the world outlives its nodes");
                lock(&world.seats[number].desks).push(desk);
            };
            let opened = Node::by_hand(
                Arc::clone(&store),
                self.clock(number),
                self.random(number),
                take,
            );
            // Every account is put to work at once, as far as it can be.
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
                let world = of_now.upgrade().expect("the world outlives its nodes");
                world.now_at(number)
            },
            move || {
                let world = of_steady.upgrade().expect("the world outlives its nodes");
                Duration::from_millis(world.time())
            },
        )
    }

    pub(crate) fn now_at(&self, number: usize) -> Timestamp {
        let time = i64::try_from(self.time()).unwrap_or(i64::MAX);
        let offset = self.seats[number].offset.load(Ordering::Relaxed);
        Timestamp::from_millis(START.as_millis() + time + offset)
    }

    fn random(self: &Arc<Self>, number: usize) -> Random {
        let world = Arc::downgrade(self);
        Random::new(move || {
            let world = world.upgrade().expect("the world outlives its nodes");
            if !world.is_calm() && world.chance(world.weather.fail / 10) {
                world.tell(Event::NoRandomNumbers, number, String::new);
                return Err(std::io::Error::other("none by chance"));
            }
            let seat = &world.seats[number];
            let batch = batch_number(seat);
            seat.batch.store(batch, Ordering::Relaxed);
            Ok(batch)
        })
    }

    /// One of the node's writers takes a turn.
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

    /// Every writer of the node goes on until nothing waits.
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
        if seat.is_starting.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut follower) = lock(&seat.follower).take() else {
            return;
        };
        self.guard(number, || {
            let is_over = follower.step();
            assert!(!is_over, "others can always append");
            *lock(&self.seats[number].follower) = Some(follower);
        });
    }

    /// What was noted is to be written down; nobody waits for it.
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

    /// The account for whoever needs it there: it is loaded if it isn't at work, if that can be.
    pub(crate) fn wake(self: &Arc<Self>, number: usize, id: AccountId) -> Option<Arc<Account>> {
        let seat = &self.seats[number];
        let node = seat
            .node()
            .filter(|_| !seat.is_starting.load(Ordering::Relaxed))?;
        if let Some(account) = node.account(id) {
            return Some(account);
        }
        self.guard(number, || {
            let _ = node.load(id);
        });
        // It may have been killed meanwhile.
        seat.node()?.account(id)
    }

    /// A node makes a new account, which the others load when somebody needs it there.
    pub(crate) fn make_account(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        let node = seat.node();
        let Some(node) = node.filter(|_| !seat.is_starting.load(Ordering::Relaxed)) else {
            return;
        };
        let id = FOUNDED + 1;
        self.guard(number, || {
            let made = node.create_account(&founded::account(id));
            // Where it was made and couldn't be put to work, whoever needs it next does that.
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

    /// Nothing goes wrong any more: every node comes up, reads what there is, and writes once more.
    pub(crate) fn come_to_rest(self: &Arc<Self>) {
        self.calm();
        for seat in &self.seats {
            seat.cut_off(false);
            self.start(seat.number);
            for account in 1..=FOUNDED + 1 {
                self.wake(seat.number, AccountId(account));
            }
        }
        // A commit under way is waited for by whoever appends or lost its answer; the rest end by themselves.
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
