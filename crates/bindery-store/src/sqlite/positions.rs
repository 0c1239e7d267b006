//! The position of each account, in a file beside the database. To SQLite, a damaged end of a write-ahead log
//! looks like one that was never written: acknowledged commits would be lost silently. So each commit is
//! recorded here as well, and a store that is behind its positions is not opened.
//!
//! A position is written after its commit is synced, and is not synced itself. After a system crash it may be
//! behind the store, never ahead of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bindery_core::id::{AccountId, Revision};

use crate::StoreError;
use crate::tables::checksum::Checksum;
use crate::tables::read::{self, Head};
use crate::tables::{Database, Failure, Value, batch_of, bounded};

/// The file in the data directory. Deleting it accepts the store as it is.
pub(super) const POSITIONS: &str = "bindery.positions";

/// The size of one slot, so that none crosses a sector: five little-endian numbers, and padding.
const SLOT: usize = 64;
/// Separates the checksums of positions from those of rows.
const TABLE: u8 = 0;

/// The positions of a data directory: that of account n is the n-th.
#[derive(Debug)]
pub(super) struct Positions {
    file: File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    account: AccountId,
    revision: i64,
    batch: i64,
    audit: i64,
}

impl Positions {
    pub(super) fn open(data_dir: &Path, private: &OpenOptions) -> io::Result<Self> {
        let mut options = private.clone();
        let file = options
            .create(true)
            .truncate(false)
            .open(data_dir.join(POSITIONS))?;
        Ok(Self { file })
    }

    /// The positions of another store mean nothing for a new one.
    pub(super) fn remove(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(data_dir.join(POSITIONS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Records the position of an account. If that fails, the older one stays, which is still a correct lower
    /// bound.
    pub(super) fn note(&self, account: AccountId, head: &Head) {
        let note = Note {
            account,
            revision: bounded(head.position.revision.0),
            batch: batch_of(head.position),
            audit: bounded(head.audit),
        };
        let _ = self.write(note);
    }

    fn write(&self, note: Note) -> io::Result<()> {
        let AccountId(number) = note.account;
        let length = u64::try_from(SLOT).unwrap_or_default();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(u64::from(number).saturating_mul(length)))?;
        file.write_all(&note.encode())
    }

    /// The current positions.
    pub(super) fn read(&self) -> io::Result<Notes> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(Notes(bytes))
    }
}

/// The positions at one moment.
pub(super) struct Notes(Vec<u8>);

impl Notes {
    /// Those of a data directory that another process may use. They are read before the store: a commit in
    /// between is in the store and not in them.
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        match fs::read(data_dir.join(POSITIONS)) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Refuses a store that is behind its positions. An unreadable one is ignored.
    pub(super) fn check(&self, database: &mut dyn Database, place: &str) -> Result<(), StoreError> {
        let notes = (0..).zip(self.0.chunks(SLOT));
        for note in notes.filter_map(|(number, slot)| Note::decode(AccountId(number), slot)) {
            let (found, found_audit) = match read::head(database, note.account) {
                Ok(head) if note.is_ahead_of(&head) => (head.position.revision, head.audit),
                // So is a missing account row, if the rest of the account is there.
                Err(Failure::NoAccount(_)) if log_reaches(database, note).unwrap_or(true) => {
                    continue;
                }
                Err(Failure::NoAccount(_)) => (Revision(0), 0),
                // A damaged row says nothing about the others: loading its account is refused.
                Ok(_) | Err(Failure::Damaged(_)) => continue,
                Err(other) => return Err(other.at(place)),
            };
            return Err(StoreError::RolledBack {
                path: place.to_owned(),
                account: note.account,
                known: Revision(note.revision.unsigned_abs()),
                found,
                known_audit: note.audit.unsigned_abs(),
                found_audit,
            });
        }
        Ok(())
    }
}

/// Whether the log of an account reaches its recorded position.
fn log_reaches(database: &mut dyn Database, note: Note) -> Result<bool, Failure> {
    let mut reaches = false;
    for sql in [
        "SELECT 1 FROM log WHERE account = $1 AND revision >= $2 LIMIT 1",
        "SELECT 1 FROM base WHERE account = $1 AND revision >= $2 LIMIT 1",
    ] {
        let values = [note.account.into(), Value::Integer(note.revision)];
        database.query(sql, &values, &mut |_| {
            reaches = true;
            Ok(())
        })?;
    }
    Ok(reaches)
}

impl Note {
    fn is_ahead_of(self, head: &Head) -> bool {
        let revision = bounded(head.position.revision.0);
        self.revision > revision
            || (self.revision == revision && self.batch != batch_of(head.position))
            || self.audit > bounded(head.audit)
    }

    fn checksum(self) -> Checksum {
        let table = Checksum::of(TABLE, self.account);
        table
            .integer(self.revision)
            .integer(self.batch)
            .integer(self.audit)
    }

    fn encode(self) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        let numbers = [
            i64::from(self.account.0),
            self.revision,
            self.batch,
            self.audit,
            self.checksum().stored(),
        ];
        for (place, number) in slot.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        slot
    }

    fn decode(account: AccountId, slot: &[u8]) -> Option<Self> {
        let mut numbers = slot
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| i64::from_le_bytes(*bytes));
        let mut next = || numbers.next();
        let (number, revision, batch, audit) = (next()?, next()?, next()?, next()?);
        let note = Self {
            account,
            revision,
            batch,
            audit,
        };
        let is_whole = number == i64::from(account.0) && next()? == note.checksum().stored();
        is_whole.then_some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_damaged_one_says_nothing() {
        let account = AccountId(3);
        let note = Note {
            account,
            revision: 7,
            batch: -9,
            audit: 11,
        };
        let slot = note.encode();
        assert_eq!(Note::decode(account, &slot), Some(note));
        assert_eq!(Note::decode(AccountId(4), &slot), None);
        for place in 0..40 {
            let mut other = slot;
            other[place] ^= 1;
            assert_eq!(Note::decode(account, &other), None);
        }
        assert_eq!(Note::decode(account, &slot[..32]), None);
        assert_eq!(Note::decode(account, &[0; SLOT]), None);
    }
}
