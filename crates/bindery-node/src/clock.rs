//! The clock: the machine's, or a test's. And [`ClockGuard`], which refuses commits while the wall clock has
//! jumped ahead.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bindery_core::time::Timestamp;
use bindery_store::Store;
use rustix::time::{ClockId, clock_gettime};

/// How far the wall clock may run ahead of the boot-time clock between two commits.
///
/// More than any correction of a synchronized clock (NTP daemons step over seconds). Little enough that a
/// commit this far ahead does no harm: time in the log then stands still for at most this long.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_mins(10);

/// Reads the time and measures elapsed time. Cheap to clone.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Time since the machine started, including suspended time. A test's clock may have none.
    boottime: Option<Arc<dyn Fn() -> Duration + Send + Sync>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        let clock = Self::new(|| {
            let since_1970 = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
        });
        clock.with_boottime(|| {
            // Not the monotonic clock, which stops while the machine is suspended.
            let since_start = clock_gettime(ClockId::Boottime);
            let seconds = u64::try_from(since_start.tv_sec).unwrap_or_default();
            let nanos = u32::try_from(since_start.tv_nsec).unwrap_or_default();
            Duration::new(seconds, nanos)
        })
    }

    /// A clock that reads the time from `now`, and elapsed time from the machine.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let start = Instant::now();
        Self::with_steady(now, move || start.elapsed())
    }

    /// A clock that reads the time from `now`, and elapsed time since an arbitrary start from `steady`.
    pub fn with_steady(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        steady: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self {
            now: Arc::new(now),
            steady: Arc::new(steady),
            boottime: None,
        }
    }

    /// The same clock, with `boottime` to check against: the time since the machine started. Without it, a
    /// clock may jump.
    #[must_use]
    pub fn with_boottime(self, boottime: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            boottime: Some(Arc::new(boottime)),
            ..self
        }
    }

    /// The time. Setting the clock moves it, forward or back.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Elapsed time. Never goes back, even if the clock is set.
    pub fn steady(&self) -> Duration {
        (self.steady)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(..)")
    }
}

/// The wall clock is more than [`CLOCK_AHEAD_MAX`] ahead of the last commit, or of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockAhead {
    ahead: Duration,
    now: Timestamp,
    /// The database's clock at that moment, if there is one.
    database: Option<Timestamp>,
}

impl std::error::Error for ClockAhead {}

impl fmt::Display for ClockAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead = self.ahead.as_secs();
        let Some(database) = self.database else {
            return write!(
                f,
                "the clock of this machine has run ahead by {ahead} s since the last change. Nothing is changed until the clock is \
                set back; if it is right, because the machine was paused or the clock was wrong before, restart the server"
            );
        };
        let (now, database) = (in_words(self.now), in_words(database));
        write!(
            f,
            "the clock of this machine says {now}, and the clock of the database says {database}: {ahead} s more than the last \
            change and the database allow. Nothing is changed until they agree; set the wrong one of the two right"
        )
    }
}

fn in_words(moment: Timestamp) -> String {
    let millis = moment.as_millis();
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| format!("{millis} ms since 1970"),
        |moment| moment.to_string(),
    )
}

/// Keeps future times out of the log. Time in the log never goes back, so after one commit fifty years ahead,
/// all changes until then would get that time.
///
/// It keeps the difference between wall clock and boot-time clock at the last commit, or at the start. With a
/// database, the start uses the database's clock. The wall clock may be set back, and then set right again.
#[derive(Debug)]
pub(crate) struct ClockGuard {
    clock: Clock,
    /// Wall clock minus boot-time clock in milliseconds, since 1970; the largest trusted value.
    offset_ms: Mutex<i64>,
    /// The same by the database's clock, when it was last read.
    database_offset_ms: Mutex<Option<i64>>,
}

impl ClockGuard {
    /// Trusts the database's clock at the start, or this machine's if there is none.
    pub(crate) fn new(clock: Clock, database_time: Option<Timestamp>) -> Self {
        let trusted = database_time.unwrap_or_else(|| clock.now());
        let offset_ms = offset_ms(&clock, trusted);
        Self {
            clock,
            offset_ms: Mutex::new(offset_ms),
            database_offset_ms: Mutex::new(database_time.map(|_| offset_ms)),
        }
    }

    /// Fails if no commit may be made at this time.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), ClockAhead> {
        let ahead_ms = offset_ms(&self.clock, now).saturating_sub(*self.lock());
        let ahead = Duration::from_millis(u64::try_from(ahead_ms).unwrap_or_default());
        if ahead > CLOCK_AHEAD_MAX {
            let wall_ms = offset_ms(&self.clock, now);
            let database = self.lock_database().map(|database_ms| {
                let behind_ms = wall_ms.saturating_sub(database_ms);
                Timestamp::from_millis(now.as_millis().saturating_sub(behind_ms))
            });
            return Err(ClockAhead {
                ahead,
                now,
                database,
            });
        }
        Ok(())
    }

    /// The time of the guarded clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether changes are refused now.
    pub(crate) fn is_ahead(&self) -> bool {
        self.check(self.now()).is_err()
    }

    /// Trusts this time: a commit was made at it, or the database confirmed it.
    pub(crate) fn trust(&self, moment: Timestamp) {
        let offset_ms = offset_ms(&self.clock, moment);
        let mut trusted = self.lock();
        // Never lower: a clock that was set back may be set right again.
        *trusted = offset_ms.max(*trusted);
    }

    /// Reads the database's clock. Returns whether it has one. Blocks.
    pub(crate) fn ask(&self, store: &dyn Store) -> bool {
        match store.database_time() {
            Ok(Some(moment)) => {
                *self.lock_database() = Some(offset_ms(&self.clock, moment));
                self.trust(moment);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "the time of the database can't be read");
                false
            }
        }
    }

    fn lock_database(&self) -> MutexGuard<'_, Option<i64>> {
        self.database_offset_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, i64> {
        self.offset_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a time is ahead of the boot-time clock; 0 for a clock without one.
fn offset_ms(clock: &Clock, moment: Timestamp) -> i64 {
    clock.boottime.as_ref().map_or(0, |boottime| {
        let since_start = i64::try_from(boottime().as_millis()).unwrap_or(i64::MAX);
        moment.as_millis().saturating_sub(since_start)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use super::*;

    const START_MS: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    /// A machine with clocks that a test sets.
    #[derive(Default)]
    struct Machine {
        wall_ms: Arc<AtomicI64>,
        boottime_ms: Arc<AtomicU64>,
    }

    impl Machine {
        fn clock(&self) -> Clock {
            let (wall, boottime) = (Arc::clone(&self.wall_ms), Arc::clone(&self.boottime_ms));
            Clock::new(move || Timestamp::from_millis(START_MS + wall.load(Ordering::SeqCst)))
                .with_boottime(move || Duration::from_millis(boottime.load(Ordering::SeqCst)))
        }

        fn set(&self, ms: i64) {
            self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        }

        fn pass(&self, ms: i64) {
            self.set(ms);
            self.boottime_ms
                .fetch_add(ms.unsigned_abs(), Ordering::SeqCst);
        }
    }

    fn bound_ms() -> i64 {
        i64::try_from(CLOCK_AHEAD_MAX.as_millis()).expect("minutes")
    }

    #[test]
    fn time_that_passes_is_no_jump_however_much_it_is() {
        let machine = Machine::default();
        let guard = ClockGuard::new(machine.clock(), None);
        // Suspended for a year; the boot-time clock counts that too.
        machine.pass(365 * DAY_MS);
        assert!(!guard.is_ahead());
    }

    #[test]
    fn a_jump_is_refused_until_the_clock_is_set_back() {
        let machine = Machine::default();
        let guard = ClockGuard::new(machine.clock(), None);
        machine.set(bound_ms());
        assert!(!guard.is_ahead());
        machine.set(1);
        assert!(guard.is_ahead());
        machine.pass(DAY_MS);
        assert!(guard.is_ahead(), "waiting doesn't set it right");
        machine.set(-1);
        assert!(!guard.is_ahead());
    }

    #[test]
    fn a_clock_that_was_set_back_may_be_set_right() {
        let machine = Machine::default();
        let guard = ClockGuard::new(machine.clock(), None);
        machine.set(-30 * DAY_MS);
        assert!(!guard.is_ahead());
        guard.trust(machine.clock().now());
        machine.set(30 * DAY_MS);
        assert!(!guard.is_ahead());
    }

    #[test]
    fn a_clock_that_is_wrong_at_the_start_is_found_by_that_of_the_database() {
        let machine = Machine::default();
        let right = Timestamp::from_millis(START_MS);
        machine.set(50 * 365 * DAY_MS);
        assert!(ClockGuard::new(machine.clock(), Some(right)).is_ahead());
        // Nothing else can detect it.
        assert!(!ClockGuard::new(machine.clock(), None).is_ahead());
    }

    #[test]
    fn a_refusal_names_both_clocks_where_the_database_has_one() {
        let machine = Machine::default();
        let right = Timestamp::from_millis(START_MS);
        let guard = ClockGuard::new(machine.clock(), Some(right));
        machine.pass(DAY_MS);
        machine.set(2 * bound_ms());
        let error = guard.check(guard.now()).unwrap_err().to_string();
        assert!(
            error.contains("of this machine says 2027-01-16T08:20:00Z")
                && error.contains("of the database says 2027-01-16T08:00:00Z"),
            "{error}"
        );
        assert!(!error.contains("restart"), "{error}");
        let guard = ClockGuard::new(machine.clock(), None);
        machine.set(2 * bound_ms());
        let error = guard.check(guard.now()).unwrap_err().to_string();
        assert!(error.contains("restart the server"), "{error}");
    }
}
