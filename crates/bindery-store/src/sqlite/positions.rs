//! How far each account has come, beside the database. The end of a write-ahead log that is damaged looks to SQLite like one that was
//! never written: commits that were acknowledged would be gone in silence. So each commit is noted here as well, and a store that
//! is behind its notes is not opened.
//!
//! A note is written after its commit is on the disk, and is not synced itself: after a crash of the system it may be behind the
//! store, never ahead of it.

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

/// A note takes so many bytes, so that none lies in two sectors: five numbers with their low bytes first, and nothing.
const SLOT: usize = 64;
/// Tells the checksums of notes from those of rows.
const TABLE: u8 = 0;

/// The notes of a data directory: that of account n is the n-th.
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

    /// What the notes of another store say means nothing for a new one.
    pub(super) fn remove(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(data_dir.join(POSITIONS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Notes how far an account has come. A note that can't be written leaves an older one, which is as true.
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

    /// What they say now.
    pub(super) fn read(&self) -> io::Result<Notes> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(Notes(bytes))
    }
}

/// What the notes said at one moment.
pub(super) struct Notes(Vec<u8>);

impl Notes {
    /// Those of a data directory that another process may use. They are read before the store: a commit in between is in the store and
    /// not in them.
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        match fs::read(data_dir.join(POSITIONS)) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Refuses a store that is behind its notes. A note that can't be read says nothing.
    pub(super) fn check(&self, database: &mut dyn Database, place: &str) -> Result<(), StoreError> {
        let notes = (0..).zip(self.0.chunks(SLOT));
        for note in notes.filter_map(|(number, slot)| Note::decode(AccountId(number), slot)) {
            let (found, found_audit) = match read::head(database, note.account) {
                Ok(head) if note.is_ahead_of(&head) => (head.position.revision, head.audit),
                // Nor does one that is missing, if what belongs to it is there.
                Err(Failure::NoAccount(_)) if log_reaches(database, note).unwrap_or(true) => {
                    continue;
                }
                Err(Failure::NoAccount(_)) => (Revision(0), 0),
                // A row that is damaged says nothing about the others: loading its account is refused.
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

/// Whether the log of an account goes as far as its note.
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
