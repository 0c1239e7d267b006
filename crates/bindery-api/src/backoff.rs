//! A connection on which requests are refused because its client is over a limit is read more and more slowly. Otherwise a client with
//! many connections, which sends on and reads nothing, keeps all connection threads busy with refusals.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long the next request waits after the first refusal. Each further refusal doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest wait: as long as `Retry-After` tells a refused client to wait.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Refusals that are counted: more make no longer pause.
const REFUSALS_MAX: u32 = 8;
/// Each such time without a refusal halves their number. Answers do not: a client could put cheap requests between.
const QUIET: Duration = Duration::from_secs(2);

/// The refusals of one connection.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    refusals: AtomicU32,
    last: Mutex<Option<Instant>>,
}

impl Backoff {
    /// Counts a refusal because the client is over a limit.
    pub(crate) fn note_refusal(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let refusals = self.remembered(*last) + 1;
        self.refusals
            .store(refusals.min(REFUSALS_MAX), Ordering::Relaxed);
        *last = Some(Instant::now());
    }

    /// When the next request may begin, if that is not now.
    pub(crate) fn until(&self) -> Option<Instant> {
        if self.refusals.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let doublings = self.remembered(last).checked_sub(1)?;
        let pause = (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX);
        last.map(|last| last + pause)
    }

    /// How many refusals count now.
    fn remembered(&self, last: Option<Instant>) -> u32 {
        let refusals = self.refusals.load(Ordering::Relaxed);
        let quiet = last.map_or(0, |last| last.elapsed().as_secs() / QUIET.as_secs());
        refusals >> quiet.min(u64::from(u32::BITS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_refusal_doubles_the_pause_before_the_next_request_and_quiet_ends_it() {
        let backoff = Backoff::default();
        let pause = || backoff.until().map(|until| until - Instant::now());
        assert_eq!(pause(), None);
        for expected in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            backoff.note_refusal();
            assert_eq!(pause(), Some(Duration::from_millis(expected)));
        }
        // A client that respects `Retry-After` does not wait here as well.
        tokio::time::advance(PAUSE_MAX).await;
        assert_eq!(pause(), Some(Duration::ZERO));
        backoff.note_refusal();
        assert_eq!(pause(), Some(PAUSE_MAX));
        tokio::time::advance(QUIET).await;
        backoff.note_refusal();
        assert_eq!(pause(), Some(Duration::from_millis(160)));
        tokio::time::advance(QUIET * 3).await;
        assert_eq!(pause(), None);
    }
}
