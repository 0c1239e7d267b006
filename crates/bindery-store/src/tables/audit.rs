//! The audit log as it is read, newest first, and forgotten, oldest first.

use std::borrow::Cow;
use std::fmt::Write as _;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Revision, UserId};
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;

use super::checksum::{self, NO_REVISION};
use super::read::head;
use super::{Database, Failure, Row, Value, bounded, kept, number};
use crate::AuditQuery;
use crate::copy;

/// Deletes the oldest entries, as far as all of them are older than `before`. `latest` rises with the number, so what it
/// says of one entry holds for all before it.
pub(crate) fn forget(
    database: &mut dyn Database,
    account: AccountId,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    head(database, account)?;
    // What an altered row says of its time is no reason to delete it.
    let mut last = None;
    database.query(
        "SELECT number, user_number, at, latest, status, kind, operation, address, text, variables,
            problem, key_number, request, revision, checksum
        FROM audit WHERE account = $1 AND latest < $2 ORDER BY latest, number LIMIT $3",
        &[
            account.into(),
            Value::Integer(before.as_millis()),
            Value::Integer(bounded(limit)),
        ],
        &mut |row| {
            check(account, row)?;
            last = Some(row.integer(0)?);
            Ok(())
        },
    )?;
    let Some(last) = last else {
        // Nothing so old, or nothing at all.
        return Ok(0);
    };
    // Before they are gone, so that none is missed in between.
    database.execute(
        "UPDATE account SET oldest_audit = $1 WHERE id = $2 AND oldest_audit < $1",
        &[Value::Integer(last.saturating_add(1)), account.into()],
    )?;
    database.execute(
        "DELETE FROM audit WHERE account = $1 AND number <= $2",
        &[account.into(), Value::Integer(last)],
    )
}

/// Entries that match, newest first.
pub(crate) fn find(
    database: &mut dyn Database,
    account: AccountId,
    query: &AuditQuery,
) -> Result<Vec<(u64, AuditEntry)>, Failure> {
    let (sql, values) = statement(account, query);
    let mut found = Vec::new();
    database.query(&sql, &values, &mut |row| {
        found.push(read(account, row)?);
        Ok(())
    })?;
    let ends = check_ends(database, account)?;
    check_gaps(database, account, query, &found, ends)?;
    Ok(found)
}

/// The numbers of the first and last entry that must be there, by the account's row; the first is behind the last if none must.
/// Refuses a log that doesn't have them. An account that isn't there is told as well.
fn check_ends(database: &mut dyn Database, account: AccountId) -> Result<(i64, i64), Failure> {
    let (oldest, newest) = said_ends(database, account)?;
    if oldest > newest {
        // All of them are forgotten.
        return Ok((oldest, newest));
    }
    let (first, last) = found_ends(database, account)?;
    // What is forgotten may not be deleted yet.
    if first.is_none_or(|first| first > oldest) {
        return Err(missing(account, oldest));
    }
    if last.is_none_or(|last| last < newest) {
        return Err(missing(account, newest));
    }
    Ok((oldest, newest))
}

/// The same for `verify`, which takes what the account's row says for damaged as well.
pub(crate) fn verify_ends(database: &mut dyn Database, account: AccountId) -> Result<(), Failure> {
    check_ends(database, account)?;
    let (oldest, newest) = said_ends(database, account)?;
    let (first, _) = found_ends(database, account)?;
    if first.unwrap_or(newest.saturating_add(1)) == oldest {
        return Ok(());
    }
    Err(Failure::Damaged(format!(
        "the audit log of account {} should begin with entry {oldest} and doesn't: the row of the account in table `account` is \
        damaged, or entries that are forgotten were not deleted yet",
        account.0
    )))
}

fn said_ends(database: &mut dyn Database, account: AccountId) -> Result<(i64, i64), Failure> {
    let newest = bounded(head(database, account)?.audit);
    let mut oldest = newest;
    let sql = "SELECT oldest_audit FROM account WHERE id = $1";
    database.query(sql, &[account.into()], &mut |row| {
        oldest = row.integer(0)?;
        Ok(())
    })?;
    Ok((oldest, newest))
}

fn found_ends(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<(Option<i64>, Option<i64>), Failure> {
    let mut find = |order: &str| {
        let sql =
            format!("SELECT number FROM audit WHERE account = $1 ORDER BY number {order} LIMIT 1");
        let mut found = None;
        let queried = database.query(&sql, &[account.into()], &mut |row| {
            found = Some(row.integer(0)?);
            Ok(())
        });
        queried.map(|()| found)
    };
    Ok((find("ASC")?, find("DESC")?))
}

/// How many entries a page may reach over and still be looked through for one that is missing.
const GAP_SPAN: i64 = 4096;

/// Refuses a page that lacks an entry. The numbers of entries have no gaps, so over the span of a page there are as many as its numbers
/// say; and as many of those match as the page has, whichever index it was read by. A span that is too long to look through is
/// left to `verify`.
fn check_gaps(
    database: &mut dyn Database,
    account: AccountId,
    query: &AuditQuery,
    found: &[(u64, AuditEntry)],
    (oldest, newest): (i64, i64),
) -> Result<(), Failure> {
    let newest = query
        .before
        .map_or(newest, |before| newest.min(bounded(before) - 1));
    let is_last = found.len() < query.limit;
    let last = found.last().map(|(number, _)| bounded(*number));
    let oldest = match last {
        Some(last) if !is_last => last,
        // What is forgotten may not be deleted yet.
        Some(last) => last.min(oldest),
        None => oldest,
    };
    if newest.saturating_sub(oldest) >= GAP_SPAN || query.limit == 0 {
        return Ok(());
    }
    let (mut expected, mut matching) = (oldest, 0_usize);
    database.query(
        "SELECT number, user_number, at, latest, status, kind, operation, address, text, variables,
            problem, key_number, request, revision, checksum
        FROM audit WHERE account = $1 AND number >= $2 AND number <= $3 ORDER BY number",
        &[
            account.into(),
            Value::Integer(oldest),
            Value::Integer(newest),
        ],
        &mut |row| {
            if row.integer(0)? != expected {
                return Err(missing(account, expected));
            }
            // What an altered row says of itself is no reason to leave it out.
            check(account, row)?;
            expected += 1;
            matching += usize::from(matches(query, row)?);
            Ok(())
        },
    )?;
    if expected <= newest {
        return Err(missing(account, expected));
    }
    if matching != found.len() {
        return Err(Failure::Damaged(format!(
            "an index of table `audit` doesn't have all entries of account {}, or some twice: rebuild it",
            account.0
        )));
    }
    Ok(())
}

fn matches(query: &AuditQuery, row: &dyn Row) -> Result<bool, Failure> {
    let at = Timestamp::from_millis(row.integer(2)?);
    let kind = query
        .kind
        .is_none_or(|kind| row.text(5).ok().flatten() == Some(kind.name()));
    let operation = row.text(6)?.unwrap_or_default();
    let is_user = match query.user {
        None => true,
        Some(user) => row.integer(1)? == i64::from(user.number()),
    };
    let is_operation =
        query.operations.is_empty() || query.operations.iter().any(|one| one == operation);
    Ok(is_user && kind && is_operation && query.from <= at && at <= query.to)
}

fn missing(AccountId(account): AccountId, number: i64) -> Failure {
    Failure::Damaged(format!(
        "audit entry {number} of account {account} is missing from table `audit`"
    ))
}

/// The query with its parameters.
///
/// Without a user, the first entry of the span of time is found by `latest`, which rises with the number, so that a page
/// with little to show doesn't read the log to its beginning. With a user their own entries are read instead: asked for
/// both, SQLite reads everybody's (114,000 entries: 20 ms against 0.03).
fn statement(account: AccountId, query: &AuditQuery) -> (String, Vec<Value<'_>>) {
    let mut sql = String::from(
        "SELECT number, user_number, at, latest, status, kind, operation, address, text, variables,
            problem, key_number, request, revision, checksum
        FROM audit WHERE account = $1 AND number < $2 AND at >= $3 AND at <= $4",
    );
    let mut values = vec![
        account.into(),
        Value::Integer(query.before.map_or(i64::MAX, bounded)),
        Value::Integer(query.from.as_millis()),
        Value::Integer(query.to.as_millis()),
    ];
    if let Some(user) = query.user {
        values.push(Value::Integer(user.number().into()));
        let _ = write!(sql, " AND user_number = ${}", values.len());
    } else {
        sql.push_str(
            " AND number >= (SELECT number FROM audit WHERE account = $1 AND latest >= $3
            ORDER BY latest, number LIMIT 1)",
        );
    }
    if let Some(kind) = query.kind {
        values.push(Value::Text(Some(kind.name())));
        let _ = write!(sql, " AND kind = ${}", values.len());
    }
    if !query.operations.is_empty() {
        let first = values.len() + 1;
        // A name with a NUL is nobody's.
        let names = query.operations.iter().map(|name| match kept(name) {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => "",
        });
        values.extend(names.map(|name| Value::Text(Some(name))));
        let places: Vec<String> = (first..=values.len())
            .map(|place| format!("${place}"))
            .collect();
        let _ = write!(sql, " AND operation IN ({})", places.join(", "));
    }
    values.push(Value::Integer(bounded(query.limit)));
    let _ = write!(sql, " ORDER BY number DESC LIMIT ${}", values.len());
    (sql, values)
}

fn check(account: AccountId, row: &dyn Row) -> Result<(), Failure> {
    let table = copy::table_of(copy::AUDIT).ok_or(Failure::NoAccount(account))?;
    let expected = checksum::of_row(table, account, row)?;
    let number = row.integer(0)?;
    checksum::check(expected, row.integer(table.columns.len())?, || {
        let AccountId(account) = account;
        format!("the row of audit entry {number} of account {account} in table `audit`")
    })
}

fn read(account: AccountId, row: &dyn Row) -> Result<(u64, AuditEntry), Failure> {
    check(account, row)?;
    let entry_number: u64 = number(row, 0)?;
    let owned = |column| -> Result<_, Failure> { Ok(row.text(column)?.map(str::to_owned)) };
    let required = |column| {
        let missing = || Failure::Damaged(format!("audit entry {entry_number} is incomplete"));
        owned(column)?.ok_or_else(missing)
    };
    let kind = required(5)?;
    let kind = [AuditKind::Query, AuditKind::Mutation]
        .into_iter()
        .find(|known| known.name() == kind)
        .ok_or_else(|| {
            Failure::Damaged(format!("audit entry {entry_number} is of a kind `{kind}`"))
        })?;
    let entry = AuditEntry {
        user: UserId::new(number(row, 1)?),
        at: Timestamp::from_millis(row.integer(2)?),
        status: number(row, 4)?,
        kind,
        operation: required(6)?,
        address: required(7)?,
        text: owned(8)?,
        variables: owned(9)?,
        problem: owned(10)?,
        key: match number(row, 11)? {
            0 => None,
            key => Some(ApiKeyId::new(key)),
        },
        request: row.text(12)?.and_then(RequestId::parse),
        revision: match row.integer(13)? {
            NO_REVISION => None,
            _ => Some(Revision(number(row, 13)?)),
        },
    };
    Ok((entry_number, entry))
}
