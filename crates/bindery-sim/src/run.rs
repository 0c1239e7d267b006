//! A run: nodes, clients and a database, the faults between them, and the random choices of what happens
//! next.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bindery_core::id::{AccountId, Revision};
use bindery_store::Batch;

use crate::client::Client;
use crate::database::{Database, Ledger};
use crate::founded::{self, FOUNDED};
use crate::operation::{Note, Operation, Read};
use crate::planted::Mistake;
use crate::seat::Seat;
use crate::trace::{Event, Trace};
use bindery_model::dice::Dice;

/// How deep calls that hang may nest.
const DEPTH_MAX: u64 = 2;

/// The probability of each fault, in a thousandth. Each run draws its own, so that some runs have many faults
/// of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultRates {
    /// A call fails and does nothing.
    pub(crate) fail: u64,
    /// The response to a commit is lost.
    pub(crate) lose: u64,
    /// The database refuses a batch.
    pub(crate) refuse: u64,
    /// A call hangs while others run.
    pub(crate) hang: u64,
    /// A node is killed inside of a call.
    pub(crate) kill_in_call: u64,
    /// A node is killed between two steps.
    pub(crate) kill: u64,
    /// A node is partitioned.
    pub(crate) cut_off: u64,
    /// A clock is set.
    pub(crate) clock: u64,
    /// A wake-up is dropped or doubled.
    pub(crate) wake: u64,
    /// Logs are truncated.
    pub(crate) forget: u64,
    /// Another database without the last commits takes over.
    pub(crate) fail_over: u64,
}

impl FaultRates {
    fn draw(dice: &mut Dice) -> Self {
        let mut one = |levels: [u64; 4]| dice.one(&levels);
        Self {
            fail: one([0, 10, 40, 150]),
            lose: one([0, 50, 150, 500]),
            refuse: one([0, 0, 20, 150]),
            hang: one([0, 50, 150, 300]),
            kill_in_call: one([0, 0, 5, 30]),
            kill: one([0, 0, 3, 15]),
            cut_off: one([0, 0, 5, 20]),
            clock: one([0, 0, 10, 40]),
            wake: one([0, 100, 400, 1000]),
            forget: one([0, 0, 50, 300]),
            fail_over: one([0, 0, 0, 10]),
        }
    }
}

pub(crate) struct Run {
    pub(crate) mistake: Option<Mistake>,
    pub(crate) fault_rates: FaultRates,
    pub(crate) seats: Vec<Seat>,
    pub(crate) clients: Vec<Mutex<Client>>,
    pub(crate) database: Mutex<Database>,
    pub(crate) operations: Mutex<Vec<Operation>>,
    pub(crate) reads: Mutex<Vec<Read>>,
    pub(crate) notes: Mutex<Vec<Note>>,
    is_calm: AtomicBool,
    depth: AtomicU64,
    /// Milliseconds since the run began.
    time: AtomicU64,
    dice: Mutex<Dice>,
    trace: Mutex<Trace>,
    violation: Mutex<Option<String>>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// A lock that a killed node held is still valid: it never protects something half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    pub(crate) fn new(seed: u64, mistake: Option<Mistake>, is_told: bool) -> Arc<Self> {
        let mut dice = Dice::new(seed);
        let fault_rates = FaultRates::draw(&mut dice);
        let seats = 1 + dice.index(3);
        let clients = 1 + dice.index(5);
        let clients = (0..clients)
            .map(|_| {
                let account = if dice.per_mille(800) { 1 } else { FOUNDED };
                Mutex::new(Client::new(AccountId(account), dice.index(seats)))
            })
            .collect();
        let mut database = Database::default();
        for number in 1..=FOUNDED {
            let ledger = founded::ledger(number);
            database.ledgers.insert(AccountId(number), ledger);
        }
        let mut trace = Trace::new(is_told);
        trace.line(0, || format!("seed {seed}: {seats} nodes, {fault_rates:?}"));
        Arc::new(Self {
            mistake,
            fault_rates,
            seats: (0..seats).map(Seat::new).collect(),
            clients,
            database: Mutex::new(database),
            operations: Mutex::default(),
            reads: Mutex::default(),
            notes: Mutex::default(),
            is_calm: AtomicBool::new(false),
            depth: AtomicU64::new(0),
            time: AtomicU64::new(1),
            dice: Mutex::new(dice),
            trace: Mutex::new(trace),
            violation: Mutex::default(),
        })
    }

    /// Ends all faults.
    pub(crate) fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    pub(crate) fn time(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    /// Lets time pass, less than this many milliseconds.
    pub(crate) fn pass(&self, below: u64) {
        let passed = self.below(below);
        self.time.fetch_add(passed, Ordering::Relaxed);
    }

    pub(crate) fn pass_exactly(&self, millis: u64) {
        self.time.fetch_add(millis, Ordering::Relaxed);
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        lock(&self.dice).below(bound)
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        lock(&self.dice).index(length)
    }

    /// True this many times in a thousand.
    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        per_mille > 0 && lock(&self.dice).per_mille(per_mille)
    }

    pub(crate) fn may_kill(&self, seat: usize) -> bool {
        !self.is_calm() && self.seats[seat].is_at_one_thing()
    }

    pub(crate) fn count(&self, event: Event, many: usize) {
        if many > 0 {
            lock(&self.trace).add(event, many as u64);
        }
    }

    pub(crate) fn tell(&self, event: Event, seat: usize, more: impl FnOnce() -> String) {
        let time = self.time();
        let mut trace = lock(&self.trace);
        trace.add(event, 1);
        trace.digest(&[time, seat as u64]);
        trace.line(time, || {
            format!("node {seat}: {} {}", event.words(), more())
        });
    }

    pub(crate) fn digest(&self, numbers: &[u64]) {
        lock(&self.trace).digest(numbers);
    }

    /// Records a broken promise. The first one counts.
    pub(crate) fn violate(&self, what: String) {
        let time = self.time();
        lock(&self.trace).line(time, || format!("BROKEN: {what}"));
        lock(&self.violation).get_or_insert(what);
    }

    pub(crate) fn is_violated(&self) -> bool {
        lock(&self.violation).is_some()
    }

    /// The result of the run.
    pub(crate) fn take_outcome(&self) -> (Option<String>, Trace) {
        let trace = std::mem::take(&mut *lock(&self.trace));
        (lock(&self.violation).take(), trace)
    }

    pub(crate) fn head(&self, account: AccountId) -> Revision {
        let database = lock(&self.database);
        let ledger = database.ledgers.get(&account);
        ledger.map_or(Revision(0), Ledger::head)
    }

    /// A call hangs, and others run meanwhile.
    pub(crate) fn may_hang(self: &Arc<Self>, seat: usize, call: &'static str) {
        if self.is_calm()
            || self.depth.load(Ordering::Relaxed) >= DEPTH_MAX
            || !self.chance(self.fault_rates.hang)
        {
            return;
        }
        self.tell(Event::CallHung, seat, || call.to_owned());
        self.depth.fetch_add(1, Ordering::Relaxed);
        // Others begin batches there meanwhile; this call continues with its own.
        let last_batch = &self.seats[seat].batch;
        let batch = last_batch.load(Ordering::Relaxed);
        for _ in 0..=self.below(6) {
            self.step();
        }
        last_batch.store(batch, Ordering::Relaxed);
        self.depth.fetch_sub(1, Ordering::Relaxed);
        self.tell(Event::CallHung, seat, || format!("{call}, and goes on"));
    }

    /// The commit under way happens, or never will.
    pub(crate) fn settle(&self, account: AccountId) {
        let under_way = lock(&self.database)
            .ledgers
            .get_mut(&account)
            .and_then(|ledger| ledger.under_way.take());
        let Some(batch) = under_way else {
            return;
        };
        if self.chance(500) {
            self.tell(Event::SettledNever, 0, String::new);
        } else {
            self.tell(Event::SettledCommitted, 0, String::new);
            self.commit(account, &batch, None);
        }
    }

    /// Adds the batch to the log. Followers of other nodes get a wake-up, or not.
    pub(crate) fn commit(&self, account: AccountId, batch: &Batch, from: Option<usize>) {
        {
            let mut database = lock(&self.database);
            if let Some(ledger) = database.ledgers.get_mut(&account) {
                ledger.commit(batch, self.time());
            }
        }
        self.tell(Event::Committed, from.unwrap_or_default(), || {
            let entries = batch.entries.iter();
            let entries: Vec<String> = entries
                .map(|entry| format!("{} {}", entry.revision, entry.operation()))
                .collect();
            format!("account {}: {}", account.0, entries.join(", "))
        });
        self.count(Event::EntriesCommitted, batch.entries.len());
        if batch.entries.is_empty() {
            return;
        }
        for seat in &self.seats {
            if Some(seat.number) == from {
                continue;
            }
            let wakes = if !self.chance(self.fault_rates.wake) {
                1
            } else if self.chance(500) {
                self.count(Event::WakeDropped, 1);
                0
            } else {
                self.count(Event::WakeDoubled, 1);
                2
            };
            lock(&seat.wakes).extend((0..wakes).map(|_| account));
        }
    }

    /// The next event.
    pub(crate) fn step(self: &Arc<Self>) {
        if self.chance(600) {
            self.pass(60);
        }
        let seat = self.index(self.seats.len());
        match self.below(100) {
            0..50 => {
                let client = self.index(self.clients.len());
                self.client_step(client);
            }
            50..72 => self.turn(seat),
            72..84 => self.follow(seat),
            84..88 => {
                let account = 1 + self.below(3);
                self.settle(AccountId(u32::try_from(account).unwrap_or(1)));
            }
            88 => self.flush(seat),
            89 if self.chance(400) => self.make_account(seat),
            89 | 90 => self.evict(seat),
            91 | 92 if self.chance(10 * self.fault_rates.forget) => self.forget(seat),
            91 | 92 => {
                self.pass(1_500);
            }
            _ => self.trouble(seat),
        }
    }

    /// A fault of a node.
    fn trouble(self: &Arc<Self>, number: usize) {
        let seat = &self.seats[number];
        if !seat.is_up() {
            self.start(number);
        } else if seat.is_cut_off() {
            if self.chance(300) {
                seat.cut_off(false);
                self.tell(Event::Healed, number, String::new);
            }
        } else if self.chance(10 * self.fault_rates.cut_off) {
            seat.cut_off(true);
            self.tell(Event::CutOff, number, String::new);
        }
        if self.chance(10 * self.fault_rates.kill) && seat.is_up() && seat.is_idle() {
            self.tell(Event::Killed, number, String::new);
            self.kill(number);
        }
        if self.chance(10 * self.fault_rates.clock) {
            self.set_clock(number);
        }
        if self.chance(10 * self.fault_rates.fail_over) {
            self.fail_over();
        }
    }

    /// Rolls a log back, once, while no node writes to it.
    fn fail_over(&self) {
        let id = AccountId(u32::try_from(1 + self.below(FOUNDED.into())).unwrap_or(1));
        let busy = self.seats.iter().filter(|seat| !seat.is_idle());
        let busy = busy.map(|seat| seat.number).collect();
        let head = {
            let mut database = lock(&self.database);
            let Some(ledger) = database.ledgers.get_mut(&id) else {
                return;
            };
            let kept = ledger.base.0.max(ledger.founding.len() as u64);
            let left = ledger.head().0.saturating_sub(kept);
            if left == 0 || ledger.is_taken || ledger.under_way.is_some() || ledger.lost.is_some() {
                return;
            }
            let count = 1 + self.below(left);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            ledger.lose(count, self.time(), busy);
            ledger.head()
        };
        self.tell(Event::EndLost, 0, || {
            format!("account {}: after {head}", id.0)
        });
        self.clients_forgive(id, head);
    }

    fn set_clock(&self, seat: usize) {
        let far = [2, 1_000, 60_000, 86_400_000][self.index(4)];
        let by = i64::try_from(self.below(far)).unwrap_or_default();
        let is_back = self.chance(500);
        let by = if is_back { -by } else { by };
        self.seats[seat].offset.fetch_add(by, Ordering::Relaxed);
        let event = if is_back {
            Event::ClockBack
        } else {
            Event::ClockForward
        };
        self.tell(event, seat, || format!("by {by} ms"));
    }
}
