//! Rate limits. Buckets that refill over time, in memory, bounded, and per process.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bindery_core::id::{AccountId, UserId};

use crate::client_address::household;

/// Requests a second; as many may arrive at once. The defaults are above what an honest client sends; they
/// exist so that no client is without a limit (`docs/operations.md`).
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// All requests by one person: all their keys, and the service keys made with them, at any depth.
    pub person: NonZeroU32,
    /// The changes among them.
    pub changes: NonZeroU32,
    /// All requests to one account.
    pub account: NonZeroU32,
    /// Requests without a valid key from one client address.
    pub address: NonZeroU32,
    /// How long an empty bucket takes to be full again. A second; tests have none of theirs refill.
    #[doc(hidden)]
    pub refill: Duration,
}

impl RateLimits {
    /// The default of [`Self::person`].
    pub const PERSON: NonZeroU32 = NonZeroU32::new(200_000).expect("not zero");
    /// The default of [`Self::changes`].
    pub const CHANGES: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");
    /// The default of [`Self::account`].
    pub const ACCOUNT: NonZeroU32 = NonZeroU32::new(500_000).expect("not zero");
    /// The default of [`Self::address`].
    pub const ADDRESS: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            person: Self::PERSON,
            changes: Self::CHANGES,
            account: Self::ACCOUNT,
            address: Self::ADDRESS,
            refill: Duration::from_secs(1),
        }
    }
}

/// How many locks a set of buckets is spread over.
const SHARDS: usize = 16;
/// How many buckets a shard remembers; further keys share one bucket.
const SHARD_MAX: usize = 4096;
/// How often a full shard looks for buckets that have refilled.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The empty bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// Of a person: all requests with their keys, and with the service keys made with them, at any depth.
    Person,
    /// Of a person, for changes.
    Changes,
    /// Of an account.
    Account,
    /// Of a client address, for requests without a valid key.
    Address,
}

impl Bucket {
    pub(crate) const ALL: [Self; 4] = [Self::Person, Self::Changes, Self::Account, Self::Address];

    /// Its name in messages and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Changes => "changes",
            Self::Account => "account",
            Self::Address => "address",
        }
    }
}

/// A bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) bucket: Bucket,
    pub(crate) per_second: u32,
    /// Whole seconds until the next request is accepted.
    pub(crate) seconds: u64,
}

/// The buckets of all requests.
#[derive(Debug)]
pub(crate) struct Rates {
    limits: RateLimits,
    persons: Rate<(AccountId, UserId)>,
    changes: Rate<(AccountId, UserId)>,
    accounts: Rate<AccountId>,
    addresses: Rate<IpAddr>,
    late_lookups: Rate<IpAddr>,
}

/// How many unknown keys a second are looked up for an address with an empty bucket.
const LATE_LOOKUPS: NonZeroU32 = NonZeroU32::new(50).expect("not zero");

impl Rates {
    pub(crate) fn new(limits: RateLimits) -> Self {
        let interval = |limit: NonZeroU32| limits.refill / limit.get();
        Self {
            limits,
            persons: Rate::refilling(limits.person, interval(limits.person)),
            changes: Rate::refilling(limits.changes, interval(limits.changes)),
            accounts: Rate::refilling(limits.account, interval(limits.account)),
            addresses: Rate::refilling(limits.address, interval(limits.address)),
            late_lookups: Rate::per_second(LATE_LOOKUPS),
        }
    }

    /// Takes a request of this person in this account.
    pub(crate) fn take(
        &self,
        account: AccountId,
        person: UserId,
        is_change: bool,
        now: Instant,
    ) -> Result<(), Limited> {
        let of = |bucket, per_second: NonZeroU32| {
            move |seconds| Limited {
                bucket,
                per_second: per_second.get(),
                seconds,
            }
        };
        let key = (account, person);
        // The person first: excess requests of one person cost the account nothing.
        self.persons
            .take_at(&key, now)
            .map_err(of(Bucket::Person, self.limits.person))?;
        if is_change {
            self.changes
                .take_at(&key, now)
                .map_err(of(Bucket::Changes, self.limits.changes))?;
        }
        self.accounts
            .take_at(&account, now)
            .map_err(of(Bucket::Account, self.limits.account))
    }

    /// Allows the look-up of an unknown key. For an address with an empty bucket only a few are allowed:
    /// enough to find a valid key among many bad ones, and it is known from then on.
    pub(crate) fn allow_lookup(&self, address: IpAddr, now: Instant) -> Result<(), Limited> {
        let address = household(address);
        let checked = self.addresses.check_at(&address, now);
        let allowed = checked.or_else(|_| self.late_lookups.take_at(&address, now));
        self.of_address(allowed)
    }

    /// Takes a request without a valid key.
    pub(crate) fn take_address(&self, address: IpAddr, now: Instant) -> Result<(), Limited> {
        self.of_address(self.addresses.take_at(&household(address), now))
    }

    fn of_address(&self, taken: Result<(), u64>) -> Result<(), Limited> {
        taken.map_err(|seconds| Limited {
            bucket: Bucket::Address,
            per_second: self.limits.address.get(),
            seconds,
        })
    }

    /// Removes buckets that have refilled.
    pub(crate) fn tidy(&self) {
        self.persons.tidy();
        self.changes.tidy();
        self.accounts.tidy();
        self.addresses.tidy();
        self.late_lookups.tidy();
    }
}

/// A bucket for each `K`.
///
/// A bucket is one number: the time at which it is full again. Each request moves that time on by one
/// interval. If it is further ahead than the bucket is deep, requests are refused (the generic cell rate
/// algorithm).
#[derive(Debug)]
pub(crate) struct Rate<K> {
    interval: Duration,
    /// How far ahead the time of a bucket may be.
    depth: Duration,
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
}

#[derive(Debug)]
struct Shard<K> {
    /// The time at which each is full again.
    buckets: HashMap<K, Instant>,
    /// The shared bucket of all keys without room.
    crowd: Option<Instant>,
    last_sweep: Option<Instant>,
}

impl<K> Default for Shard<K> {
    fn default() -> Self {
        Self {
            buckets: HashMap::new(),
            crowd: None,
            last_sweep: None,
        }
    }
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// This many a second, and as many at once.
    pub(crate) fn per_second(limit: NonZeroU32) -> Self {
        Self::refilling(limit, Duration::from_secs(1) / limit.get())
    }

    /// `burst` at once, then one in each `interval`.
    pub(crate) fn refilling(burst: NonZeroU32, interval: Duration) -> Self {
        Self {
            interval,
            depth: interval.saturating_mul(burst.get()),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Takes one; `Err` has the whole seconds until the next.
    pub(crate) fn take(&self, key: &K) -> Result<(), u64> {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: &K, now: Instant) -> Result<(), u64> {
        let mut shard = self.shard(key);
        let shard = &mut *shard;
        let full_at = match shard.buckets.get_mut(key) {
            Some(full_at) => full_at,
            None => shard.bucket_of(key, now),
        };
        let next = (*full_at).max(now) + self.interval;
        self.allow(next, now)?;
        *full_at = next;
        Ok(())
    }

    /// The same without taking.
    fn check_at(&self, key: &K, now: Instant) -> Result<(), u64> {
        let shard = self.shard(key);
        let is_crowded = shard.buckets.len() >= SHARD_MAX;
        let others = shard.crowd.filter(|_| is_crowded);
        let full_at = shard.buckets.get(key).copied().or(others);
        self.allow(
            full_at.map_or(now, |full_at| full_at.max(now)) + self.interval,
            now,
        )
    }

    fn allow(&self, next: Instant, now: Instant) -> Result<(), u64> {
        let wait = next.saturating_duration_since(now + self.depth);
        if wait.is_zero() {
            return Ok(());
        }
        // Rounded up: a client that comes back too early is refused again.
        Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// Removes buckets that have refilled.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.sweep(now);
            shard.buckets.shrink_to_fit();
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let hash = self.hasher.hash_one(key);
        let place = usize::try_from(hash % 16).unwrap_or_default();
        self.shards[place % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let lens = self
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().buckets.len());
        lens.sum()
    }
}

impl<K: Hash + Eq + Clone> Shard<K> {
    /// The bucket of this key, new if necessary, or the shared one if there is no room.
    fn bucket_of(&mut self, key: &K, now: Instant) -> &mut Instant {
        if self.buckets.len() >= SHARD_MAX {
            let is_due = |swept: Instant| now.saturating_duration_since(swept) >= SWEEP_INTERVAL;
            if self.last_sweep.is_none_or(is_due) {
                self.sweep(now);
            }
        }
        if self.buckets.len() < SHARD_MAX {
            return self.buckets.entry(key.clone()).or_insert(now);
        }
        self.crowd.get_or_insert(now)
    }

    fn sweep(&mut self, now: Instant) {
        self.last_sweep = Some(now);
        self.buckets.retain(|_, full_at| *full_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_limit_and_learns_how_long_to_wait() {
        let burst = NonZeroU32::new(3).unwrap();
        let rate = Rate::refilling(burst, Duration::from_secs(20));
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(rate.check_at(&"ada", now), Ok(()));
            assert_eq!(rate.take_at(&"ada", now), Ok(()));
        }
        assert_eq!(rate.take_at(&"ada", now), Err(20));
        assert_eq!(rate.check_at(&"ada", now), Err(20));
        assert_eq!(rate.take_at(&"bob", now), Ok(()));
        let later = now + Duration::from_millis(19_001);
        assert_eq!(rate.take_at(&"ada", later), Err(1), "rounded up");
        let later = now + Duration::from_secs(20);
        assert_eq!(rate.take_at(&"ada", later), Ok(()));
        assert_eq!(rate.take_at(&"ada", later), Err(20));
    }

    #[test]
    fn a_second_of_requests_fits_at_once_and_no_more() {
        let limit = NonZeroU32::new(1000).unwrap();
        let rate = Rate::per_second(limit);
        let now = Instant::now();
        let taken = (0..5000).filter(|_| rate.take_at(&1, now).is_ok()).count();
        assert_eq!(taken, 1000);
    }

    #[test]
    fn buckets_are_bounded_and_those_without_room_share_one() {
        let rate = Rate::refilling(NonZeroU32::new(2).unwrap(), Duration::from_secs(9));
        let now = Instant::now();
        let all = 3 * SHARDS * SHARD_MAX;
        let refused = (0..all)
            .filter(|key| rate.take_at(key, now).is_err())
            .count();
        assert_eq!(rate.len(), SHARDS * SHARD_MAX);
        assert!(refused >= all - SHARDS * (SHARD_MAX + 2), "{refused}");
        // The crowd does not disturb a remembered bucket.
        let shard = rate.shards[0].lock().unwrap();
        let known = *shard.buckets.keys().next().unwrap();
        drop(shard);
        assert_eq!(rate.take_at(&known, now), Ok(()));
        // Once they have refilled, there is room again.
        let later = now + Duration::from_mins(1);
        assert_eq!(rate.take_at(&all, later), Ok(()));
        assert!(rate.len() < SHARDS * SHARD_MAX);
    }
}
