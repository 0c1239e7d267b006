//! Positions in the log of an account: what clients keep instead of a revision.
//!
//! As text, a position is `revision.batch`, like `1234.9f3c21aa00d5e817`: the revision in decimal and the batch in hexadecimal.
//! A revision alone is a position too, of any batch.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::id::Revision;

/// A revision, and the batch that wrote its entry.
///
/// The revision alone doesn't identify an entry. A log that was rolled back (its database was restored, or another server took
/// over without its last entries) gives the same revisions again, to other entries. Each batch has a random number, so the pair
/// names one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The revision of the last entry; 0 before the first.
    pub revision: Revision,
    /// The batch of the last entry, where it is known.
    pub batch: Option<NonZeroU64>,
}

impl LogPosition {
    /// Whether both can be positions in one log: the revisions are equal, and so are the batches where both are known.
    pub fn is_met_by(self, other: Self) -> bool {
        let batches = self.batch.zip(other.batch);
        self.revision == other.revision && batches.is_none_or(|(one, other)| one == other)
    }
}

impl From<Revision> for LogPosition {
    /// This revision of any batch.
    fn from(revision: Revision) -> Self {
        Self {
            revision,
            batch: None,
        }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.revision)?;
        match self.batch {
            Some(batch) => write!(f, ".{batch:x}"),
            None => Ok(()),
        }
    }
}

/// Why a text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogPositionError {
    /// The part before the dot.
    #[error(
        "the revision must be a decimal number from 0 to 18446744073709551615, without leading zeros"
    )]
    Revision,
    /// The part after the dot.
    #[error("the batch must be 1 to 16 lower-case hexadecimal digits, without leading zeros")]
    Batch,
}

impl FromStr for LogPosition {
    type Err = LogPositionError;

    /// Accepts exactly what [`Display`](fmt::Display) writes, so that each position has one text.
    fn from_str(text: &str) -> Result<Self, LogPositionError> {
        let (revision, batch) = match text.split_once('.') {
            Some((revision, batch)) => (revision, Some(batch)),
            None => (text, None),
        };
        if !is_canonical(revision, 10) && revision != "0" {
            return Err(LogPositionError::Revision);
        }
        let revision = revision.parse().map_err(|_| LogPositionError::Revision)?;
        let batch = batch.map(parse_batch).transpose()?;
        Ok(Self {
            revision: Revision(revision),
            batch,
        })
    }
}

fn parse_batch(text: &str) -> Result<NonZeroU64, LogPositionError> {
    if !is_canonical(text, 16) {
        return Err(LogPositionError::Batch);
    }
    let batch = u64::from_str_radix(text, 16).map_err(|_| LogPositionError::Batch)?;
    NonZeroU64::new(batch).ok_or(LogPositionError::Batch)
}

/// Whether it has digits only, at least one, and doesn't begin with a zero. The parsers of the standard library also take signs,
/// zeros in front and capitals.
fn is_canonical(text: &str, radix: u32) -> bool {
    !text.is_empty()
        && !text.starts_with('0')
        && text
            .chars()
            .all(|digit| digit.is_digit(radix) && !digit.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(revision: u64, batch: u64) -> LogPosition {
        LogPosition {
            revision: Revision(revision),
            batch: NonZeroU64::new(batch),
        }
    }

    #[test]
    fn a_position_is_read_from_its_own_text() {
        for (position, text) in [
            (position(0, 0), "0"),
            (position(1234, 0), "1234"),
            (position(1234, 0x9f3c_21aa), "1234.9f3c21aa"),
            (position(0, 1), "0.1"),
            (
                position(u64::MAX, u64::MAX),
                "18446744073709551615.ffffffffffffffff",
            ),
        ] {
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position), "{text}");
        }
    }

    #[test]
    fn no_other_text_is_a_position() {
        use LogPositionError::{Batch, Revision};
        for (text, error) in [
            ("", Revision),
            (".", Revision),
            (".9f", Revision),
            ("00", Revision),
            ("01", Revision),
            ("+1", Revision),
            ("-1", Revision),
            (" 1", Revision),
            ("1 ", Revision),
            ("1a", Revision),
            ("18446744073709551616", Revision),
            ("1.", Batch),
            ("1.0", Batch),
            ("1.09", Batch),
            ("1.+9", Batch),
            ("1.9F", Batch),
            ("1.9g", Batch),
            ("1.9 ", Batch),
            ("1.9.9", Batch),
            ("1.10000000000000000", Batch),
        ] {
            assert_eq!(text.parse::<LogPosition>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_position_of_an_unknown_batch_meets_any_of_its_revision() {
        let (known, other, unknown) = (position(7, 1), position(7, 2), position(7, 0));
        assert!(known.is_met_by(known));
        assert!(!known.is_met_by(other));
        assert!(known.is_met_by(unknown) && unknown.is_met_by(known));
        assert!(!unknown.is_met_by(position(8, 0)));
        assert!(!known.is_met_by(position(8, 1)));
    }
}
