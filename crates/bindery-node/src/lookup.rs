//! Secrets that no account at work knows: where the store says they lead. A flood of bad ones is no flood of queries: whoever
//! comes while one is under way, or shortly after, waits for the next, which asks for all of them at once; and who was nobody
//! a moment ago still is.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bindery_core::api_key::SecretHash;
use bindery_store::Owner;
use tokio::sync::oneshot;

use crate::meters::StoreCall;
use crate::node::{Node, Unavailable};

/// How many requests may wait to be told where their secret leads; more are told to come back.
const WAITING_MAX: usize = 4096;
/// How many secrets one query asks for.
const AT_ONCE: usize = 256;
/// How long after a query the next one is made.
const PAUSE: Duration = Duration::from_millis(10);
/// The same after one that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(250);
/// How long anyone waits.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a secret that nobody has is remembered for one, up to twice as long.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// How many are remembered, up to twice as many.
const UNKNOWN_MAX: usize = 8192;

type Answer = Result<Option<Owner>, Unavailable>;
/// Secrets with those who wait to be told about them.
type Asked = BTreeMap<SecretHash, Vec<oneshot::Sender<Answer>>>;

#[derive(Debug, Default)]
pub(crate) struct Lookups {
    waiting: Mutex<Waiting>,
    unknown: Mutex<Unknown>,
}

#[derive(Debug, Default)]
struct Waiting {
    secrets: Asked,
    /// How many wait for an answer.
    requests: usize,
    /// Whether there is a task that asks for them.
    is_attended: bool,
}

impl Node {
    /// Where a secret leads, by the store.
    pub(crate) async fn look_up(self: &Arc<Self>, secret: &SecretHash) -> Answer {
        if lock(&self.lookups().unknown).has(secret) {
            self.meters().known_as_unknown.count();
            return Ok(None);
        }
        self.meters().looked_up.count();
        let (say, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.lookups().waiting);
            if waiting.requests >= WAITING_MAX {
                return Err(Unavailable);
            }
            waiting.requests += 1;
            waiting.secrets.entry(*secret).or_default().push(say);
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

    /// Asks for everything that waits, until nothing does.
    async fn attend(self: Arc<Self>) {
        while let Some(some) = self.lookups().take() {
            let node = Arc::clone(&self);
            // The store blocks.
            let asked = tokio::task::spawn_blocking(move || {
                let secrets: Vec<SecretHash> = some.keys().copied().collect();
                let owners = node.store().owners(&secrets);
                let owners = node.meters().watch(StoreCall::Lookup, owners);
                node.lookups().answer(some, owners)
            });
            let is_answered = asked.await.unwrap_or(false);
            self.meters().lookups.count();
            tokio::time::sleep(if is_answered { PAUSE } else { FAILED_PAUSE }).await;
        }
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Asked> {
        let mut some = BTreeMap::new();
        while some.len() < AT_ONCE
            && let Some((secret, requests)) = self.secrets.pop_first()
        {
            self.requests -= requests.len();
            some.insert(secret, requests);
        }
        self.is_attended = !some.is_empty();
        self.is_attended.then_some(some)
    }
}

impl Lookups {
    /// What is asked for next.
    fn take(&self) -> Option<Asked> {
        lock(&self.waiting).take()
    }

    /// Tells everyone who waits; whether the store did.
    fn answer(
        &self,
        waiting: Asked,
        owners: Result<Vec<Option<Owner>>, bindery_store::StoreError>,
    ) -> bool {
        let owners = match owners {
            Ok(owners) => owners,
            Err(error) => {
                tracing::error!(%error, "whose keys these are can't be read");
                for say in waiting.into_values().flatten() {
                    let _ = say.send(Err(Unavailable));
                }
                return false;
            }
        };
        for ((secret, requests), owner) in waiting.into_iter().zip(owners) {
            if owner.is_none() {
                lock(&self.unknown).add(secret);
            }
            for say in requests {
                // Whoever asked may have gone away.
                let _ = say.send(Ok(owner));
            }
        }
        true
    }
}

/// Secrets that nobody has, of this moment and of the one before.
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

    #[test]
    fn a_secret_that_nobody_has_is_forgotten_after_a_moment() {
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
