//! A connection on which requests are refused since its client is over a limit is read more and more slowly. Else a client with many
//! connections, which sends on and reads nothing, keeps all threads of connections busy with refusals.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long the next request waits after the first refusal. It doubles with each refusal in a row.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// How long it waits at the most: as long as a refused client is told to wait.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The refusals of one connection.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// In a row.
    refusals: AtomicU32,
    last: Mutex<Option<Instant>>,
}

impl Backoff {
    /// A request was answered, or refused since its client is over a limit.
    pub(crate) fn note(&self, is_over_limit: bool) {
        if is_over_limit {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(Instant::now());
        } else if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
    }

    /// When the next request may begin, if that is not at once.
    pub(crate) fn until(&self) -> Option<Instant> {
        let refusals = self.refusals.load(Ordering::Relaxed);
        let doublings = refusals.checked_sub(1)?.min(16);
        let pause = (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX);
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|last| last + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_refusal_in_a_row_doubles_the_pause_before_the_next_request() {
        let backoff = Backoff::default();
        let pause = || backoff.until().map(|until| until - Instant::now());
        assert_eq!(pause(), None);
        for expected in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            backoff.note(true);
            assert_eq!(pause(), Some(Duration::from_millis(expected)));
        }
        // It counts from the last answer: a client that waits as it was told waits no longer.
        tokio::time::advance(PAUSE_MAX).await;
        assert_eq!(pause(), Some(Duration::ZERO));
        backoff.note(false);
        assert_eq!(pause(), None);
        backoff.note(true);
        assert_eq!(pause(), Some(PAUSE_MIN));
    }
}
