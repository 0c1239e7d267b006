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

/// A [`Timestamp`] in six bytes, for what there are millions of. It holds every moment of the years -2490 to 6429; one outside
/// becomes the nearest of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackedTime([u8; 6]);

impl PackedTime {
    const MAX: i64 = (1 << 47) - 1;
    const MIN: i64 = -(1 << 47);
    /// The earliest one. [`Self::pack`] never returns it, so that it can stand for no moment at all.
    pub(crate) const EARLIEST: Self = Self([0, 0, 0, 0, 0, 0x80]);

    pub(crate) fn pack(moment: Timestamp) -> Self {
        let millis = moment.0.clamp(Self::MIN.saturating_add(1), Self::MAX);
        let [low @ .., _, _] = millis.to_le_bytes();
        Self(low)
    }

    pub(crate) fn unpack(self) -> Timestamp {
        let [first, second, third, fourth, fifth, last] = self.0;
        let sign = if last & 0x80 == 0 { 0 } else { 0xff };
        let bytes = [first, second, third, fourth, fifth, last, sign, sign];
        Timestamp(i64::from_le_bytes(bytes))
    }
}

impl std::fmt::Debug for PackedTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.unpack().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_moment_is_the_same_moment() {
        for millis in [
            0,
            1,
            -1,
            65_535,
            65_536,
            -65_536,
            1_800_000_000_123,
            PackedTime::MAX,
            PackedTime::MIN + 1,
        ] {
            let moment = Timestamp(millis);
            assert_eq!(PackedTime::pack(moment).unpack(), moment);
            assert_ne!(PackedTime::pack(moment), PackedTime::EARLIEST);
        }
        assert_eq!(
            PackedTime::pack(Timestamp(i64::MAX)).unpack().0,
            PackedTime::MAX
        );
        assert_eq!(
            PackedTime::pack(Timestamp(i64::MIN)).unpack().0,
            PackedTime::MIN + 1
        );
    }
}
