//! Looks up secrets that no loaded account knows: the store says which account each belongs to.
//!
//! Requests wait in one queue, first come, first served. One query asks for up to [`SECRETS_PER_QUERY`] secrets, and the next
//! one follows after [`PAUSE`], so a flood of bad keys is not a flood of queries. Each client network has at most
//! [`WAITING_PER_NETWORK_MAX`] requests in the queue, and [`WAITING_MAX`] wait in all.
//!
//! Worst case: the queue is full, so a request waits for `WAITING_MAX / SECRETS_PER_QUERY` = 32 queries with their pauses. That
//! is 0.32 s of pauses, and below one second as long as a query takes up to 20 ms (a few milliseconds are usual). A
//! flood over 1,000 connections has at most 1,000 requests in the queue: 4 queries.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bindery_core::api_key::SecretHash;
use bindery_store::Owner;
use tokio::sync::oneshot;

use crate::meters::StoreCall;
use crate::node::{Node, Unavailable};

/// How many requests may wait in all; more get 503.
const WAITING_MAX: usize = 8192;
/// How many requests of one client network may wait; more get 503.
///
/// Above the number of connections that an honest network opens at once (an office behind one address, a proxy that isn't
/// trusted), and a quarter of the whole, so that one network never fills the queue.
const WAITING_PER_NETWORK_MAX: usize = WAITING_MAX / 4;
/// How many secrets one query asks for.
const SECRETS_PER_QUERY: usize = 256;
/// How long after a query the next one is made.
const PAUSE: Duration = Duration::from_millis(10);
/// The same after one that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(250);
/// How long a request waits.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unknown secret is remembered, up to twice as long.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// How many are remembered, up to twice as many.
const UNKNOWN_MAX: usize = 8192;

type Answer = Result<Option<Owner>, Unavailable>;

/// Clients that count as one: an IPv4 address, or the first 64 bits of an IPv6 address, which is what one customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// A request that waits for the owner of a secret.
#[derive(Debug)]
struct Request {
    network: ClientNetwork,
    reply: oneshot::Sender<Answer>,
}

/// Secrets in the order of their first request, with the requests that wait for each.
type Asked = Vec<(SecretHash, Vec<Request>)>;

#[derive(Debug, Default)]
pub(crate) struct Lookups {
    waiting: Mutex<Waiting>,
    unknown: Mutex<Unknown>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The secrets of `requests`, in the order in which they came.
    queue: VecDeque<SecretHash>,
    requests: HashMap<SecretHash, Vec<Request>>,
    /// How many requests wait, by their network; no zeros.
    by_network: HashMap<ClientNetwork, usize>,
    /// The sum of `by_network`.
    count: usize,
    /// Whether a task is running that asks for them.
    is_attended: bool,
}

impl Node {
    /// The owner of a secret, as the store knows it.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        secret: &SecretHash,
        network: ClientNetwork,
    ) -> Answer {
        if lock(&self.lookups().unknown).has(secret) {
            self.meters().known_as_unknown.count();
            return Ok(None);
        }
        self.meters().looked_up.count();
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.lookups().waiting);
            if !waiting.add(*secret, Request { network, reply }) {
                self.meters().lookups_refused.count();
                return Err(Unavailable);
            }
            if !waiting.is_attended {
                waiting.is_attended = true;
                tokio::spawn(Arc::clone(self).attend());
            }
        }
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            _ => Err(Unavailable),
        }
    }

    /// Asks for everything that waits, then ends.
    async fn attend(self: Arc<Self>) {
        while let Some(asked) = self.lookups().take() {
            let node = Arc::clone(&self);
            // The store blocks.
            let answered = tokio::task::spawn_blocking(move || {
                let secrets: Vec<SecretHash> = asked.iter().map(|(secret, _)| *secret).collect();
                let owners = node.store().owners(&secrets);
                let owners = node.meters().watch(StoreCall::Lookup, owners);
                node.lookups().answer(asked, owners)
            });
            let is_answered = answered.await.unwrap_or(false);
            self.meters().lookups.count();
            tokio::time::sleep(if is_answered { PAUSE } else { FAILED_PAUSE }).await;
        }
    }
}

impl Waiting {
    /// Puts a request at the end of the queue; false if there is no room for it.
    fn add(&mut self, secret: SecretHash, request: Request) -> bool {
        let of_network = self.by_network.entry(request.network).or_default();
        if self.count >= WAITING_MAX || *of_network >= WAITING_PER_NETWORK_MAX {
            if *of_network == 0 {
                self.by_network.remove(&request.network);
            }
            return false;
        }
        *of_network += 1;
        self.count += 1;
        let requests = self.requests.entry(secret).or_insert_with(|| {
            self.queue.push_back(secret);
            Vec::new()
        });
        requests.push(request);
        true
    }

    /// Takes the secrets for the next query. Without any, the task that asks for them must end.
    fn take(&mut self) -> Option<Asked> {
        let mut asked = Vec::new();
        while asked.len() < SECRETS_PER_QUERY
            && let Some(secret) = self.queue.pop_front()
        {
            let mut requests = self.requests.remove(&secret).unwrap_or_default();
            for request in &requests {
                self.leave(request.network);
            }
            // A client that hung up or timed out costs no query.
            requests.retain(|request| !request.reply.is_closed());
            if !requests.is_empty() {
                asked.push((secret, requests));
            }
        }
        self.is_attended = !asked.is_empty();
        self.is_attended.then_some(asked)
    }

    fn leave(&mut self, network: ClientNetwork) {
        self.count = self.count.saturating_sub(1);
        if let Some(of_network) = self.by_network.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                self.by_network.remove(&network);
            }
        }
    }
}

impl Lookups {
    /// The next secrets to ask for.
    fn take(&self) -> Option<Asked> {
        lock(&self.waiting).take()
    }

    /// Responds to every request. Returns whether the store responded.
    fn answer(
        &self,
        asked: Asked,
        owners: Result<Vec<Option<Owner>>, bindery_store::StoreError>,
    ) -> bool {
        let owners = match owners {
            Ok(owners) => owners,
            Err(error) => {
                tracing::error!(%error, "the accounts of keys can't be read");
                for (_, requests) in asked {
                    for request in requests {
                        let _ = request.reply.send(Err(Unavailable));
                    }
                }
                return false;
            }
        };
        for ((secret, requests), owner) in asked.into_iter().zip(owners) {
            if owner.is_none() {
                lock(&self.unknown).add(secret);
            }
            for request in requests {
                // The client may have hung up.
                let _ = request.reply.send(Ok(owner));
            }
        }
        true
    }
}

/// Unknown secrets, of the current and the previous period.
#[derive(Debug, Default)]
struct Unknown {
    began: Option<Instant>,
    young: HashSet<SecretHash>,
    old: HashSet<SecretHash>,
}

impl Unknown {
    fn has(&mut self, secret: &SecretHash) -> bool {
        self.age(Instant::now());
        self.young.contains(secret) || self.old.contains(secret)
    }

    fn add(&mut self, secret: SecretHash) {
        self.age(Instant::now());
        if self.young.len() < UNKNOWN_MAX {
            self.young.insert(secret);
        }
    }

    fn age(&mut self, now: Instant) {
        let age = self.began.map(|began| now.saturating_duration_since(began));
        match age {
            Some(age) if age < UNKNOWN_FOR => return,
            Some(age) if age < UNKNOWN_FOR * 2 => self.old = std::mem::take(&mut self.young),
            _ => {
                self.old.clear();
                self.young.clear();
            }
        }
        self.began = Some(now);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The waiting end of a request, which keeps it from being dropped from the queue.
    type Reply = oneshot::Receiver<Answer>;

    fn hash(first: u8, number: u32) -> SecretHash {
        let mut hash = [first; 32];
        hash[1..5].copy_from_slice(&number.to_be_bytes());
        SecretHash(hash)
    }

    fn network(number: u8) -> ClientNetwork {
        ClientNetwork::of(IpAddr::from([192, 0, 2, number]))
    }

    fn add(waiting: &mut Waiting, secret: SecretHash, from: ClientNetwork) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            network: from,
            reply,
        };
        waiting.add(secret, request).then_some(answer)
    }

    #[test]
    fn a_flood_of_keys_whose_hashes_sort_first_delays_a_key_by_the_queue_before_it_and_no_more() {
        const CONNECTIONS: u32 = 1_000;
        let mut waiting = Waiting::default();
        let mut flood: Vec<_> = (0..CONNECTIONS)
            .map(|number| add(&mut waiting, hash(0, number), network(1)).expect("room"))
            .collect();
        let victim = hash(0xff, 0);
        let _answer = add(&mut waiting, victim, network(1)).expect("room");
        let mut next = CONNECTIONS;
        let is_found = (0..CONNECTIONS.div_ceil(256)).any(|_| {
            let asked = waiting.take().expect("the flood goes on");
            // Each answered connection of the flood asks again with another key.
            for _ in &asked {
                flood.extend(add(&mut waiting, hash(0, next), network(1)));
                next += 1;
            }
            asked.iter().any(|(secret, _)| *secret == victim)
        });
        assert!(
            is_found,
            "it still waits after the queries that the flood needs"
        );
    }

    #[test]
    fn one_network_fills_a_part_of_the_queue_and_others_find_room() {
        let mut waiting = Waiting::default();
        let mut answers = Vec::new();
        for number in 0..u32::try_from(WAITING_PER_NETWORK_MAX).unwrap() {
            answers.push(add(&mut waiting, hash(0, number), network(1)).expect("room"));
        }
        assert!(add(&mut waiting, hash(1, 0), network(1)).is_none());
        // The same secret again takes as much room as another.
        assert!(add(&mut waiting, hash(0, 0), network(1)).is_none());
        assert!(add(&mut waiting, hash(1, 0), network(2)).is_some());
        while waiting.take().is_some() {}
        assert_eq!((waiting.count, waiting.by_network.len()), (0, 0));
        assert!(add(&mut waiting, hash(1, 1), network(1)).is_some());
    }

    #[test]
    fn the_queue_has_an_end_for_all_networks_together() {
        let mut waiting = Waiting::default();
        let mut answers = Vec::new();
        for from in 0..4 {
            for number in 0..u32::try_from(WAITING_PER_NETWORK_MAX).unwrap() {
                answers.push(add(&mut waiting, hash(from, number), network(from)).expect("room"));
            }
        }
        assert!(add(&mut waiting, hash(9, 0), network(9)).is_none());
        assert_eq!(waiting.by_network.len(), 4);
    }

    #[test]
    fn who_hangs_up_costs_no_query_and_leaves_the_queue() {
        let mut waiting = Waiting::default();
        for number in 0..10 {
            drop(add(&mut waiting, hash(0, number), network(1)));
        }
        let _answer = add(&mut waiting, hash(0, 10), network(1));
        let asked = waiting.take().expect("one still waits");
        assert_eq!(asked.len(), 1);
        assert_eq!(waiting.count, 0);
    }

    #[test]
    fn an_ipv6_customer_is_one_network_however_many_addresses_they_use() {
        let of = |text: &str| ClientNetwork::of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn an_unknown_secret_is_forgotten_after_a_moment() {
        let secret = SecretHash([1; 32]);
        let start = Instant::now();
        let has =
            |unknown: &Unknown| unknown.young.contains(&secret) || unknown.old.contains(&secret);
        let mut unknown = Unknown::default();
        unknown.age(start);
        unknown.young.insert(secret);
        unknown.age(start + UNKNOWN_FOR / 2);
        assert!(has(&unknown));
        unknown.age(start + UNKNOWN_FOR);
        assert!(has(&unknown), "for as long at the least");
        unknown.age(start + UNKNOWN_FOR * 2);
        assert!(!has(&unknown));
        unknown.young.insert(secret);
        unknown.age(start + UNKNOWN_FOR * 9);
        assert!(!has(&unknown));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut unknown = Unknown::default();
        for number in 0..=UNKNOWN_MAX {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            unknown.add(SecretHash(hash));
        }
        assert!(unknown.young.len() <= UNKNOWN_MAX);
    }
}
