//! The audit log: written with every append, read newest first.

use std::fmt::Write as _;

use bindery_core::audit::{AuditEntry, AuditKind};
use bindery_core::id::{AccountId, Id as _, UserId};
use bindery_core::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params_from_iter};

use super::Failure;
use super::read::{Head, bounded, head};
use crate::AuditQuery;

/// Writes entries with the numbers after the last one.
pub(super) fn write(
    transaction: &Transaction<'_>,
    account: AccountId,
    entries: &[AuditEntry],
    old: &Head,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO audit (account, number, user_number, at, latest, status, kind, operation,
            address, text, variables)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )?;
    let mut latest = old.audit_latest;
    for (number, entry) in (old.audit + 1..).zip(entries) {
        latest = latest.max(entry.at);
        insert.execute((
            account.0,
            number,
            entry.user.number(),
            entry.at.as_millis(),
            latest.as_millis(),
            entry.status,
            entry.kind.name(),
            &entry.operation,
            &entry.address,
            &entry.text,
            &entry.variables,
        ))?;
    }
    Ok(())
}

/// Deletes the oldest entries, as far as all of them are older than `before`. `latest` rises with the number, so what it
/// says of one entry holds for all before it.
pub(super) fn forget(
    connection: &Connection,
    account: AccountId,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Failure> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM audit WHERE account = $1 AND number IN (
            SELECT number FROM audit WHERE account = $1 AND latest < $2
            ORDER BY latest, number LIMIT $3)",
    )?;
    let forgotten = delete.execute((account.0, before.as_millis(), bounded(limit)))?;
    if forgotten == 0 {
        // Nothing so old, or nothing at all.
        head(connection, account)?;
    }
    Ok(forgotten)
}

/// Entries that match, newest first.
pub(super) fn find(
    connection: &Connection,
    account: AccountId,
    query: &AuditQuery,
) -> Result<Vec<(u64, AuditEntry)>, Failure> {
    let (sql, values) = statement(account, query);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    if found.is_empty() {
        // Nothing that matches, or nothing at all.
        head(connection, account)?;
    }
    Ok(found)
}

/// The query with its parameters.
///
/// Without a user, the first entry of the span of time is found by `latest`, which rises with the number, so that a page
/// with little to show doesn't read the log to its beginning. With a user their own entries are read instead: asked for
/// both, SQLite reads everybody's (114,000 entries: 20 ms against 0.03).
fn statement(account: AccountId, query: &AuditQuery) -> (String, Vec<Value>) {
    let mut sql = String::from(
        "SELECT number, user_number, at, status, kind, operation, address, text, variables
        FROM audit WHERE account = $1 AND number < $2 AND at >= $3 AND at <= $4",
    );
    let mut values: Vec<Value> = vec![
        account.0.into(),
        query.before.map_or(i64::MAX, bounded).into(),
        query.from.as_millis().into(),
        query.to.as_millis().into(),
    ];
    if let Some(user) = query.user {
        values.push(user.number().into());
        let _ = write!(sql, " AND user_number = ${}", values.len());
    } else {
        sql.push_str(
            " AND number >= (SELECT number FROM audit WHERE account = $1 AND latest >= $3
            ORDER BY latest, number LIMIT 1)",
        );
    }
    if let Some(kind) = query.kind {
        values.push(kind.name().to_owned().into());
        let _ = write!(sql, " AND kind = ${}", values.len());
    }
    if !query.operations.is_empty() {
        let first = values.len() + 1;
        values.extend(query.operations.iter().cloned().map(Value::from));
        let places: Vec<String> = (first..=values.len())
            .map(|place| format!("${place}"))
            .collect();
        let _ = write!(sql, " AND operation IN ({})", places.join(", "));
    }
    values.push(bounded(query.limit).into());
    let _ = write!(sql, " ORDER BY number DESC LIMIT ${}", values.len());
    (sql, values)
}

fn read(row: &Row<'_>) -> Result<(u64, AuditEntry), Failure> {
    let number = row.get(0)?;
    let kind: String = row.get(4)?;
    let kind = [AuditKind::Query, AuditKind::Mutation]
        .into_iter()
        .find(|known| known.name() == kind)
        .ok_or_else(|| Failure::Damaged(format!("audit entry {number} is of a kind `{kind}`")))?;
    let entry = AuditEntry {
        user: UserId::new(row.get(1)?),
        at: Timestamp::from_millis(row.get(2)?),
        status: row.get(3)?,
        kind,
        operation: row.get(5)?,
        address: row.get(6)?,
        text: row.get(7)?,
        variables: row.get(8)?,
    };
    Ok((number, entry))
}
