//! Where an account's log begins: what the entries made that it doesn't have any more, kept as records of their own.
//!
//! Invariant: the log has every revision after the base's, up to the account's. The base takes entries in and the log loses
//! them in one transaction, so this is so whatever happens in between.

use std::collections::BTreeMap;

use bindery_core::change::{Change, Entry, LogPosition};
use bindery_core::id::{AccountId, Revision};
use bindery_core::state::State;
use bindery_core::time::Timestamp;

use super::append::{issued, stored};
use super::fold::fold;
use super::read::{account_entity, changes_since, decode_account};
use super::{Database, Failure, Rows, Value, batch_of, bounded, position};
use crate::AppendError;

/// Where the log begins. An account that has none begins at revision 0, as it was made.
const BASE: &str = "SELECT revision, latest_change, body, batch FROM base WHERE account = $1";

struct Base {
    position: LogPosition,
    latest: Timestamp,
    body: Vec<u8>,
}

fn find(database: &mut dyn Database, account: AccountId) -> Result<Option<Base>, Failure> {
    let mut base = None;
    database.query(BASE, &[account.into()], &mut |row| {
        base = Some(Base {
            position: position(row, 0, 3)?,
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
                (base.position, base.latest),
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
    let begin = base
        .as_ref()
        .map_or(Revision(0), |base| base.position.revision);
    let left = usize::try_from(until.0.saturating_sub(begin.0)).unwrap_or(usize::MAX);
    let mut entries = match changes_since(database, account, begin.into(), limit.min(left)) {
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
    let [revision, latest, body, batch] = [
        Value::Integer(bounded(last.revision.0)),
        Value::Integer(last.at.as_millis()),
        Value::Bytes(body),
        Value::Integer(batch_of(last.position())),
    ];
    let Some(Revision(old)) = old else {
        database.execute(
            "INSERT INTO base (account, revision, latest_change, body, batch) VALUES ($1, $2, $3, $4, $5)",
            &[account.into(), revision, latest, body, batch],
        )?;
        return Ok(true);
    };
    let old = Value::Integer(bounded(old));
    let moved = database.execute(
        "UPDATE base SET revision = $1, latest_change = $2, body = $3, batch = $4
        WHERE account = $5 AND revision = $6",
        &[revision, latest, body, batch, account.into(), old],
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

/// Whether the log has come to this position: one that it goes on from, or that nothing has followed. The caller has found no entry
/// of this revision in it.
pub(crate) fn explain_gap(
    database: &mut dyn Database,
    account: AccountId,
    known: LogPosition,
) -> Result<(), Failure> {
    let mut found = None;
    database.query(
        "SELECT account.revision, account.batch, COALESCE(base.revision, 0), COALESCE(base.batch, 0)
        FROM account LEFT JOIN base ON base.account = account.id WHERE account.id = $1",
        &[account.into()],
        &mut |row| {
            found = Some((position(row, 0, 1)?, position(row, 2, 3)?));
            Ok(())
        },
    )?;
    let (head, base) = found.ok_or(Failure::NoAccount(account))?;
    if known.revision < base.revision {
        return Err(Failure::Forgotten(account, base.revision));
    }
    if known.is_met_by(base) || known.is_met_by(head) {
        return Ok(());
    }
    Err(Failure::Diverged(account, known))
}
