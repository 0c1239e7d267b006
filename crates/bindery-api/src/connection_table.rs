//! Which connections there are, and which of them has to go when there is no room for another.
//!
//! A connection is unproven until a request on it was authenticated. When the server is full, or a client address has its fill of
//! unproven connections, the one that has been unproven for the longest goes; if there is none, the proven one that has been idle
//! for the longest. So new clients never wait for old ones. A connection on which a request is being worked on stays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bindery_node::Counter;
use tokio::sync::Notify;

use crate::client_address::household;
use crate::framing::Refused;

/// How many connections more than allowed may be open while they close.
pub(crate) const LEAVING_MAX: usize = 64;

/// One connection, as its stream, its requests and the table share it.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: IpAddr,
    place: AtomicU64,
    is_proven: AtomicBool,
    stage: AtomicU8,
    /// Requests so far.
    requests: AtomicU64,
    evicted: Notify,
    /// Why nothing more is read.
    refused: OnceLock<Refused>,
    closes_after_answer: AtomicBool,
    table: Arc<ConnectionTable>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Its client, which sends a head, takes an answer, or does nothing.
    Idle = 0,
    /// Its client, which sends a body.
    Receiving = 1,
    /// The server.
    Working = 2,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    max: usize,
    unproven_per_address_max: usize,
    inner: Mutex<Inner>,
    evictions: Counter,
    /// How many are open, those that were sent away a moment ago included.
    open: AtomicUsize,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// By when they were opened or last answered.
    unproven: BTreeMap<u64, Arc<Connection>>,
    /// Those of [`Self::unproven`] that are counted by address.
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    /// By when they were last seen to be in use, with the number of requests then.
    proven: BTreeMap<u64, (Arc<Connection>, u64)>,
}

impl ConnectionTable {
    pub(crate) fn new(max: usize, unproven_per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            max: max.max(1),
            unproven_per_address_max: unproven_per_address_max.max(1),
            inner: Mutex::default(),
            evictions: Counter::default(),
            open: AtomicUsize::new(0),
            closed: Notify::new(),
        })
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections are open.
    pub(crate) fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until those that were sent away are gone, but for [`LEAVING_MAX`].
    pub(crate) async fn room(&self) {
        while self.len() >= self.max + LEAVING_MAX {
            self.closed.notified().await;
        }
    }

    /// How many had to go so far.
    pub(crate) fn evictions(&self) -> &Counter {
        &self.evictions
    }

    /// Takes a connection in, and sends away another if there is no room; `None` if each of them is being worked on. One of a
    /// trusted proxy stands for many clients, so it isn't counted by its address.
    pub(crate) fn open(self: &Arc<Self>, peer: IpAddr, is_trusted: bool) -> Option<Open> {
        let mut inner = self.inner();
        if inner.unproven.len() + inner.proven.len() >= self.max {
            let evicted = inner.take_longest_idle()?;
            self.evict(&evicted);
        }
        let address = (!is_trusted).then(|| household(peer.to_canonical()));
        if let Some(address) = address {
            let full = inner
                .by_address
                .get(&address)
                .filter(|places| places.len() >= self.unproven_per_address_max);
            if let Some(places) = full {
                let waits = |place: &&u64| inner.unproven[*place].stage() != Stage::Working;
                let place = places.iter().find(waits).copied()?;
                if let Some(evicted) = inner.take_unproven(place) {
                    self.evict(&evicted);
                }
            }
        }
        let place = inner.next_place();
        let connection = Arc::new(Connection {
            peer,
            place: AtomicU64::new(place),
            is_proven: AtomicBool::new(false),
            stage: AtomicU8::new(Stage::Idle as u8),
            requests: AtomicU64::new(0),
            evicted: Notify::new(),
            refused: OnceLock::new(),
            closes_after_answer: AtomicBool::new(false),
            table: Arc::clone(self),
        });
        inner.unproven.insert(place, Arc::clone(&connection));
        if let Some(address) = address {
            inner.by_address.entry(address).or_default().insert(place);
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Open(connection))
    }

    /// Makes room where the system has none for another connection.
    pub(crate) fn evict_one(&self) {
        let evicted = self.inner().take_longest_idle();
        if let Some(evicted) = evicted {
            self.evict(&evicted);
        }
    }

    fn evict(&self, connection: &Connection) {
        self.evictions.count();
        connection.evicted.notify_one();
    }
}

impl Inner {
    fn next_place(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn take_unproven(&mut self, place: u64) -> Option<Arc<Connection>> {
        let connection = self.unproven.remove(&place)?;
        let address = household(connection.peer.to_canonical());
        if let Some(places) = self.by_address.get_mut(&address)
            && places.remove(&place)
            && places.is_empty()
        {
            self.by_address.remove(&address);
        }
        Some(connection)
    }

    /// The one that goes first.
    fn take_longest_idle(&mut self) -> Option<Arc<Connection>> {
        let unproven = self.unproven.iter();
        let mut waiting = unproven.filter(|(_, one)| one.stage() != Stage::Working);
        if let Some(place) = waiting.next().map(|(place, _)| *place) {
            return self.take_unproven(place);
        }
        // Only Idle ones at first, then those that are in the middle of a body.
        for spared in [Stage::Receiving, Stage::Working] {
            for _ in 0..self.proven.len() {
                let (_, (connection, seen)) = self.proven.pop_first()?;
                let requests = connection.requests.load(Ordering::Relaxed);
                if requests == seen && connection.stage() < spared {
                    return Some(connection);
                }
                // In use since it was last looked at: a second chance, behind all others.
                let place = self.next_place();
                connection.place.store(place, Ordering::Relaxed);
                self.proven.insert(place, (connection, requests));
            }
        }
        None
    }
}

impl PartialOrd for Stage {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}

impl Connection {
    /// The other end.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Idle,
            1 => Stage::Receiving,
            _ => Stage::Working,
        }
    }

    /// What it waits for from here on.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// A request begins.
    pub(crate) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(Stage::Working);
    }

    /// A request is answered.
    pub(crate) fn end_request(&self) {
        self.enter(Stage::Idle);
        if !self.is_proven() {
            let mut inner = self.table.inner();
            // Idle from here on.
            let old = self.place.load(Ordering::Relaxed);
            let Some(connection) = inner.unproven.remove(&old) else {
                return;
            };
            let place = inner.next_place();
            self.place.store(place, Ordering::Relaxed);
            inner.unproven.insert(place, connection);
            let address = household(self.peer.to_canonical());
            if let Some(places) = inner.by_address.get_mut(&address)
                && places.remove(&old)
            {
                places.insert(place);
            }
        }
    }

    /// Whether a request on it was authenticated.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    /// A request on it was authenticated.
    pub(crate) fn prove(&self) {
        if self.is_proven() {
            return;
        }
        let mut inner = self.table.inner();
        self.is_proven.store(true, Ordering::Relaxed);
        // One that was evicted just now stays out.
        if let Some(connection) = inner.take_unproven(self.place.load(Ordering::Relaxed)) {
            let place = inner.next_place();
            self.place.store(place, Ordering::Relaxed);
            let requests = self.requests.load(Ordering::Relaxed);
            inner.proven.insert(place, (connection, requests));
        }
    }

    /// Resolves when it has to go.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Whether a request is being worked on.
    pub(crate) fn is_working(&self) -> bool {
        self.stage() == Stage::Working
    }

    /// The answer that comes next is the last.
    pub(crate) fn close_after_answer(&self) {
        self.closes_after_answer.store(true, Ordering::Relaxed);
    }

    /// Whether the answer that comes next is the last.
    pub(crate) fn closes_after_answer(&self) -> bool {
        self.closes_after_answer.load(Ordering::Relaxed)
    }

    /// Nothing more is read from it, for this reason.
    pub(crate) fn refuse(&self, refused: Refused) {
        let _ = self.refused.set(refused);
    }

    /// Why nothing more is read from it.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused.get().copied()
    }
}

/// A connection for as long as it is open.
#[derive(Debug)]
pub(crate) struct Open(Arc<Connection>);

impl std::ops::Deref for Open {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut inner = self.0.table.inner();
        let place = self.0.place.load(Ordering::Relaxed);
        if inner.take_unproven(place).is_none() {
            inner.proven.remove(&place);
        }
        drop(inner);
        self.0.table.open.fetch_sub(1, Ordering::Relaxed);
        self.0.table.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn open(table: &Arc<ConnectionTable>, peer: &str) -> Open {
        table.open(address(peer), false).expect("room")
    }

    fn is_evicted(connection: &Connection) -> bool {
        connection.evicted().now_or_never().is_some()
    }

    #[test]
    fn an_address_keeps_no_more_unproven_connections_than_its_share() {
        let table = ConnectionTable::new(100, 2);
        let first = open(&table, "2001:db8::1");
        let second = open(&table, "2001:db8::2");
        let elsewhere = open(&table, "2001:db8:0:1::1");
        assert!(!is_evicted(&first));
        let third = open(&table, "2001:db8::3");
        assert!(is_evicted(&first));
        assert!(
            [&second, &third, &elsewhere]
                .iter()
                .all(|one| !is_evicted(one))
        );
        // One that was authenticated doesn't count any more.
        second.prove();
        let fourth = open(&table, "2001:db8::4");
        assert!(
            [&second, &third, &fourth]
                .iter()
                .all(|one| !is_evicted(one))
        );
        // Nor does one of a proxy.
        let proxied: Vec<Open> = (0..10)
            .map(|_| table.open(address("10.0.0.1"), true).expect("room"))
            .collect();
        assert!(proxied.iter().all(|one| !is_evicted(one)));
        drop((first, second, third, fourth, elsewhere, proxied));
        assert_eq!(table.len(), 0);
        assert!(table.inner().by_address.is_empty());
    }

    #[test]
    fn when_it_is_full_the_longest_idle_goes_and_unproven_ones_before_others() {
        let table = ConnectionTable::new(4, 100);
        let proven = ["10.0.0.1", "10.0.0.2"].map(|peer| open(&table, peer));
        for one in &proven {
            one.prove();
        }
        let strangers = ["10.0.0.3", "10.0.0.4"].map(|peer| open(&table, peer));
        // One that was answered is idle since then.
        strangers[0].begin_request();
        strangers[0].end_request();
        let next = open(&table, "10.0.0.5");
        assert!(is_evicted(&strangers[1]));
        next.begin_request();
        strangers[0].begin_request();
        // Those who are being worked for stay; of the others, that which was used last stays longest.
        proven[0].begin_request();
        proven[0].end_request();
        let one_more = open(&table, "10.0.0.6");
        assert!(is_evicted(&proven[1]) && !is_evicted(&proven[0]));
        one_more.prove();
        one_more.begin_request();
        proven[0].begin_request();
        assert!(table.open(address("10.0.0.7"), false).is_none());
        proven[0].enter(Stage::Receiving);
        assert!(table.open(address("10.0.0.7"), false).is_some());
        assert!(is_evicted(&proven[0]));
    }
}
