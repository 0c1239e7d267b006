//! The audit log as it is read, newest first, and forgotten, oldest first.

use std::borrow::Cow;
use std::fmt::Write as _;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AccountId, Id as _, UserId};
use bindery_core::time::Timestamp;

use super::read::head;
use super::{Database, Failure, Row, Value, bounded, kept, number};
use crate::AuditQuery;

/// Deletes the oldest entries, as far as all of them are older than `before`. `latest` rises with the number, so what it
/// says of one entry holds for all before it.
pub(crate) fn forget(
    database: &mut dyn Database,
    account: AccountId,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let forgotten = database.execute(
        "DELETE FROM audit WHERE account = $1 AND number IN (
            SELECT number FROM audit WHERE account = $1 AND latest < $2
            ORDER BY latest, number LIMIT $3)",
        &[
            account.into(),
            Value::Integer(before.as_millis()),
            Value::Integer(bounded(limit)),
        ],
    )?;
    if forgotten == 0 {
        // Nothing so old, or nothing at all.
        head(database, account)?;
    }
    Ok(forgotten)
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
        found.push(read(row)?);
        Ok(())
    })?;
    if found.is_empty() {
        // Nothing that matches, or nothing at all.
        head(database, account)?;
    }
    Ok(found)
}

/// The query with its parameters.
///
/// Without a user, the first entry of the span of time is found by `latest`, which rises with the number, so that a page
/// with little to show doesn't read the log to its beginning. With a user their own entries are read instead: asked for
/// both, SQLite reads everybody's (114,000 entries: 20 ms against 0.03).
fn statement(account: AccountId, query: &AuditQuery) -> (String, Vec<Value<'_>>) {
    let mut sql = String::from(
        "SELECT number, user_number, at, status, kind, operation, address, text, variables
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

fn read(row: &dyn Row) -> Result<(u64, AuditEntry), Failure> {
    let entry_number: u64 = number(row, 0)?;
    let owned = |column| -> Result<_, Failure> { Ok(row.text(column)?.map(str::to_owned)) };
    let required = |column| {
        let missing = || Failure::Damaged(format!("audit entry {entry_number} is incomplete"));
        owned(column)?.ok_or_else(missing)
    };
    let kind = required(4)?;
    let kind = [AuditKind::Query, AuditKind::Mutation]
        .into_iter()
        .find(|known| known.name() == kind)
        .ok_or_else(|| {
            Failure::Damaged(format!("audit entry {entry_number} is of a kind `{kind}`"))
        })?;
    let entry = AuditEntry {
        user: UserId::new(number(row, 1)?),
        at: Timestamp::from_millis(row.integer(2)?),
        status: number(row, 3)?,
        problem: None,
        key: None,
        request: None,
        revision: None,
        kind,
        operation: required(5)?,
        address: required(6)?,
        text: owned(7)?,
        variables: owned(8)?,
    };
    Ok((entry_number, entry))
}
