//! Reads the audit log, newest first, and truncates it, oldest first.

use std::borrow::Cow;
use std::fmt::Write as _;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AccountId, ApiKeyId, Id as _, Revision, UserId};
use bindery_core::text::RequestId;
use bindery_core::time::Timestamp;

use super::checksum::{self, NO_REVISION};
use super::read::{head, number_in_account};
use super::{Database, Failure, Row, Value, bounded, kept, number};
use crate::AuditQuery;
use crate::copy;

/// Deletes the oldest entries, as far as all of them are older than `before`, and updates the account's row.
/// `newest` rises with the number, so what it says of one entry holds for all before it. The caller holds a
/// transaction, and ends it.
pub(crate) fn forget(
    database: &mut dyn Database,
    account: AccountId,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    head(database, account)?;
    // The time in an altered row is no reason to delete it.
    let mut last = None;
    let sql = format!(
        "SELECT {COLUMNS} FROM audit WHERE account = $1 AND newest < $2 ORDER BY newest, number LIMIT $3"
    );
    let values = [
        account.into(),
        Value::Integer(before.as_millis()),
        Value::Integer(bounded(limit)),
    ];
    database.query(&sql, &values, &mut |row| {
        check(account, row)?;
        // A damaged index may return young entries as old ones.
        if row.integer(3)? >= before.as_millis() {
            return Err(misled(account));
        }
        last = last.max(Some(row.integer(0)?));
        Ok(())
    })?;
    let Some(last) = last else {
        // No entry is so old, or there is none.
        return Ok(0);
    };
    database.execute(
        "UPDATE account SET oldest_audit = $1 WHERE id = $2 AND oldest_audit < $1",
        &[Value::Integer(last.saturating_add(1)), account.into()],
    )?;
    database.execute(
        "DELETE FROM audit WHERE account = $1 AND number <= $2",
        &[account.into(), Value::Integer(last)],
    )
}

/// Matching entries, newest first. The caller holds a transaction that sees one moment.
pub(crate) fn find(
    database: &mut dyn Database,
    account: AccountId,
    query: &AuditQuery,
) -> Result<Vec<(u64, AuditEntry)>, Failure> {
    let (sql, values) = statement(account, query);
    let mut found = Vec::new();
    database.query(&sql, &values, &mut |row| {
        let one = read(account, row)?;
        // A damaged index may disagree with the entry.
        let is_next = match (found.last(), query.before) {
            (Some((last, _)), _) => one.0 < *last,
            (None, Some(before)) => one.0 < before,
            (None, None) => true,
        };
        if !is_next || !matches(query, row)? {
            return Err(misled(account));
        }
        found.push(one);
        Ok(())
    })?;
    let ends = check_ends(database, account)?;
    check_page(database, account, query, &found, ends)?;
    Ok(found)
}

/// The numbers of the first and last entry that must exist, by the account's row; the first is after the last
/// if none must. Refuses a log that lacks them or has more, and an unknown account.
pub(crate) fn check_ends(
    database: &mut dyn Database,
    account: AccountId,
) -> Result<(i64, i64), Failure> {
    let (oldest, newest) = said_ends(database, account)?;
    let (first, last) = found_ends(database, account)?;
    if let Some(last) = last
        && last > newest
    {
        return Err(Failure::Damaged(format!(
            "the row of account {} in table `account` is out of date: its audit log goes on to entry {last}, and the row says {newest}",
            account.0
        )));
    }
    if oldest <= newest {
        if first.is_none_or(|first| first > oldest) {
            return Err(missing(account, oldest));
        }
        if last.is_none_or(|last| last < newest) {
            return Err(missing(account, newest));
        }
    }
    let first = first.unwrap_or(newest.saturating_add(1));
    if first != oldest {
        // A removed entry is back, or the account's row says that more were removed.
        return Err(Failure::Damaged(format!(
            "the audit log of account {} begins with entry {first} and should begin with entry {oldest}: the row of the account in \
            table `account` is damaged, or table `audit`",
            account.0
        )));
    }
    Ok((oldest, newest))
}

/// Refuses a log with more or fewer entries than it must have.
pub(crate) fn check_count(
    database: &mut dyn Database,
    account: AccountId,
    found: usize,
) -> Result<(), Failure> {
    let ends = check_ends(database, account)?;
    check_found(account, u64::try_from(found).unwrap_or(u64::MAX), ends)
}

/// Refuses more or fewer entries than there must be from the first of two numbers to the last.
pub(crate) fn check_found(
    AccountId(account): AccountId,
    found: u64,
    (first, last): (i64, i64),
) -> Result<(), Failure> {
    let expected = last.saturating_sub(first).saturating_add(1);
    if bounded(found) == expected {
        return Ok(());
    }
    Err(Failure::Damaged(format!(
        "the audit log of account {account} has {found} entries from {first} to {last}, and should have {expected}"
    )))
}

fn said_ends(database: &mut dyn Database, account: AccountId) -> Result<(i64, i64), Failure> {
    let newest = bounded(head(database, account)?.audit);
    let oldest = number_in_account(database, account, "oldest_audit")?;
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

/// How many entries in the range of a page are checked one by one, the newest ones.
const ROWS_CHECKED: i64 = 4096;
/// How many entries in the range of a page of one user the database counts, the newest ones. The user's
/// entries are read by an index that skips all others, so counting everything would cost far more than the
/// page.
const ROWS_COUNTED: i64 = 65_536;

/// Refuses a page that lacks an entry. The numbers of entries have no gaps. So, by the primary key, the range
/// of a page has as many entries as numbers, and as many of them match as the page has, whichever index it
/// was read by.
///
/// The newest [`ROWS_CHECKED`] entries in the range are compared with their checksums, matching or not: an
/// altered row may not match any more. The database counts the entries before them: all of them for a page of
/// all users, which was read by scanning them, and the newest [`ROWS_COUNTED`] for a page of one user.
/// `verify` checks everything.
fn check_page(
    database: &mut dyn Database,
    account: AccountId,
    query: &AuditQuery,
    found: &[(u64, AuditEntry)],
    (oldest, newest_of_log): (i64, i64),
) -> Result<(), Failure> {
    if query.limit == 0 {
        return Ok(());
    }
    let newest = query.before.map_or(newest_of_log, |before| {
        newest_of_log.min(bounded(before) - 1)
    });
    let oldest = match found.last() {
        Some((last, _)) if found.len() >= query.limit => bounded(*last),
        _ if query.user.is_some() => oldest,
        _ => first_since(database, account, query.from, (oldest, newest_of_log))?,
    };
    let since = |rows: i64| oldest.max(newest.saturating_sub(rows - 1));
    let counted = match query.user {
        Some(_) => since(ROWS_COUNTED),
        None => oldest,
    };
    let checked = since(ROWS_CHECKED);
    if counted < checked {
        count(database, account, query, found, (counted, checked - 1))?;
    }
    check_rows(database, account, query, found, (checked, newest))
}

/// The first entry whose `newest` is this time or later; the number after the last entry if there is none.
/// Refuses an index by time that lacks earlier entries. The caller has the ends of the log from
/// [`check_ends`].
pub(crate) fn first_since(
    database: &mut dyn Database,
    account: AccountId,
    from: Timestamp,
    (oldest, newest): (i64, i64),
) -> Result<i64, Failure> {
    let mut first = None;
    database.query(
        "SELECT number FROM audit WHERE account = $1 AND newest >= $2 ORDER BY newest, number LIMIT 1",
        &[account.into(), Value::Integer(from.as_millis())],
        &mut |row| {
            first = Some(row.integer(0)?);
            Ok(())
        },
    )?;
    // Without one, everything is earlier.
    let first = first.unwrap_or(newest.saturating_add(1));
    if first <= oldest {
        return Ok(oldest);
    }
    let before = Value::Integer(first - 1);
    let mut latest = None;
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE account = $1 AND number = $2");
    database.query(&sql, &[account.into(), before], &mut |row| {
        check(account, row)?;
        latest = Some(row.integer(3)?);
        Ok(())
    })?;
    match latest {
        None => Err(missing(account, first - 1)),
        Some(latest) if latest >= from.as_millis() => Err(misled(account)),
        Some(_) => Ok(first),
    }
}

/// Compares how many entries there are between these numbers, and how many of them match, with the page.
fn count(
    database: &mut dyn Database,
    account: AccountId,
    query: &AuditQuery,
    found: &[(u64, AuditEntry)],
    (oldest, newest): (i64, i64),
) -> Result<(), Failure> {
    let mut values = Vec::new();
    // Not in the WHERE clause, so that each row is read by its number and no other index is used.
    let condition = condition(query, &mut values);
    let first = values.len() + 1;
    values.extend([
        account.into(),
        Value::Integer(oldest),
        Value::Integer(newest),
    ]);
    let sql = format!(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END), 0) AS BIGINT)
        FROM audit WHERE account = ${first} AND number >= ${} AND number <= ${}",
        first + 1,
        first + 2
    );
    let mut counted = (0, 0);
    database.query(&sql, &values, &mut |row| {
        counted = (row.integer(0)?, row.integer(1)?);
        Ok(())
    })?;
    if counted.0 != newest - oldest + 1 {
        return Err(first_gap(database, account, (oldest, newest))?);
    }
    if usize::try_from(counted.1) != Ok(between(found, (oldest, newest))) {
        return Err(misled(account));
    }
    Ok(())
}

/// How many of the entries have a number in this range.
fn between(found: &[(u64, AuditEntry)], (oldest, newest): (i64, i64)) -> usize {
    let numbers = found.iter().map(|(number, _)| bounded(*number));
    numbers
        .filter(|number| oldest <= *number && *number <= newest)
        .count()
}

/// The first number between these without an entry.
fn first_gap(
    database: &mut dyn Database,
    account: AccountId,
    (oldest, newest): (i64, i64),
) -> Result<Failure, Failure> {
    let mut expected = oldest;
    let read = database.query(
        "SELECT number FROM audit WHERE account = $1 AND number >= $2 AND number <= $3 ORDER BY number",
        &[
            account.into(),
            Value::Integer(oldest),
            Value::Integer(newest),
        ],
        &mut |row| match row.integer(0)? {
            number if number == expected => {
                expected += 1;
                Ok(())
            }
            _ => Err(missing(account, expected)),
        },
    );
    read.map(|()| missing(account, expected))
}

/// Checks each entry between these numbers.
fn check_rows(
    database: &mut dyn Database,
    account: AccountId,
    query: &AuditQuery,
    found: &[(u64, AuditEntry)],
    (oldest, newest): (i64, i64),
) -> Result<(), Failure> {
    let (mut expected, mut matching) = (oldest, 0_usize);
    let sql = format!(
        "SELECT {COLUMNS} FROM audit WHERE account = $1 AND number >= $2 AND number <= $3 ORDER BY number"
    );
    let range = [
        account.into(),
        Value::Integer(oldest),
        Value::Integer(newest),
    ];
    database.query(&sql, &range, &mut |row| {
        if row.integer(0)? != expected {
            return Err(missing(account, expected));
        }
        // The content of an altered row is no reason to leave it out.
        check(account, row)?;
        expected += 1;
        matching += usize::from(matches(query, row)?);
        Ok(())
    })?;
    if expected <= newest {
        return Err(missing(account, expected));
    }
    if matching != between(found, (oldest, newest)) {
        return Err(misled(account));
    }
    Ok(())
}

fn misled(AccountId(account): AccountId) -> Failure {
    Failure::Damaged(format!(
        "an index of table `audit` leads to other entries of account {account} than it should: rebuild it (`REINDEX`)"
    ))
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

/// The columns of an entry that are read: those of a copy, and its checksum.
const COLUMNS: &str =
    "number, user_number, at, newest, status, kind, operation, address, text, variables,
    problem, key_number, request, revision, checksum";

/// The query with its parameters.
///
/// Without a user, the first entry of the period is found by `newest`, which rises with the number, so that a
/// page with few entries doesn't read the log to its beginning. With a user, their own entries are read
/// instead: with both conditions, SQLite reads the entries of all users (114,000 entries: 20 ms instead of
/// 0.03).
fn statement(account: AccountId, query: &AuditQuery) -> (String, Vec<Value<'_>>) {
    let mut values = vec![
        account.into(),
        Value::Integer(query.before.map_or(i64::MAX, bounded)),
    ];
    let condition = condition(query, &mut values);
    let mut sql =
        format!("SELECT {COLUMNS} FROM audit WHERE account = $1 AND number < $2 AND {condition}");
    if query.user.is_none() {
        // The third value is the start of the period.
        sql.push_str(
            " AND number >= (SELECT number FROM audit WHERE account = $1 AND newest >= $3
            ORDER BY newest, number LIMIT 1)",
        );
    }
    values.push(Value::Integer(bounded(query.limit)));
    let _ = write!(sql, " ORDER BY number DESC LIMIT ${}", values.len());
    (sql, values)
}

/// The condition on an entry, with its parameters appended: the start of the period first.
fn condition<'q>(query: &'q AuditQuery, values: &mut Vec<Value<'q>>) -> String {
    values.push(Value::Integer(query.from.as_millis()));
    let from = values.len();
    values.push(Value::Integer(query.to.as_millis()));
    let mut sql = format!("at >= ${from} AND at <= ${}", values.len());
    if let Some(user) = query.user {
        values.push(Value::Integer(user.number().into()));
        let _ = write!(sql, " AND user_number = ${}", values.len());
    }
    if let Some(kind) = query.kind {
        values.push(Value::Text(Some(kind.name())));
        let _ = write!(sql, " AND kind = ${}", values.len());
    }
    if !query.operations.is_empty() {
        let first = values.len() + 1;
        // A name with a NUL does not exist.
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
    sql
}

fn check(account: AccountId, row: &dyn Row) -> Result<(), Failure> {
    let table = copy::table_of(copy::AUDIT).ok_or(Failure::NoAccount(account))?;
    let expected = checksum::of_row(table, account, row);
    let number = row.integer(0).unwrap_or(-1);
    let checked = checksum::check_row(expected, row.integer(table.columns.len()), || {
        let AccountId(account) = account;
        format!("the row of audit entry {number} of account {account} in table `audit`")
    });
    checked.map(drop)
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
