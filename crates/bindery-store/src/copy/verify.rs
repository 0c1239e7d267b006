//! Checks whether a store agrees with its logs: each account's base and log are replayed, and compared with
//! its records, its revision, and an access index that was updated change by change.

use bindery_core::access::{AccessWriter, Touched};
use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, Kind, Revision};
use bindery_core::place::Account;
use bindery_core::state::{Loading, State};
use bindery_core::time::Timestamp;

use super::{ACCOUNT, AUDIT, BASE, BASE_ISSUED, BASE_RECORD, Cell, ISSUED, LOG, Part, RECORD};
use crate::record::kind_of;
use crate::tables::read::{
    decode_account, decode_entry, decode_record, difference_in_words, not_the_record,
};
use crate::tables::{Failure, Row};

/// The first disagreement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("account {}: {what}", (.account).0)]
pub struct Discrepancy {
    /// The account.
    pub account: AccountId,
    /// A description.
    pub what: String,
}

/// An account in which everything agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its number.
    pub account: AccountId,
    /// Its revision.
    pub revision: Revision,
    /// The revision after which its log begins.
    pub base: Revision,
    /// The number of records.
    pub records: u64,
    /// The number of audit entries.
    pub audit: u64,
}

/// Takes the parts of a store in order. Keeps one account in memory at a time, twice.
#[derive(Debug, Default)]
pub struct Verifier {
    current: Option<Checked>,
    verified: Vec<Verified>,
}

impl Verifier {
    /// Takes one more part; an account is compared when the next begins.
    pub fn take(&mut self, part: &Part) -> Result<(), Discrepancy> {
        let found = |what: String| Discrepancy {
            account: part.account,
            what,
        };
        if part.table.begins_account() {
            self.settle()?;
        }
        for cells in &part.rows {
            let row = CopiedRow(cells);
            let taken = match &mut self.current {
                current @ None => Checked::begin(part, &row).map(|begun| *current = Some(begun)),
                Some(current) => current.take(part, &row),
            };
            taken.map_err(|failure| found(words(failure)))?;
        }
        Ok(())
    }

    /// Every account, if everything agrees in all of them.
    pub fn finish(mut self) -> Result<Vec<Verified>, Discrepancy> {
        self.settle()?;
        Ok(self.verified)
    }

    fn settle(&mut self) -> Result<(), Discrepancy> {
        if let Some(current) = self.current.take() {
            let account = current.id;
            let verified = current.finish();
            self.verified.push(verified.map_err(|failure| Discrepancy {
                account,
                what: words(failure),
            })?);
        }
        Ok(())
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Damaged(what) => what,
        other => other.at("it").to_string(),
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Damaged(what.into()))
}

/// One account, as far as it was read.
#[derive(Debug)]
struct Checked {
    id: AccountId,
    entity: Account,
    revision: Revision,
    latest: Timestamp,
    audit_head: i64,
    audit_latest: i64,

    base: Option<Base>,
    replay: Option<Replay>,

    records: u64,
    loading: Loading,
    issued: Vec<(Kind, u32)>,

    audit: u64,
    /// The number and the latest time of the last audit entry.
    last_audit: Option<(i64, i64)>,
}

#[derive(Debug)]
struct Base {
    revision: Revision,
    latest: Timestamp,
    loading: Loading,
    issued: Vec<(Kind, u32)>,
}

/// The replay of the log on the base.
#[derive(Debug)]
struct Replay {
    begin: Revision,
    state: State,
    access: AccessWriter,
    touched: Vec<Touched>,
}

/// How many facts are collected before the index is updated.
const TOUCHED_MAX: usize = 4096;

impl Checked {
    fn begin(part: &Part, row: &CopiedRow<'_>) -> Result<Self, Failure> {
        if part.table.code != ACCOUNT {
            return wrong("what belongs to it comes before it");
        }
        let entity = decode_account(part.account.0, row.bytes(4)?)?;
        Ok(Self {
            id: part.account,
            revision: Revision(count(row.integer(0)?)?),
            latest: Timestamp::from_millis(row.integer(1)?),
            audit_head: row.integer(2)?,
            audit_latest: row.integer(3)?,
            base: None,
            replay: None,
            records: 0,
            loading: Loading::new(entity.clone()),
            issued: Vec::new(),
            audit: 0,
            last_audit: None,
            entity,
        })
    }

    fn take(&mut self, part: &Part, row: &CopiedRow<'_>) -> Result<(), Failure> {
        if part.account != self.id {
            let other = part.account.0;
            return wrong(format!("what belongs to account {other} is in its place"));
        }
        match part.table.code {
            ACCOUNT => wrong("it is there twice"),
            BASE => {
                self.base = Some(Base {
                    revision: Revision(count(row.integer(0)?)?),
                    latest: Timestamp::from_millis(row.integer(1)?),
                    loading: Loading::new(decode_account(self.id.0, row.bytes(2)?)?),
                    issued: Vec::new(),
                });
                Ok(())
            }
            BASE_RECORD => {
                let (kind, number) = key(row)?;
                take_record(&mut self.base()?.loading, kind, number, row.bytes(2)?)
            }
            BASE_ISSUED => {
                let issued = key(row)?;
                self.base()?.issued.push(issued);
                Ok(())
            }
            LOG => self.replay().advance(row, part.is_of_older_format),
            RECORD => self.put(row),
            ISSUED => {
                self.issued.push(key(row)?);
                Ok(())
            }
            AUDIT => self.audited(row),
            // Nothing depends on uses of keys.
            _ => Ok(()),
        }
    }

    fn base(&mut self) -> Result<&mut Base, Failure> {
        let missing = || Failure::Damaged("records of a base that isn't there".to_owned());
        self.base.as_mut().ok_or_else(missing)
    }

    /// Begins with the first entry, or at the end without one: the base is complete then.
    fn replay(&mut self) -> &mut Replay {
        let Self { base, entity, .. } = self;
        self.replay.get_or_insert_with(|| {
            let state = match base.take() {
                None => State::new(entity.clone()),
                Some(base) => base
                    .loading
                    .finish(base.revision.into(), base.latest, base.issued),
            };
            Replay {
                begin: state.revision(),
                access: AccessWriter::new(&state),
                state,
                touched: Vec::new(),
            }
        })
    }

    fn put(&mut self, row: &CopiedRow<'_>) -> Result<(), Failure> {
        let (kind, number) = key(row)?;
        let body = row.bytes(3)?;
        let record = decode_record(kind, number, body)?;
        if record.natural_key().as_deref() != row.text(2)? {
            let noun = kind.noun();
            return wrong(format!("{noun} {number} has the natural key of another"));
        }
        // Like a server, which has a faster way for the most frequent kinds.
        take_record(&mut self.loading, kind, number, body)?;
        self.records += 1;
        Ok(())
    }

    fn audited(&mut self, row: &CopiedRow<'_>) -> Result<(), Failure> {
        let (number, at, latest) = (row.integer(0)?, row.integer(2)?, row.integer(3)?);
        let before = self.last_audit.map_or(i64::MIN, |(_, latest)| latest);
        if latest < at || latest < before {
            return wrong(format!("audit entry {number} is out of the order of time"));
        }
        // The oldest may be truncated, but none in between.
        if let Some((before, _)) = self.last_audit
            && before.checked_add(1) != Some(number)
        {
            let missing = before.saturating_add(1);
            return wrong(format!("audit entry {missing} is missing"));
        }
        self.last_audit = Some((number, latest));
        self.audit += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Verified, Failure> {
        self.replay();
        let Some(mut replay) = self.replay.take() else {
            return wrong("it can't be replayed");
        };
        replay.tell();
        let Replay {
            begin,
            state: made,
            access,
            ..
        } = replay;
        if made.revision() < self.revision {
            let missing = made.revision().next();
            return wrong(format!(
                "it is at revision {}, and revision {missing} is missing from the log",
                self.revision
            ));
        }
        let position = LogPosition {
            revision: self.revision,
            // From the log; not part of a copy.
            ..made.position()
        };
        let found = self.loading.finish(position, self.latest, self.issued);
        if let Some(difference) = found.difference(&made) {
            return wrong(difference_in_words(difference));
        }
        if let Some((kind, number)) = access.index().disagreement(&found) {
            let noun = kind.noun();
            return wrong(format!(
                "an access index that was updated with the log disagrees about {noun} {number}"
            ));
        }
        // Nothing is left of a fully truncated one.
        if let Some((number, latest)) = self.last_audit {
            let head = self.audit_head;
            if number != head {
                return wrong(format!(
                    "its audit log ends with entry {number} and should end with {head}"
                ));
            }
            if latest != self.audit_latest {
                return wrong("its audit log ends at another moment than it should");
            }
        }
        Ok(Verified {
            account: self.id,
            revision: self.revision,
            base: begin,
            records: self.records,
            audit: self.audit,
        })
    }
}

impl Replay {
    fn advance(&mut self, row: &CopiedRow<'_>, is_as_written: bool) -> Result<(), Failure> {
        let found = Revision(count(row.integer(0)?)?);
        let expected = self.state.revision().next();
        let mut entry: Entry = decode_entry(expected, found, row.bytes(1)?)?;
        if is_as_written {
            // The records don't say who gave a role either.
            let written = Entry::decode_as_written(row.bytes(1)?);
            entry = written.map_err(|error| Failure::Damaged(error.to_string()))?;
        }
        if entry.at < self.state.latest() {
            return wrong(format!(
                "revision {found} is earlier than the one before it"
            ));
        }
        for change in &entry.changes {
            if let Change::PutAccount(other) = change
                && other.id != self.state.account().id
            {
                return wrong(format!(
                    "revision {found} puts another account in its place"
                ));
            }
        }
        self.state.advance_noting(&entry, &mut self.touched);
        if self.touched.len() >= TOUCHED_MAX {
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.access.advance(&self.state, &self.touched, || {});
        self.touched.clear();
    }
}

fn take_record(loading: &mut Loading, kind: Kind, number: u32, body: &[u8]) -> Result<(), Failure> {
    let taken = loading.take(kind, number, body);
    taken.map_err(|error| not_the_record(kind, number, &error))
}

fn key(row: &CopiedRow<'_>) -> Result<(Kind, u32), Failure> {
    let stored = row.integer(0)?;
    let kind = u8::try_from(stored).ok().and_then(kind_of);
    let unknown = || Failure::Damaged(format!("a record of an unknown kind {stored}"));
    Ok((kind.ok_or_else(unknown)?, count(row.integer(1)?)?))
}

fn count<T: TryFrom<i64>>(found: i64) -> Result<T, Failure> {
    T::try_from(found).map_err(|_| Failure::Damaged(format!("{found} is out of range")))
}

/// A row of a part, for the readers of database rows.
struct CopiedRow<'a>(&'a [Cell]);

impl CopiedRow<'_> {
    fn cell(&self, column: usize) -> Result<&Cell, Failure> {
        let missing = || Failure::Damaged(format!("a row without column {column}"));
        self.0.get(column).ok_or_else(missing)
    }
}

impl Row for CopiedRow<'_> {
    fn integer(&self, column: usize) -> Result<i64, Failure> {
        match self.cell(column)? {
            Cell::Integer(number) => Ok(*number),
            Cell::Text(_) | Cell::Bytes(_) => wrong("a row with something else than a number"),
        }
    }

    fn text(&self, column: usize) -> Result<Option<&str>, Failure> {
        match self.cell(column)? {
            Cell::Text(text) => Ok(text.as_deref()),
            Cell::Integer(_) | Cell::Bytes(_) => wrong("a row with something else than text"),
        }
    }

    fn bytes(&self, column: usize) -> Result<&[u8], Failure> {
        match self.cell(column)? {
            Cell::Bytes(bytes) => Ok(bytes),
            Cell::Integer(_) | Cell::Text(_) => wrong("a row with something else than bytes"),
        }
    }
}
