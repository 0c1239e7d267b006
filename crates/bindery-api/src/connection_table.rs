//! The open connections, and which one is closed when there is no room for another.
//!
//! A connection is unproven until a request on it was authenticated; then it belongs to the key of that
//! request. If a client address has too many unproven connections, the oldest of them is closed. If the
//! server is full, it closes an unproven one if they have more than their share. Otherwise it closes one of
//! the key with the most connections, in the account with the most. Of these, it closes the longest idle. So
//! new clients never wait for old ones, and an account with many connections costs other accounts none. A
//! connection with a running request stays. On a connection that is being closed, no request begins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bindery_node::Counter;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client_address::household;
use crate::framing::Refused;
use crate::turns::Lane;

/// How many connections above the limit may be open while they close.
pub(crate) const LEAVING_MAX: usize = 64;
/// The part of all connections that unproven ones may have when the server is full.
const UNPROVEN_SHARE: usize = 4;

/// One connection, shared by its stream, its requests and the table.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: IpAddr,
    place: AtomicU64,
    owner: OnceLock<Lane>,
    stage: AtomicU8,
    /// Requests so far.
    requests: AtomicU64,
    evicted: Notify,
    /// Why nothing more is read.
    refused: OnceLock<Refused>,
    closes_after_answer: AtomicBool,
    /// `None` for a trusted proxy: its other clients would wait too.
    backoff: Option<Backoff>,
    table: Arc<ConnectionTable>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Its client, which sends a head, reads a response, or does nothing.
    Idle = 0,
    /// Something before the work on a request begins: its body, or the revision that it wants.
    Waiting = 1,
    /// The server.
    Working = 2,
    /// It was chosen to be closed.
    Leaving = 3,
}

/// The connection was chosen to be closed before the work on the request began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaving;

/// All connections.
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    max: usize,
    unproven_per_address_max: usize,
    inner: Mutex<Inner>,
    evictions: Counter,
    /// How many are open, including those that are being closed.
    open: AtomicUsize,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// By the time when they were opened or last answered.
    unproven: BTreeMap<u64, Arc<Connection>>,
    /// Those of [`Self::unproven`] that are counted by address.
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    proven: HashMap<u64, OfAccount>,
    proven_count: usize,
}

/// The proven connections of an account.
#[derive(Debug, Default)]
struct OfAccount {
    count: usize,
    keys: HashMap<Lane, OfKey>,
}

/// The proven connections of a key, by the time of their last known use, with the number of requests then.
type OfKey = BTreeMap<u64, (Arc<Connection>, u64)>;

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

    /// Waits until at most [`LEAVING_MAX`] of the connections that are being closed are left.
    pub(crate) async fn room(&self) {
        while self.len() >= self.max + LEAVING_MAX {
            self.closed.notified().await;
        }
    }

    /// How many were closed to make room.
    pub(crate) fn evictions(&self) -> &Counter {
        &self.evictions
    }

    /// Adds a connection, and closes another one if there is no room. `None` if all others have running
    /// requests. A trusted proxy has many clients, so its connections aren't counted by address.
    pub(crate) fn open(self: &Arc<Self>, peer: IpAddr, is_trusted: bool) -> Option<Open> {
        let mut inner = self.inner();
        if inner.unproven.len() + inner.proven_count >= self.max {
            let evicted = inner.take_one(self.max)?;
            self.evict(&evicted);
        }
        let address = (!is_trusted).then(|| household(peer.to_canonical()));
        if let Some(address) = address {
            let full = inner
                .by_address
                .get(&address)
                .filter(|places| places.len() >= self.unproven_per_address_max);
            if let Some(places) = full {
                let leaves = |place: &&u64| inner.unproven[*place].leave(Stage::Waiting);
                let place = places.iter().find(leaves).copied()?;
                if let Some(evicted) = inner.take_unproven(place) {
                    self.evict(&evicted);
                }
            }
        }
        let place = inner.next_place();
        let connection = Arc::new(Connection {
            peer,
            place: AtomicU64::new(place),
            owner: OnceLock::new(),
            stage: AtomicU8::new(Stage::Idle as u8),
            requests: AtomicU64::new(0),
            evicted: Notify::new(),
            refused: OnceLock::new(),
            closes_after_answer: AtomicBool::new(false),
            backoff: (!is_trusted).then(Backoff::default),
            table: Arc::clone(self),
        });
        inner.unproven.insert(place, Arc::clone(&connection));
        if let Some(address) = address {
            inner.by_address.entry(address).or_default().insert(place);
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Open(connection))
    }

    /// Makes room if the system has none for another connection.
    pub(crate) fn evict_one(&self) {
        let evicted = self.inner().take_one(self.max);
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

    fn put_proven(&mut self, owner: Lane, connection: Arc<Connection>) {
        let place = self.next_place();
        connection.place.store(place, Ordering::Relaxed);
        let requests = connection.requests.load(Ordering::Relaxed);
        let account = owner.0[0];
        let of_account = self.proven.entry(account).or_default();
        let of_key = of_account.keys.entry(owner).or_default();
        of_key.insert(place, (connection, requests));
        of_account.count += 1;
        self.proven_count += 1;
    }

    fn take_proven(&mut self, owner: Lane, place: u64) -> Option<Arc<Connection>> {
        let account = owner.0[0];
        let of_account = self.proven.get_mut(&account)?;
        let of_key = of_account.keys.get_mut(&owner)?;
        let (connection, _) = of_key.remove(&place)?;
        if of_key.is_empty() {
            of_account.keys.remove(&owner);
        }
        of_account.count -= 1;
        self.proven_count -= 1;
        if of_account.count == 0 {
            self.proven.remove(&account);
        }
        Some(connection)
    }

    /// The one to close first if this many is the limit.
    fn take_one(&mut self, max: usize) -> Option<Arc<Connection>> {
        if self.unproven.len() > max / UNPROVEN_SHARE || self.proven_count == 0 {
            let longest = self.take_longest_unproven();
            longest.or_else(|| self.take_of_the_most())
        } else {
            let of_the_most = self.take_of_the_most();
            of_the_most.or_else(|| self.take_longest_unproven())
        }
    }

    fn take_longest_unproven(&mut self) -> Option<Arc<Connection>> {
        let mut unproven = self.unproven.iter();
        let (place, _) = unproven.find(|(_, one)| one.leave(Stage::Waiting))?;
        self.take_unproven(*place)
    }

    /// One of the key with the most proven connections, in the account with the most. If all of them have
    /// running requests, one of the next key or account.
    fn take_of_the_most(&mut self) -> Option<Arc<Connection>> {
        let mut accounts: Vec<(usize, u64)> = self
            .proven
            .iter()
            .map(|(account, of_account)| (of_account.count, *account))
            .collect();
        accounts.sort_unstable_by(|one, other| other.cmp(one));
        // First idle ones, then those whose requests still wait for something.
        for latest in [Stage::Idle, Stage::Waiting] {
            for (_, account) in &accounts {
                let mut keys: Vec<(usize, Lane)> = self
                    .proven
                    .get(account)?
                    .keys
                    .iter()
                    .map(|(key, of_key)| (of_key.len(), *key))
                    .collect();
                keys.sort_unstable_by_key(|(count, _)| std::cmp::Reverse(*count));
                for (_, key) in keys {
                    if let Some(found) = self.take_longest_idle(key, latest) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }

    /// The least recently used connection of a key. If it was used since the last look, it moves behind all
    /// others.
    fn take_longest_idle(&mut self, owner: Lane, latest: Stage) -> Option<Arc<Connection>> {
        let account = owner.0[0];
        let places: Vec<u64> = self
            .proven
            .get(&account)?
            .keys
            .get(&owner)?
            .keys()
            .copied()
            .collect();
        for place in places {
            let of_key = self.proven.get(&account)?.keys.get(&owner)?;
            let (connection, seen) = of_key.get(&place)?;
            let is_unused = connection.requests.load(Ordering::Relaxed) == *seen;
            let goes = is_unused && connection.leave(latest);
            let connection = self.take_proven(owner, place)?;
            if goes {
                return Some(connection);
            }
            self.put_proven(owner, connection);
        }
        None
    }
}

impl Connection {
    /// The address of the peer.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Changes from one stage to another, unless it is in a third one.
    fn advance(&self, from: Stage, to: Stage) -> bool {
        self.stage
            .compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Chooses it to be closed, unless it is past this stage.
    fn leave(&self, latest: Stage) -> bool {
        let stages = [Stage::Idle, Stage::Waiting];
        stages
            .into_iter()
            .filter(|stage| *stage <= latest)
            .any(|stage| self.advance(stage, Stage::Leaving))
    }

    /// A request begins.
    pub(crate) fn begin_request(&self) -> Result<(), Leaving> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.advance(Stage::Idle, Stage::Working)
            .then_some(())
            .ok_or(Leaving)
    }

    /// Until when the next request must wait because of earlier refusals.
    pub(crate) fn held_back_until(&self) -> Option<Instant> {
        let until = self.backoff.as_ref()?.until()?;
        (until > Instant::now()).then_some(until)
    }

    /// Delays a request until then.
    pub(crate) async fn hold_back(&self, until: Instant) -> Result<(), Leaving> {
        self.begin_waiting();
        Box::pin(tokio::time::sleep_until(until)).await;
        self.end_waiting()
    }

    /// Counts a refusal because the client is over a limit.
    pub(crate) fn note_refusal(&self) {
        if let Some(backoff) = &self.backoff {
            backoff.note_refusal();
        }
    }

    /// The request waits for something before the work on it begins; meanwhile the connection may be closed.
    pub(crate) fn begin_waiting(&self) {
        self.advance(Stage::Working, Stage::Waiting);
    }

    /// The work on the request goes on.
    pub(crate) fn end_waiting(&self) -> Result<(), Leaving> {
        self.advance(Stage::Waiting, Stage::Working)
            .then_some(())
            .ok_or(Leaving)
    }

    /// A request is answered.
    pub(crate) fn end_request(&self) {
        self.advance(Stage::Working, Stage::Idle);
        self.advance(Stage::Waiting, Stage::Idle);
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
        self.owner().is_some()
    }

    /// The first valid key on it.
    pub(crate) fn owner(&self) -> Option<Lane> {
        self.owner.get().copied()
    }

    /// A request on it was authenticated.
    pub(crate) fn prove(&self, owner: Lane) {
        if self.is_proven() {
            return;
        }
        let mut inner = self.table.inner();
        if self.owner.set(owner).is_err() {
            return;
        }
        // If it was evicted meanwhile, it stays out.
        if let Some(connection) = inner.take_unproven(self.place.load(Ordering::Relaxed)) {
            inner.put_proven(owner, connection);
        }
    }

    /// Resolves when it must be closed.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The next response is the last.
    pub(crate) fn close_after_answer(&self) {
        self.closes_after_answer.store(true, Ordering::Relaxed);
    }

    /// Whether the next response is the last.
    pub(crate) fn closes_after_answer(&self) -> bool {
        self.closes_after_answer.load(Ordering::Relaxed)
    }

    /// Stops reading from it, for this reason.
    pub(crate) fn refuse(&self, refused: Refused) {
        let _ = self.refused.set(refused);
    }

    /// Why nothing more is read from it.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused.get().copied()
    }
}

/// A connection while it is open.
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
        if inner.take_unproven(place).is_none()
            && let Some(owner) = self.0.owner()
        {
            inner.take_proven(owner, place);
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

    fn key(account: u64, number: u64) -> Lane {
        Lane([account, number, number])
    }

    fn is_evicted(connection: &Connection) -> bool {
        connection.evicted().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_requests_are_refused_is_held_back_and_can_be_evicted() {
        let table = ConnectionTable::new(1, 1);
        let connection = open(&table, "192.0.2.1");
        assert_eq!(connection.held_back_until(), None);
        connection.begin_request().unwrap();
        connection.note_refusal();
        connection.end_request();
        connection.begin_request().unwrap();
        let until = connection.held_back_until().unwrap();
        assert_eq!(connection.hold_back(until).await, Ok(()));
        assert_eq!(Instant::now(), until);
        connection.note_refusal();
        let until = connection.held_back_until().unwrap();
        let held = connection.hold_back(until);
        let newcomer = async { open(&table, "192.0.2.2") };
        let (held, _newcomer) = tokio::join!(held, newcomer);
        assert_eq!(held, Err(Leaving));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_proxy_is_not_held_back() {
        let table = ConnectionTable::new(1, 1);
        let connection = table.open(address("192.0.2.1"), true).unwrap();
        connection.note_refusal();
        assert_eq!(connection.held_back_until(), None);
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
        // An authenticated one doesn't count any more.
        second.prove(key(1, 1));
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
            one.prove(key(1, 1));
        }
        let strangers = ["10.0.0.3", "10.0.0.4"].map(|peer| open(&table, peer));
        // It is idle since its last response.
        strangers[0].begin_request().unwrap();
        strangers[0].end_request();
        let next = open(&table, "10.0.0.5");
        assert!(is_evicted(&strangers[1]));
        next.begin_request().unwrap();
        strangers[0].begin_request().unwrap();
        // Those with running requests stay; of the others, the last used stays longest.
        proven[0].begin_request().unwrap();
        proven[0].end_request();
        let one_more = open(&table, "10.0.0.6");
        assert!(is_evicted(&proven[1]) && !is_evicted(&proven[0]));
        one_more.prove(key(1, 1));
        one_more.begin_request().unwrap();
        proven[0].begin_request().unwrap();
        assert!(table.open(address("10.0.0.7"), false).is_none());
        proven[0].begin_waiting();
        assert!(table.open(address("10.0.0.7"), false).is_some());
        assert!(is_evicted(&proven[0]));
        assert_eq!(
            proven[0].end_waiting(),
            Err(Leaving),
            "its request does not begin"
        );
        assert_eq!(proven[1].begin_request(), Err(Leaving));
    }

    #[test]
    fn an_account_or_key_with_many_connections_costs_others_none_of_theirs() {
        let table = ConnectionTable::new(8, 100);
        let prove = |peer: &str, owner| {
            let connection = open(&table, peer);
            connection.prove(owner);
            connection
        };
        // The oldest and longest idle is of an account with few.
        let quiet = prove("10.0.0.1", key(1, 1));
        let second_key = prove("10.0.0.2", key(2, 2));
        let many: Vec<Open> = (0..6).map(|_| prove("10.0.0.2", key(2, 1))).collect();
        let newcomers: Vec<Open> = (0..6).map(|_| prove("10.0.0.3", key(3, 1))).collect();
        assert!(!is_evicted(&quiet), "another account");
        assert!(!is_evicted(&second_key), "a key with few");
        let evicted = |of: &[Open]| of.iter().filter(|one| is_evicted(one)).count();
        // Six were closed, each of the key that had the most then.
        assert_eq!((evicted(&many), evicted(&newcomers)), (4, 2));
        drop((quiet, second_key, many, newcomers));
        assert_eq!(table.inner().proven_count, 0);
        assert!(table.inner().proven.is_empty());
    }

    #[test]
    fn strangers_keep_a_share_of_a_full_server_and_no_more() {
        let table = ConnectionTable::new(8, 100);
        let proven: Vec<Open> = (0..8).map(|_| open(&table, "10.0.0.1")).collect();
        for one in &proven {
            one.prove(key(1, 1));
        }
        let strangers: Vec<Open> = (0..6).map(|_| open(&table, "10.0.0.2")).collect();
        let evicted = |of: &[Open]| of.iter().filter(|one| is_evicted(one)).count();
        assert_eq!((evicted(&proven), evicted(&strangers)), (3, 3));
    }
}
