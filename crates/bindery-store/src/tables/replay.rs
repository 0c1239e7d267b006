//! Replays the base and the log of an account and compares the result with its records, row by row, for rows
//! of formats before 6. They have no checksums, so only the log shows whether they are damaged.
//!
//! It takes some 100 bytes of memory for each record, of one account at a time, and reads each row once. What
//! no log has can't be compared: rows of the base, uses of keys, and audit entries except their numbers and
//! the latest time so far.

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry};
use bindery_core::given::Giver;
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::Difference;
use bindery_core::time::Timestamp;

use super::checksum;
use super::read::{decode_account, decode_entry, decode_kind, decode_record, difference_in_words};
use super::{Failure, batch_of};
use crate::copy::{AUDIT, BASE_ISSUED, BASE_RECORD, Cell, ISSUED, LOG, RECORD};
use crate::record::number_of;

/// The content of the row of an account, or of its base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadRow<'a> {
    pub(crate) revision: i64,
    /// The batch that made the revision. Absent if the row comes from a backup: those do not have it.
    pub(crate) batch: Option<i64>,
    /// The time of the last change.
    pub(crate) latest: i64,
    /// The account.
    pub(crate) body: &'a [u8],
}

/// The number of an audit entry, and the latest time up to it.
pub(crate) type AuditEnd = (i64, i64);

/// What the remaining rows should contain.
#[derive(Debug)]
pub(crate) struct Replay {
    account: AccountId,
    /// The revision that the replay has reached.
    revision: i64,
    /// The batch of that entry or base, if the base has it.
    batch: Option<i64>,
    /// Its time. Absent before the first entry of an account without a base.
    latest: Option<i64>,
    /// The end of the audit log so far.
    audit: Option<AuditEnd>,
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
    /// Who gave the role that it puts, and when, if the record itself doesn't have it.
    given: Option<(Giver, Timestamp)>,
}

impl Replay {
    /// Before the first row of an account; with the row of its base, if it has one.
    pub(crate) fn begin(account: AccountId, base: Option<HeadRow<'_>>) -> Result<Self, Failure> {
        let entity = base.map(|base| decode_account(account.0, base.body));
        let entity = entity.transpose()?;
        Ok(Self {
            account,
            revision: base.map_or(0, |base| base.revision),
            batch: base.map_or(Some(0), |base| base.batch),
            latest: base.map(|base| base.latest),
            audit: None,
            records: BTreeMap::new(),
            issued: BTreeMap::new(),
            entity: entity.map(|entity| Change::PutAccount(entity).encode()),
        })
    }

    /// Takes the next row of a table, in the order of a copy. Adds to a record who gave the role, and returns
    /// whether that has changed the row.
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
                AUDIT,
                [
                    Cell::Integer(number),
                    _,
                    Cell::Integer(at),
                    Cell::Integer(newest),
                    ..,
                ],
            ) => self.advance_audit(*number, *at, *newest)?,
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
        // Without derived parts: the records don't have those yet.
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
        // Times in a log never go back.
        let at = entry.at.as_millis();
        if let Some(latest) = self.latest.filter(|latest| *latest > at) {
            return Err(self.named(Failure::Damaged(format!(
                "revision {revision} is of {at}, and what is before it of {latest}: column `newest_change` of its base is damaged, \
                or the log"
            ))));
        }
        self.revision = revision;
        self.batch = Some(batch_of(entry.position()));
        self.latest = Some(at);
        Ok(())
    }

    /// Numbers of audit entries have no gaps, and each entry has the latest time up to it.
    fn advance_audit(&mut self, number: i64, at: i64, newest: i64) -> Result<(), Failure> {
        let (expected, latest) = match self.audit {
            Some((last, latest)) => (last.saturating_add(1), latest.max(at)),
            // The log may be truncated, and what was before is not known.
            None => (number, newest.max(at)),
        };
        if number != expected {
            return Err(self.named(Failure::Damaged(format!(
                "audit entry {expected} is missing from table `audit`"
            ))));
        }
        if newest != latest {
            return Err(self.named(Failure::Damaged(format!(
                "audit entry {number} says that {newest} is the latest time up to it, and that is {latest}"
            ))));
        }
        self.audit = Some((number, newest));
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

    /// After the last row: refuses what is left, and compares the ends of the logs with the account's row.
    pub(crate) fn finish(mut self, row: HeadRow<'_>, audit: AuditEnd) -> Result<(), Failure> {
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
        if self.revision != row.revision {
            return Err(self.damaged(Difference::Revision {
                expected: Revision(self.revision.unsigned_abs()),
                found: Revision(row.revision.unsigned_abs()),
            }));
        }
        let decoded = decode_account(account, row.body)?;
        // Without changes, the time is that of the account's creation.
        let latest = self.latest.unwrap_or(decoded.created_at.as_millis());
        self.check_column("latest", row.latest, latest)?;
        if let (Some(found), Some(expected)) = (row.batch, self.batch) {
            self.check_column("batch", found, expected)?;
        }
        // An audit log whose entries were all deleted by age shows nothing, unless there never was an entry.
        let is_new = audit.0 == 0;
        if let Some((number, newest)) = self.audit.or(is_new.then_some((0, 0))) {
            self.check_column("audit_head", audit.0, number)?;
            self.check_column("newest_audit", audit.1, newest)?;
        }
        let entity = Change::PutAccount(decoded).encode();
        match self.entity {
            Some(expected) if expected != entity => Err(Failure::Damaged(format!(
                "the row of account {account} in table `account` has the account otherwise than the log makes it"
            ))),
            _ => Ok(()),
        }
    }

    /// Compares a column of the account's row with the end of its logs.
    fn check_column(&self, column: &str, found: i64, expected: i64) -> Result<(), Failure> {
        if found == expected {
            return Ok(());
        }
        Err(self.named(Failure::Damaged(format!(
            "column `{column}` of its row in table `account` has {found}, and its logs end with {expected}"
        ))))
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

    /// Adds the account to a failure.
    fn named(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Damaged(what) => {
                Failure::Damaged(format!("account {}: {what}", self.account.0))
            }
            other => other,
        }
    }
}
