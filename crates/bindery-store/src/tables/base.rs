//! The base of an account's log: the effect of its truncated entries, as separate records.
//!
//! Invariant: the log has every revision after the base's, up to the account's. Entries move from the log
//! into the base in one transaction, so this holds at any time.

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;

use super::append::{issued, stored};
use super::checksum::{self, Checksum};
use super::fold::{Source, fold};
use super::read::{account_entity, changes_since, decode_account, head, number_in_account};
use super::{Database, Failure, Rows, Value, batch_of, bounded, position};
use crate::AppendError;

/// The base. An account without one begins at revision 0, as it was created.
const BASE: &str =
    "SELECT revision, newest_change, body, batch, content, checksum FROM base WHERE account = $1";

/// How often a base is read before one that disagrees with the account's row counts as damaged.
const READS_MAX: usize = 3;

pub(crate) struct Base {
    pub(crate) position: LogPosition,
    /// The time of its last entry.
    pub(crate) latest: Timestamp,
    /// The account at that revision.
    pub(crate) body: Vec<u8>,
    /// The combined checksums of its records and issued numbers.
    pub(crate) content: i64,
}

impl Base {
    fn checksum(&self, account: AccountId) -> Checksum {
        checksum::of_base(
            account,
            (bounded(self.position.revision.0), batch_of(self.position)),
            self.latest.as_millis(),
            self.content,
            &self.body,
        )
    }
}

/// The base, compared with the account's row: a missing base is a damaged log.
pub(crate) fn find_checked(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Option<Base>, Failure> {
    // Without a transaction, another server may write a new base between the two statements: then both are
    // read again.
    for _ in 0..READS_MAX {
        let base = find(database, account)?;
        let found = base
            .as_ref()
            .map_or(0, |base| base.checksum(account).stored());
        if number_in_account(database, account, "base_checksum")? == found {
            return Ok(base);
        }
    }
    Err(Failure::Damaged(format!(
        "the row of account {} in table `base` is missing, out of date, or should not be there",
        account.0
    )))
}

fn find(database: &mut dyn Database, account: AccountId) -> Result<Option<Base>, Failure> {
    let mut base = None;
    database.query(BASE, &[account.into()], &mut |row| {
        let name = || format!("the row of account {} in table `base`", account.0);
        let found = || -> Result<Base, Failure> {
            Ok(Base {
                position: position(row, 0, 3)?,
                latest: Timestamp::from_millis(row.integer(1)?),
                body: row.bytes(2)?.to_vec(),
                content: row.integer(4)?,
            })
        };
        let found = found().map_err(|failure| checksum::unreadable(failure, name))?;
        checksum::check_row(Ok(found.checksum(account)), row.integer(5), name)?;
        base = Some(found);
        Ok(())
    })?;
    Ok(base)
}

/// The tables of the base.
const RECORDS: Source = Source {
    records: "SELECT number, body, checksum FROM base_record
        WHERE account = $1 AND kind = $2 ORDER BY number",
    record: |account, key, row| Ok(checksum::of_base_record(account, key, row.bytes(1)?)),
    numbers: "SELECT kind, number, checksum FROM base_issued WHERE account = $1",
    issued: checksum::of_base_issued,
    tables: ["base_record", "base_issued"],
};

/// The combined checksums of the rows of the base, if there is one.
pub(crate) fn content(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<Option<i64>, Failure> {
    Ok(find_checked(database, account)?.map(|base| base.content))
}

/// Each row of the base is as it was written, but together they are not complete.
pub(crate) fn stray(AccountId(account): AccountId) -> Failure {
    Failure::Damaged(format!(
        "a row of table `base_record` or `base_issued` of account {account} is missing, out of date, or should not be there; \
        which one is unknown, since the log that made them is truncated"
    ))
}

/// The state at the base. The caller holds a transaction that sees one moment.
pub(crate) fn load(database: &mut dyn Database, account: AccountId) -> Result<State, Failure> {
    match find_checked(database, account)? {
        None => Ok(State::new(account_entity(database, account)?)),
        Some(base) => {
            let entity = decode_account(account.0, &base.body)?;
            let (state, content) = fold(database, entity, (base.position, base.latest), &RECORDS)?;
            if content != base.content {
                return Err(stray(account));
            }
            Ok(state)
        }
    }
}

/// Moves the oldest entries from the log into the base: at most `limit`, none after `until`, none of `before`
/// or later. The caller holds a transaction, and ends it. Returns how many; 0 as well if another node has
/// moved the base meanwhile.
pub(crate) fn forget(
    database: &mut dyn Database,
    account: AccountId,
    until: Revision,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let base = find_checked(database, account)?;
    let begin = base
        .as_ref()
        .map_or(Revision(0), |base| base.position.revision);
    let left = usize::try_from(until.0.saturating_sub(begin.0)).unwrap_or(usize::MAX);
    let mut entries = match changes_since(database, account, begin.into(), limit.min(left)) {
        // Another node has moved it meanwhile.
        Err(Failure::Forgotten(..)) => return Ok(0),
        found => found?,
    };
    let young = entries.iter().position(|entry| entry.at >= before);
    entries.truncate(young.unwrap_or(entries.len()));
    let Some(last) = entries.last() else {
        return Ok(0);
    };
    let folded = Folded::of(&entries);
    let content = base.as_ref().map_or(0, |base| base.content);
    let content =
        content ^ folded.change(database, account)? ^ change_issued(database, account, &entries)?;
    let body = match (&folded.account, &base) {
        (Some(body), _) => body.clone(),
        (None, Some(base)) => base.body.clone(),
        (None, None) => Change::PutAccount(account_entity(database, account)?).encode(),
    };
    let new = Base {
        position: last.position(),
        latest: last.at,
        body,
        content,
    };
    // First, since it also keeps two nodes from doing this at once.
    if !put(database, account, base.is_some().then_some(begin), &new)? {
        return Ok(0);
    }
    folded.write(database, account)?;
    write_issued(database, account, &entries)?;
    database.execute(
        "DELETE FROM log WHERE account = $1 AND revision <= $2",
        &[account.into(), Value::Integer(bounded(last.revision.0))],
    )
}

/// Writes the base, if it has not moved, and its checksum into the account's row.
pub(crate) fn put(
    database: &mut dyn Database,
    account: AccountId,
    old: Option<Revision>,
    new: &Base,
) -> Result<bool, Failure> {
    if !advance(database, account, old, new)? {
        return Ok(false);
    }
    database.execute(
        "UPDATE account SET base_checksum = $1 WHERE id = $2",
        &[
            Value::Integer(new.checksum(account).stored()),
            account.into(),
        ],
    )?;
    Ok(true)
}

/// Moves the base to this entry, if it has not moved.
fn advance(
    database: &mut dyn Database,
    account: AccountId,
    old: Option<Revision>,
    new: &Base,
) -> Result<bool, Failure> {
    let [revision, latest, body, batch, content, checksum] = [
        Value::Integer(bounded(new.position.revision.0)),
        Value::Integer(new.latest.as_millis()),
        Value::Bytes(&new.body),
        Value::Integer(batch_of(new.position)),
        Value::Integer(new.content),
        Value::Integer(new.checksum(account).stored()),
    ];
    let Some(Revision(old)) = old else {
        database.execute(
            "INSERT INTO base (account, revision, newest_change, body, batch, content, checksum)
            VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                account.into(),
                revision,
                latest,
                body,
                batch,
                content,
                checksum,
            ],
        )?;
        return Ok(true);
    };
    let old = Value::Integer(bounded(old));
    let moved = database.execute(
        "UPDATE base SET revision = $1, newest_change = $2, body = $3, batch = $4, content = $5, checksum = $6
        WHERE account = $7 AND revision = $8",
        &[revision, latest, body, batch, content, checksum, account.into(), old],
    )?;
    Ok(moved == 1)
}

/// The effect of entries on each thing that they change.
struct Folded<'a> {
    account: Option<Vec<u8>>,
    last: BTreeMap<(u8, u32), &'a Change>,
}

impl<'a> Folded<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let mut folded = Self {
            account: None,
            last: BTreeMap::new(),
        };
        for change in entries.iter().flat_map(|entry| &entry.changes) {
            if let Change::PutAccount(_) = change {
                folded.account = Some(change.encode());
                continue;
            }
            let (kind, number) = change.key();
            if let Ok(kind) = stored(kind) {
                folded.last.insert((kind, number), change);
            }
        }
        folded
    }

    /// Writes it. Returns the change of the base's content.
    fn change(&self, database: &mut dyn Database, account: AccountId) -> Result<i64, Failure> {
        let mut content = 0;
        for ((kind, number), change) in &self.last {
            let key = (i64::from(*kind), i64::from(*number));
            database.query(
                "SELECT checksum FROM base_record WHERE account = $1 AND kind = $2 AND number = $3",
                &[account.into(), Value::Integer(key.0), Value::Integer(key.1)],
                &mut |row| {
                    content ^= row.integer(0)?;
                    Ok(())
                },
            )?;
            if !change.is_delete() {
                content ^= checksum::of_base_record(account, key, &change.encode()).stored();
            }
        }
        Ok(content)
    }

    fn write(&self, database: &mut dyn Database, account: AccountId) -> Result<(), Failure> {
        let mut puts = Vec::new();
        for ((kind, number), change) in &self.last {
            if change.is_delete() {
                database.execute(
                    "DELETE FROM base_record WHERE account = $1 AND kind = $2 AND number = $3",
                    &[
                        account.into(),
                        Value::Integer((*kind).into()),
                        Value::Integer((*number).into()),
                    ],
                )?;
            } else {
                puts.push((*kind, *number, change.encode()));
            }
        }
        let rows = puts.iter().map(|(kind, number, body)| {
            let key = ((*kind).into(), (*number).into());
            [
                Value::Integer(key.0),
                Value::Integer(key.1),
                Value::Bytes(body),
                Value::Integer(checksum::of_base_record(account, key, body).stored()),
            ]
        });
        Rows {
            into: "base_record (account, kind, number, body, checksum)",
            or: " ON CONFLICT (account, kind, number)
            DO UPDATE SET body = excluded.body, checksum = excluded.checksum",
        }
        .insert(database, account, rows)
    }
}

/// The change of the base's content by [`write_issued`].
fn change_issued(
    database: &mut dyn Database,
    account: AccountId,
    entries: &[Entry],
) -> Result<i64, Failure> {
    let issued =
        issued(entries).map_err(|error: AppendError| Failure::Damaged(error.to_string()))?;
    let mut content = 0;
    for (kind, number) in issued {
        let (kind, number) = (i64::from(kind), i64::from(number));
        let mut old = None;
        database.query(
            "SELECT number, checksum FROM base_issued WHERE account = $1 AND kind = $2",
            &[account.into(), Value::Integer(kind)],
            &mut |row| {
                old = Some((row.integer(0)?, row.integer(1)?));
                Ok(())
            },
        )?;
        let new = checksum::of_base_issued(account, kind, number).stored();
        match old {
            None => content ^= new,
            Some((known, checksum)) if known < number => content ^= checksum ^ new,
            Some(_) => {}
        }
    }
    Ok(content)
}

fn write_issued(
    database: &mut dyn Database,
    account: AccountId,
    entries: &[Entry],
) -> Result<(), Failure> {
    let issued =
        issued(entries).map_err(|error: AppendError| Failure::Damaged(error.to_string()))?;
    let rows = issued.iter().map(|(kind, number)| {
        let (kind, number) = (i64::from(*kind), i64::from(*number));
        [
            Value::Integer(kind),
            Value::Integer(number),
            Value::Integer(checksum::of_base_issued(account, kind, number).stored()),
        ]
    });
    Rows {
        into: "base_issued (account, kind, number, checksum)",
        or: " ON CONFLICT (account, kind)
        DO UPDATE SET number = excluded.number, checksum = excluded.checksum
            WHERE base_issued.number < excluded.number",
    }
    .insert(database, account, rows)
}

/// Checks whether the log has this position: its base, or one that no entry follows. The caller has found no
/// entry of this revision in it.
pub(crate) fn explain_gap(
    database: &mut dyn Database,
    account: AccountId,
    known: LogPosition,
) -> Result<(), Failure> {
    let head = head(database, account)?.position;
    let base = find_checked(database, account)?;
    let base = base.map_or_else(LogPosition::default, |base| base.position);
    if known.revision < base.revision {
        return Err(Failure::Forgotten(account, base.revision));
    }
    if known.is_met_by(base) || known.is_met_by(head) {
        return Ok(());
    }
    Err(Failure::Diverged(account, known))
}
