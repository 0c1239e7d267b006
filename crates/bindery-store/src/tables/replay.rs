//! What the base and the log of an account make of its records, row by row, for rows of formats before 6: they have no checksums, so
//! only the log tells whether they are damaged already.
//!
//! It keeps some 100 bytes of memory for each record, of one account at a time, and reads each row once, as it passes through. What no
//! log tells can't be compared: rows of the base, audit entries and uses of keys.

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry};
use bindery_core::given::Giver;
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::Difference;
use bindery_core::time::Timestamp;

use super::Failure;
use super::checksum;
use super::read::{decode_account, decode_entry, decode_kind, decode_record, difference_in_words};
use crate::copy::{BASE_ISSUED, BASE_RECORD, Cell, ISSUED, LOG, RECORD};
use crate::record::number_of;

/// What should be in the rows that are still to come.
#[derive(Debug)]
pub(crate) struct Replay {
    account: AccountId,
    /// Where the log has come to.
    revision: i64,
    records: BTreeMap<(i64, i64), Put>,
    issued: BTreeMap<i64, i64>,
    /// The account itself, if the base or the log has it.
    entity: Option<Vec<u8>>,
}

/// The last put of a record.
#[derive(Clone, Copy, Debug)]
struct Put {
    /// The checksum of the record as it was written.
    checksum: i64,
    /// Who gave the role that it puts, and when, if it doesn't say so itself.
    given: Option<(Giver, Timestamp)>,
}

impl Replay {
    /// Before the first row of an account; with the revision and body of its base, if it has one.
    pub(crate) fn begin(account: AccountId, base: Option<(i64, &[u8])>) -> Result<Self, Failure> {
        let entity = base.map(|(_, body)| decode_account(account.0, body));
        let entity = entity.transpose()?;
        Ok(Self {
            account,
            revision: base.map_or(0, |(revision, _)| revision),
            records: BTreeMap::new(),
            issued: BTreeMap::new(),
            entity: entity.map(|entity| Change::PutAccount(entity).encode()),
        })
    }

    /// Takes the next row of a table, in the order of a copy. Notes in a record who gave the role, and returns whether that has changed
    /// the row.
    pub(crate) fn take(&mut self, table: u8, row: &mut [Cell]) -> Result<bool, Failure> {
        match (table, row) {
            (
                BASE_RECORD,
                [
                    Cell::Integer(kind),
                    Cell::Integer(number),
                    Cell::Bytes(body),
                ],
            ) => {
                let record = self.decode((*kind, *number), body)?;
                let put = self.put_of((*kind, *number), &record);
                self.records.insert((*kind, *number), put);
            }
            (BASE_ISSUED, [Cell::Integer(kind), Cell::Integer(number)]) => {
                self.issued.insert(*kind, *number);
            }
            (LOG, [Cell::Integer(revision), Cell::Bytes(body)]) => self.advance(*revision, body)?,
            (
                RECORD,
                [
                    Cell::Integer(kind),
                    Cell::Integer(number),
                    key,
                    Cell::Bytes(body),
                ],
            ) => {
                return self.compare((*kind, *number), key, body);
            }
            (ISSUED, [Cell::Integer(kind), Cell::Integer(number)])
                if self.issued.remove(kind) != Some(*number) =>
            {
                let kind = decode_kind(*kind)?;
                return Err(self.damaged(Difference::Issued(kind)));
            }
            _ => {}
        }
        Ok(false)
    }

    fn advance(&mut self, revision: i64, body: &[u8]) -> Result<(), Failure> {
        let expected = Revision(self.revision.unsigned_abs()).next();
        let found = Revision(revision.unsigned_abs());
        let entry = decode_entry(expected, found, body).map_err(|failure| self.named(failure))?;
        // Without what follows from it: the records don't have that yet.
        let written = Entry::decode_as_written(body);
        let written = written.map_err(|error| Failure::Damaged(error.to_string()))?;
        for (written, made) in written.changes.iter().zip(&entry.changes) {
            let (kind, number) = written.key();
            let Some(kind) = number_of(kind) else {
                continue;
            };
            let key = (i64::from(kind), i64::from(number));
            if written.is_delete() {
                self.records.remove(&key);
                continue;
            }
            let issued = self.issued.entry(key.0).or_default();
            *issued = key.1.max(*issued);
            if let Change::PutAccount(_) = written {
                self.entity = Some(written.encode());
                continue;
            }
            let given = (written != made).then(|| (Giver::by(entry.by), entry.at));
            let put = self.put_of(key, written);
            self.records.insert(key, Put { given, ..put });
        }
        self.revision = revision;
        Ok(())
    }

    fn put_of(&self, key: (i64, i64), record: &Change) -> Put {
        let natural_key = record.natural_key();
        let body = record.encode();
        let checksum = checksum::of_record(self.account, key, natural_key.as_deref(), &body);
        Put {
            checksum: checksum.stored(),
            given: None,
        }
    }

    fn compare(
        &mut self,
        key: (i64, i64),
        natural_key: &Cell,
        body: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        let mut record = self.decode(key, body)?;
        let kind = decode_kind(key.0)?;
        let number = u32::try_from(key.1).unwrap_or_default();
        let Some(put) = self.records.remove(&key) else {
            return Err(self.damaged(Difference::Unexpected(kind, number)));
        };
        let is_same_key =
            matches!(natural_key, Cell::Text(found) if *found == record.natural_key());
        if !is_same_key || self.put_of(key, &record).checksum != put.checksum {
            return Err(self.damaged(Difference::Other(kind, number)));
        }
        let Some((giver, at)) = put.given else {
            return Ok(false);
        };
        record.give(giver, at);
        *body = record.encode();
        Ok(true)
    }

    /// After the last row: compares what is left with nothing, and where the log ends with what the account's row says.
    pub(crate) fn finish(mut self, revision: i64, body: &[u8]) -> Result<(), Failure> {
        if let Some(((kind, number), _)) = self.records.pop_first() {
            let (kind, number) = (
                decode_kind(kind)?,
                u32::try_from(number).unwrap_or_default(),
            );
            return Err(self.damaged(Difference::Missing(kind, number)));
        }
        if let Some((kind, _)) = self.issued.pop_first() {
            return Err(self.damaged(Difference::Issued(decode_kind(kind)?)));
        }
        let AccountId(account) = self.account;
        if self.revision != revision {
            return Err(self.damaged(Difference::Revision {
                expected: Revision(self.revision.unsigned_abs()),
                found: Revision(revision.unsigned_abs()),
            }));
        }
        let entity = Change::PutAccount(decode_account(account, body)?).encode();
        match self.entity {
            Some(expected) if expected != entity => Err(Failure::Damaged(format!(
                "the row of account {account} in table `account` has the account otherwise than the log makes it"
            ))),
            _ => Ok(()),
        }
    }

    fn decode(&self, (kind, number): (i64, i64), body: &[u8]) -> Result<Change, Failure> {
        let decoded = decode_kind(kind).and_then(|kind| {
            let number = u32::try_from(number)
                .map_err(|_| Failure::Damaged(format!("{number} is out of range")))?;
            decode_record(kind, number, body)
        });
        decoded.map_err(|failure| self.named(failure))
    }

    fn damaged(&self, difference: Difference) -> Failure {
        self.named(Failure::Damaged(difference_in_words(difference)))
    }

    /// Says of which account something is.
    fn named(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Damaged(what) => {
                Failure::Damaged(format!("account {}: {what}", self.account.0))
            }
            other => other,
        }
    }
}
