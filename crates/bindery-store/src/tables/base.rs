//! Where an account's log begins: what the entries made that it doesn't have any more, kept as records of their own.
//!
//! Invariant: the log has every revision after the base's, up to the account's. The base takes entries in and the log loses
//! them in one transaction, so this is so whatever happens in between.

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry};
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;

use super::append::{issued, stored};
use super::fold::fold;
use super::read::{account_entity, changes_since, decode_account};
use super::{Database, Failure, Rows, Value, bounded, number};
use crate::AppendError;

/// Where the log begins. An account that has none begins at revision 0, as it was made.
const BASE: &str = "SELECT revision, latest, body FROM base WHERE account = $1";

struct Base {
    revision: Revision,
    latest: Timestamp,
    body: Vec<u8>,
}

fn find(database: &mut dyn Database, account: AccountId) -> Result<Option<Base>, Failure> {
    let mut base = None;
    database.query(BASE, &[account.into()], &mut |row| {
        base = Some(Base {
            revision: Revision(number(row, 0)?),
            latest: Timestamp::from_millis(row.integer(1)?),
            body: row.bytes(2)?.to_vec(),
        });
        Ok(())
    })?;
    Ok(base)
}

/// The state that the log goes on from. The caller holds a transaction that sees one moment.
pub(crate) fn load(database: &mut dyn Database, account: AccountId) -> Result<State, Failure> {
    match find(database, account)? {
        None => Ok(State::new(account_entity(database, account)?)),
        Some(base) => {
            let entity = decode_account(account.0, &base.body)?;
            fold(
                database,
                entity,
                (base.revision, base.latest),
                "SELECT number, body FROM base_record WHERE account = $1 AND kind = $2 ORDER BY number",
                "SELECT kind, number FROM base_issued WHERE account = $1",
            )
        }
    }
}

/// Moves the oldest entries from the log into the base: at most `limit`, none after `until`, none of `before` or later. The
/// caller holds a transaction, and ends it. Returns how many; none as well if another node has moved the base meanwhile.
pub(crate) fn forget(
    database: &mut dyn Database,
    account: AccountId,
    until: Revision,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let base = find(database, account)?;
    let begin = base.as_ref().map_or(Revision(0), |base| base.revision);
    let left = usize::try_from(until.0.saturating_sub(begin.0)).unwrap_or(usize::MAX);
    let mut entries = match changes_since(database, account, begin, limit.min(left)) {
        // Another node was at it since we looked.
        Err(Failure::Forgotten(..)) => return Ok(0),
        found => found?,
    };
    let young = entries.iter().position(|entry| entry.at >= before);
    entries.truncate(young.unwrap_or(entries.len()));
    let Some(last) = entries.last() else {
        return Ok(0);
    };
    let folded = Folded::of(&entries);
    let body = match (&folded.account, &base) {
        (Some(body), _) => body.clone(),
        (None, Some(base)) => base.body.clone(),
        (None, None) => Change::PutAccount(account_entity(database, account)?).encode(),
    };
    // First of all, since it is also what keeps two nodes from doing this at once.
    if !advance(
        database,
        account,
        base.is_some().then_some(begin),
        last,
        &body,
    )? {
        return Ok(0);
    }
    folded.write(database, account)?;
    write_issued(database, account, &entries)?;
    database.execute(
        "DELETE FROM log WHERE account = $1 AND revision <= $2",
        &[account.into(), Value::Integer(bounded(last.revision.0))],
    )
}

/// Puts the base at this entry, if it is still where it was.
fn advance(
    database: &mut dyn Database,
    account: AccountId,
    old: Option<Revision>,
    last: &Entry,
    body: &[u8],
) -> Result<bool, Failure> {
    let [revision, latest, body] = [
        Value::Integer(bounded(last.revision.0)),
        Value::Integer(last.at.as_millis()),
        Value::Bytes(body),
    ];
    let Some(Revision(old)) = old else {
        database.execute(
            "INSERT INTO base (account, revision, latest, body) VALUES ($1, $2, $3, $4)",
            &[account.into(), revision, latest, body],
        )?;
        return Ok(true);
    };
    let old = Value::Integer(bounded(old));
    let moved = database.execute(
        "UPDATE base SET revision = $1, latest = $2, body = $3
        WHERE account = $4 AND revision = $5",
        &[revision, latest, body, account.into(), old],
    )?;
    Ok(moved == 1)
}

/// What entries leave of each thing that they change.
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
            [
                Value::Integer((*kind).into()),
                Value::Integer((*number).into()),
                Value::Bytes(body),
            ]
        });
        Rows {
            into: "base_record (account, kind, number, body)",
            or: " ON CONFLICT (account, kind, number) DO UPDATE SET body = excluded.body",
        }
        .insert(database, account, rows)
    }
}

fn write_issued(
    database: &mut dyn Database,
    account: AccountId,
    entries: &[Entry],
) -> Result<(), Failure> {
    let issued =
        issued(entries).map_err(|error: AppendError| Failure::Damaged(error.to_string()))?;
    let rows = issued.iter().map(|(kind, number)| {
        [
            Value::Integer((*kind).into()),
            Value::Integer((*number).into()),
        ]
    });
    Rows {
        into: "base_issued (account, kind, number)",
        or: " ON CONFLICT (account, kind)
        DO UPDATE SET number = excluded.number WHERE base_issued.number < excluded.number",
    }
    .insert(database, account, rows)
}

/// Why the entry after `known` isn't there, if it was forgotten and nothing is wrong.
pub(crate) fn explain_gap(
    database: &mut dyn Database,
    account: AccountId,
    known: Revision,
) -> Result<(), Failure> {
    let mut begin = None;
    database.query(
        "SELECT COALESCE(base.revision, 0) FROM account
        LEFT JOIN base ON base.account = account.id WHERE account.id = $1",
        &[account.into()],
        &mut |row| {
            begin = Some(Revision(number(row, 0)?));
            Ok(())
        },
    )?;
    match begin {
        None => Err(Failure::NoAccount(account)),
        Some(begin) if begin > known => Err(Failure::Forgotten(account, begin)),
        Some(_) => Ok(()),
    }
}
