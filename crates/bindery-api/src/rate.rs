//! How often somebody may ask. Tokens that refill over time, kept in memory and per process.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// A limit for each `K` by itself.
pub(crate) struct Rate<K: Hash + Eq + Clone>(Option<DefaultKeyedRateLimiter<K>>);

impl<K: Hash + Eq + Clone> fmt::Debug for Rate<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rate").field(&self.0.is_some()).finish()
    }
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// So many a second, and as many at once; no limit if absent.
    pub(crate) fn per_second(limit: Option<NonZeroU32>) -> Self {
        Self(limit.map(|limit| RateLimiter::keyed(Quota::per_second(limit))))
    }

    /// `burst` at once, then one in each `interval`.
    pub(crate) fn refilling(burst: NonZeroU32, interval: Duration) -> Self {
        let quota = Quota::with_period(interval).map(|quota| quota.allow_burst(burst));
        Self(quota.map(RateLimiter::keyed))
    }

    /// Takes one; `Err` tells how many whole seconds to wait for the next.
    pub(crate) fn take(&self, key: &K) -> Result<(), u64> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        limiter.check_key(key).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            // Rounded up: who comes back too early is refused again.
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
        })
    }

    /// Forgets whoever has all their tokens back.
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_limit_of_their_own_and_is_told_how_long_to_wait() {
        let burst = NonZeroU32::new(3).unwrap();
        let rate = Rate::refilling(burst, Duration::from_secs(20));
        for _ in 0..3 {
            assert_eq!(rate.take(&"ada"), Ok(()));
        }
        let wait = rate.take(&"ada").unwrap_err();
        assert!((19..=20).contains(&wait), "{wait}");
        assert_eq!(rate.take(&"bob"), Ok(()));
        rate.tidy();
        assert!(rate.take(&"ada").is_err());
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let rate = Rate::per_second(None);
        assert!((0..10_000).all(|_| rate.take(&1).is_ok()));
    }
}
