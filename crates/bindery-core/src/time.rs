//! Moments. The core never asks the clock: a moment arrives with the request or stands in an entity.

use minicbor::{Decode, Encode};

/// A moment in UTC, in whole milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] i64);

impl Timestamp {
    /// The moment this many milliseconds after 1970 began.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970 began.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment so many seconds later; the last moment there is, if that lies beyond it.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        let millis = seconds.saturating_mul(1000);
        // The larger half of u64 lies beyond every i64.
        if millis > i64::MAX.unsigned_abs() {
            return Self(i64::MAX);
        }
        Self(self.0.saturating_add_unsigned(millis))
    }

    /// The first moment that is later than this one.
    #[must_use]
    pub const fn just_after(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
